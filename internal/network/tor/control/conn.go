// Package control is a client of Tor's control port: the commands a node needs
// to find its way to Tor's SOCKS port, to learn how far Tor is, and to publish
// an onion service.
//
// It dials nothing; the caller hands in the connection. It does not reconnect
// and keeps no state beyond one connection: package tor has the supervisor.
// What the other end sends is bounded in line, reply and queue.
//
// Specification: Tor's control-spec. Start with New and Conn.Authenticate.
package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// ErrClosed says that the control connection has ended.
var ErrClosed = errors.New("the control connection to tor has ended")

// ErrNotTor says that the other end does not speak Tor's control protocol.
var ErrNotTor = errors.New("this is not Tor's control port")

// maxPending bounds commands that wait for a reply, those whose callers have
// given up included: some 3 KiB.
const maxPending = 64

// Conn is a control connection. Its methods may be called concurrently; replies
// come in the order of the commands.
type Conn struct {
	nc      net.Conn
	onEvent func(Event)
	sending chan struct{} // holds a token while a command is queued and written
	done    chan struct{} // closed when the reader has ended

	mu      sync.Mutex   // guards below
	pending []chan Reply // one per command without a reply, oldest first
	err     error        // why the connection ended
}

// New starts to read from nc, which it owns from now on. Events go to onEvent
// (which may be nil) one at a time from the reading goroutine: it must not
// block and must not call methods of the Conn.
func New(nc net.Conn, onEvent func(Event)) *Conn {
	c := &Conn{nc: nc, onEvent: onEvent, sending: make(chan struct{}, 1), done: make(chan struct{})}
	go c.read()
	return c
}

// Close ends the connection, and with it the onion services added through it.
// It waits for a running onEvent.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	<-c.done
	return nil
}

// Done is closed when the connection has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, or nil while it stands.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail records the first reason and cuts the connection.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.nc.Close()
}

func (c *Conn) read() {
	defer close(c.done)
	br := bufio.NewReaderSize(c.nc, 4<<10)
	for {
		r, err := readReply(br)
		switch {
		case err != nil:
			c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
			return
		case r.Code/100 == 6:
			if c.onEvent != nil {
				for _, e := range parseEvents(r) {
					c.onEvent(e)
				}
			}
		default:
			if !c.deliver(r) {
				c.fail(fmt.Errorf("%w: it answers without being asked", ErrNotTor))
				return
			}
		}
	}
}

// deliver hands r to the oldest command, whether or not its caller still waits.
func (c *Conn) deliver(r Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return false
	}
	c.pending[0] <- r
	c.pending = c.pending[1:]
	return true
}

// Do sends one command line and returns its reply. A reply that is no success
// is an *Error too. When ctx ends first the command may still be carried out,
// and its reply is dropped when it comes.
func (c *Conn) Do(ctx context.Context, command string) (Reply, error) {
	verb, _, _ := strings.Cut(command, " ")
	if strings.ContainsAny(command, "\r\n\x00") {
		return Reply{}, fmt.Errorf("control command %s holds a line break", verb)
	}
	reply, err := c.send(ctx, command)
	if err != nil {
		return Reply{}, fmt.Errorf("sending %s to tor: %w", verb, err)
	}
	select {
	case r := <-reply:
		return r, r.asError(verb)
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("waiting for tor's reply to %s: %w", verb, ctx.Err())
	case <-c.done:
	}
	select {
	case r := <-reply: // it came just before the end
		return r, r.asError(verb)
	default:
		return Reply{}, fmt.Errorf("waiting for tor's reply to %s: %w", verb, c.Err())
	}
}

// send queues for the reply and writes, as one step: the order of the queue is
// the order on the wire.
func (c *Conn) send(ctx context.Context, command string) (<-chan Reply, error) {
	select {
	case c.sending <- struct{}{}:
		defer func() { <-c.sending }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, c.Err()
	}
	reply := make(chan Reply, 1)
	if err := c.enqueue(reply); err != nil {
		return nil, err
	}
	if err := c.write(ctx, command+"\r\n"); err != nil { // half a command may be on the wire
		c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.Err()
	}
	return reply, nil
}

// write sends text unless ctx ends before all of it is sent.
func (c *Conn) write(ctx context.Context, text string) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.nc.SetWriteDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	_, err := c.nc.Write([]byte(text))
	if !stop() {
		<-interrupted
		c.nc.SetWriteDeadline(time.Time{})
	}
	return err
}

func (c *Conn) enqueue(reply chan Reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.pending) >= maxPending {
		return errors.New("tor does not answer: too many commands wait")
	}
	c.pending = append(c.pending, reply)
	return nil
}
