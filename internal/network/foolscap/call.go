package foolscap

import (
	"context"
	"errors"
	"fmt"

	"tahoe-go/internal/network/foolscap/banana"
)

// errNoAnswers ends a connection with a peer that answers nothing.
var errNoAnswers = errors.New("the peer does not answer calls")

// pending is a call of ours that is not answered.
type pending struct {
	result *banana.Schema
	cost   int64
	done   chan outcome // of capacity 1; nil for a call of this package's own
	then   func()       // for those: called by the reader
	nobody bool         // waits any more; guarded by Conn.mu
}

type outcome struct {
	value any
	err   error
}

// call makes a call to the peer's object clid.
func (c *Conn) call(ctx context.Context, clid int64, method string, result *banana.Schema, args []any, named []banana.Pair) (any, error) {
	if result == nil {
		result = banana.Any()
	}
	p := &pending{result: result, cost: banana.Cost(banana.List(args)), done: make(chan outcome, 1)}
	if err := c.outbound.enter(ctx, c.Lost(), p.cost); err != nil {
		return nil, err
	}
	var reqID int64
	err := c.send(ctx, func(e *banana.Encoder) (err error) {
		reqID, err = c.begin(e, p, clid, method, args, named)
		return err
	})
	if err != nil {
		c.outbound.leave(p.cost)
		return nil, err
	}
	select {
	case o := <-p.done:
		return o.value, o.err
	case <-c.Lost():
		select {
		case o := <-p.done: // it came in time
			return o.value, o.err
		default:
		}
		result.Detach()
		return nil, c.Err()
	case <-ctx.Done():
	}
	if !c.abandon(reqID, p) {
		o := <-p.done // it is there, or the reader is just putting it there
		return o.value, o.err
	}
	result.Detach()
	return nil, ctx.Err()
}

// abandon leaves a call to itself, unless it is answered. The answer is still
// read: it may hold references that must be let go.
func (c *Conn) abandon(reqID int64, p *pending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[reqID] != p {
		return false
	}
	p.nobody = true
	c.dropped++
	if c.dropped >= c.outbound.maxCalls {
		c.cancel(lost(errNoAnswers))
	}
	return true
}

// begin encodes a call and remembers it. It runs with out.mu, so that numbers
// go out in order.
func (c *Conn) begin(e *banana.Encoder, p *pending, clid int64, method string, args []any, named []banana.Pair) (int64, error) {
	c.mu.Lock()
	c.lastReq++
	reqID := c.lastReq
	c.mu.Unlock()
	if err := encodeCall(e, reqID, clid, method, args, named); err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.waiting[reqID] = p
	c.mu.Unlock()
	return reqID, nil
}

// callThen makes a call of this package's own to the peer's broker. It never
// waits, and then is called when there is an answer.
func (c *Conn) callThen(method string, named []banana.Pair, then func()) {
	p := &pending{result: banana.Any(), then: then}
	c.outbound.force()
	err := c.sendNow(func(e *banana.Encoder) error {
		_, err := c.begin(e, p, 0, method, nil, named)
		return err
	})
	if err != nil {
		c.outbound.leave(0)
	}
	if errors.Is(err, errNotReading) {
		c.end(err)
	}
}

func encodeCall(e *banana.Encoder, reqID, clid int64, method string, args []any, named []banana.Pair) error {
	call := e.Open("call")
	e.Int(reqID)
	e.Int(clid)
	e.Bytes([]byte(method))
	list := e.Open("arguments")
	e.Int(int64(len(args)))
	for i, a := range args {
		if err := e.Value(a); err != nil {
			return fmt.Errorf("argument %d of %s: %w", i, method, err)
		}
	}
	for _, n := range named {
		e.Bytes([]byte(n.Key.(string)))
		if err := e.Value(n.Value); err != nil {
			return fmt.Errorf("argument %s of %s: %w", n.Key, method, err)
		}
	}
	e.Close(list)
	e.Close(call)
	return nil
}

// readAnswer reads the rest of an answer.
func (c *Conn) readAnswer() error {
	reqID, p, err := c.answered()
	if err != nil {
		return c.skip(err)
	}
	c.dec.Continue(c.tub.limits.Answer, false)
	v, err := c.dec.Value(p.result)
	return c.settle(reqID, p, v, err)
}

// readError reads the rest of an error.
func (c *Conn) readError() error {
	reqID, p, err := c.answered()
	if err != nil {
		return c.skip(err)
	}
	c.dec.Continue(maxFailure, false)
	v, err := c.dec.Value(failureSchema)
	if err != nil {
		return c.settle(reqID, p, nil, err)
	}
	if err := c.dec.Close(); err != nil {
		return c.skip(err)
	}
	c.conclude(reqID, p, outcome{err: failure(v.(banana.Copyable))})
	return nil
}

// answered reads the number of the call that this is the answer to.
func (c *Conn) answered() (int64, *pending, error) {
	reqID, err := c.dec.Uint()
	if err != nil {
		return 0, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.waiting[reqID]
	if p == nil {
		return 0, nil, &banana.Violation{Why: "an answer to a call that was not made"}
	}
	return reqID, p, nil
}

// settle ends a call with the value that was read, or with what was wrong with
// it.
func (c *Conn) settle(reqID int64, p *pending, v any, err error) error {
	if err == nil {
		err = c.dec.Close()
	}
	if err != nil {
		if skipped := c.skip(err); skipped != nil {
			return skipped
		}
		v, err = nil, fmt.Errorf("the result: %w", err)
	}
	c.conclude(reqID, p, outcome{v, err})
	return nil
}

// conclude hands the outcome to whoever waits for it. References that nobody
// waits for any more are let go.
func (c *Conn) conclude(reqID int64, p *pending, o outcome) {
	c.mu.Lock()
	delete(c.waiting, reqID)
	if p.nobody {
		c.dropped--
	}
	nobody := p.nobody
	c.mu.Unlock()
	c.outbound.leave(p.cost)
	switch {
	case nobody:
		for _, r := range c.message {
			r.Release()
		}
	case p.then != nil:
		p.then()
	default:
		p.done <- o
	}
}

// failureClass is what an error is sent as.
const failureClass = "twisted.python.failure.Failure"

var failureSchema = banana.CopyableOf(failureClass,
	banana.Choice(banana.Bytes(4<<10), banana.ListOf(banana.Bytes(400), 50), banana.None()), 10)

// maxFailure is what an error may cost.
const maxFailure = 32 << 10

// failure makes a RemoteError of what was sent. The traceback is dropped: it
// may hold anything.
func failure(f banana.Copyable) *RemoteError {
	text := func(v any) string { b, _ := v.([]byte); return string(b) }
	e := &RemoteError{}
	for _, p := range f.Attrs {
		switch text(p.Key) {
		case "type":
			e.Type = text(p.Value)
		case "value":
			e.Value = text(p.Value)
		case "parents":
			list, _ := p.Value.(banana.List)
			for _, parent := range list {
				e.Parents = append(e.Parents, text(parent))
			}
		}
	}
	return e
}
