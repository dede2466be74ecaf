package foolscap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/network/foolscap/banana"
)

var (
	errNotReading = errors.New("the peer does not take what is sent to it")
	errSilent     = errors.New("nothing was heard of the peer for too long")
	errStopped    = errors.New("the peer stopped in the middle of a message")
	errCrowded    = errors.New("there are too many connections")
	errPeerClosed = errors.New("the peer closed the connection")
)

const (
	// goodbye is the time for the last words of a connection.
	goodbye = 5 * time.Second
	// lingering is how much of what a peer still sends is dropped while it may
	// be reading why its connection ends.
	lingering = 4 << 20
)

// ConnInfo says how a connection came to be.
type ConnInfo struct {
	Peer    string // TubID
	Hint    string // the place that was dialled; empty for an inbound connection
	Inbound bool
	Since   time.Time
}

// Conn is the connection with one peer. All methods may be called from any
// goroutine.
type Conn struct {
	tub   *Tub
	peer  string
	info  ConnInfo
	slave string // the peer's incarnation, where this side is the master
	seq   int    // likewise
	raw   net.Conn
	nc    net.Conn // TLS
	log   *slog.Logger
	stall time.Duration

	ctx    context.Context // ends with the connection; its cause says why
	cancel context.CancelCauseFunc

	parting atomic.Bool // the reader, not the writer, says goodbye and closes raw

	out  outbox
	dec  *banana.Decoder // the reader's
	heed heed

	complaints atomic.Int32 // calls of the peer that failed for reasons of ours

	inbound  gate // calls of the peer
	outbound gate // our calls
	tasks    sync.WaitGroup

	mu       sync.Mutex // guards below
	waiting  map[int64]*pending
	lastReq  int64
	dropped  int // calls that nobody waits for any more
	lent     map[int64]*lent
	lentBy   map[*Object]*lent
	lastCLID int64
	theirs   map[int64]*theirs

	message  []*Ref // received in the message being read; the reader's
	taken    int64  // memory that it takes; the reader's
	reserved int64  // what of that Limits.Memory counts
}

// newConn makes the connection that a negotiation has led to; run starts it.
// From here on only the connection closes the link.
func (t *Tub) newConn(l *link, s stream, peer string) *Conn {
	l.settled.Store(true)
	c := &Conn{
		tub: t, peer: peer, info: l.info, raw: l.raw, nc: s.Conn,
		log: t.log.With("peer", short(peer)), stall: t.limits.Stall,
		out:      outbox{wake: make(chan struct{}, 1)},
		inbound:  gate{maxCalls: 2 * t.limits.Calls, maxBytes: 2 * t.limits.CallBytes},
		outbound: gate{maxCalls: t.limits.Calls, maxBytes: t.limits.CallBytes},
		waiting:  map[int64]*pending{},
		lent:     map[int64]*lent{},
		lentBy:   map[*Object]*lent{},
		theirs:   map[int64]*theirs{},
	}
	c.info.Peer, c.info.Since = peer, time.Now()
	c.ctx, c.cancel = context.WithCancelCause(t.ctx)
	rest, _ := s.r.Peek(s.r.Buffered())
	c.heed.r, c.heed.conn = &replay{s.Conn, rest}, c
	c.dec = banana.NewDecoder(&c.heed, banana.Limits{Skip: t.limits.Skip})
	c.dec.Refs = banana.Refs{Mine: c.gotTheirs, Yours: c.gotOurs}
	c.dec.Ping = func(n uint64) error {
		return c.sendNow(func(e *banana.Encoder) error { e.Pong(n); return nil })
	}
	c.dec.Reserve = c.reserve
	c.out.enc.Other = c.encodeRef
	return c
}

// Peer is the TubID of the other side.
func (c *Conn) Peer() string { return c.peer }

// Info says how the connection came to be.
func (c *Conn) Info() ConnInfo { return c.info }

// LastHeard is when the last bytes of the peer arrived.
func (c *Conn) LastHeard() time.Time { return c.info.Since.Add(time.Duration(c.heed.last.Load())) }

// age is the clock of heed: it does not jump when the machine's is set.
func (c *Conn) age() time.Duration { return time.Since(c.info.Since) }

// Lost is closed when the connection has ended; Err says why.
func (c *Conn) Lost() <-chan struct{} { return c.ctx.Done() }

// Err is nil while the connection stands, and then wraps ErrLost or ErrClosed.
func (c *Conn) Err() error { return context.Cause(c.ctx) }

// Close writes what waits to be written, without waiting for it, and ends the
// connection.
func (c *Conn) Close() { c.finish() }

// Drop ends the connection at once, without what waits to be written.
func (c *Conn) Drop(why error) { c.end(why) }

// end ends the connection at once, for the first reason given.
func (c *Conn) end(why error) {
	if !errors.Is(why, ErrClosed) {
		why = lost(why)
	}
	c.cancel(why)
	c.raw.Close()
	c.tub.detach(c)
}

// run reads until the connection ends and waits for all that was begun.
func (c *Conn) run() {
	c.raw.SetDeadline(time.Time{})
	c.tasks.Go(c.write)
	c.tasks.Go(c.keepAlive)
	// Whatever ends the context (the Tub's end, too) ends the reader.
	stop := context.AfterFunc(c.ctx, func() {
		c.tub.detach(c)
		if !c.parting.Load() {
			c.raw.Close()
		}
	})
	err := c.read()
	c.ending(err)
	c.tub.memory.Add(-c.takeReserved())
	c.tasks.Wait()
	stop()
	c.end(err)
	c.logEnd()
}

// ending says goodbye as the error deserves.
func (c *Conn) ending(err error) {
	switch {
	case c.ctx.Err() != nil:
	case isFault(err):
		c.sendNow(func(e *banana.Encoder) error { e.Error(err.Error()); return nil })
		c.part(err)
	case errors.Is(err, io.EOF):
		c.end(errPeerClosed)
	default:
		c.end(err)
	}
}

// isFault reports whether a connection has ended for something the peer did
// wrong.
func isFault(err error) bool {
	_, protocol := errors.AsType[*banana.ProtocolError](err)
	return protocol || errors.Is(err, errStopped) || errors.Is(err, errNotReading) || errors.Is(err, errTooMany) || errors.Is(err, errNoAnswers)
}

func (c *Conn) logEnd() {
	err := c.Err()
	_, said := errors.AsType[*banana.PeerError](err)
	switch {
	case isFault(err), errors.Is(err, errCrowded):
		c.log.Info("dropped a connection", "err", err)
	case said:
		c.log.Info("the peer dropped the connection", "err", err)
	default:
		c.log.Debug("connection ended", "err", err)
	}
}

// part ends the connection, and tells the peer why.
func (c *Conn) part(why error) {
	c.parting.Store(true)
	c.out.mu.Lock()
	b := c.out.enc.Buf
	c.out.enc.Buf, c.out.closing = nil, true
	c.out.mu.Unlock()
	c.cancel(lost(why)) // the writer stops: nothing else is said
	c.raw.SetDeadline(time.Now().Add(time.Second))
	if len(b) <= banana.MaxErrorText+64 { // else the peer takes nothing anyway
		c.nc.Write(b)
		// Closing while something is unread could take back what was said.
		io.CopyN(io.Discard, c.raw, lingering)
	}
	c.end(why)
}

// read takes messages until the connection ends.
func (c *Conn) read() error {
	for {
		c.heed.idle.Store(true)
		if err := c.dec.Wait(); err != nil {
			return err
		}
		c.heed.idle.Store(false)
		if err := c.readMessage(); err != nil {
			return err
		}
	}
}

func (c *Conn) readMessage() error {
	c.message = c.message[:0]
	c.dec.Begin(smallMessage, false)
	opentype, err := c.dec.Open()
	if err == nil {
		switch opentype {
		case "call":
			return c.readCall()
		case "answer":
			return c.readAnswer()
		case "error":
			return c.readError()
		}
		err = &banana.Violation{Why: "a message that is neither call nor answer nor error"}
	}
	return c.skip(err)
}

// smallMessage is what the fixed parts of a message may cost.
const smallMessage = 8 << 10

// skip drops the rest of a message for which err is the reason, if it is not
// final, and lets go of the references in it.
func (c *Conn) skip(err error) error {
	var v *banana.Violation
	if !errors.As(err, &v) {
		return err
	}
	c.log.Debug("refused a message", "why", v.Why)
	for _, b := range c.dec.Loans() {
		banana.PutBuffer(b)
	}
	c.tub.memory.Add(-c.takeReserved())
	for _, r := range c.message {
		r.Release()
	}
	c.message = c.message[:0]
	return c.dec.Skip(0)
}

// freeMemory is what the arguments of a call may take when all others have left
// nothing: most calls need no more.
const freeMemory = 128 << 10

// reserve makes room for arguments.
func (c *Conn) reserve(n int64) error {
	c.taken += n
	more := c.taken - freeMemory - c.reserved
	if more <= 0 {
		return nil
	}
	if c.tub.memory.Add(more) > c.tub.limits.Memory {
		c.tub.memory.Add(-more)
		return &banana.Violation{Why: "too much is being received at once; try again later"}
	}
	c.reserved += more
	return nil
}

// takeReserved returns what the message being read has reserved, for somebody
// else to give back.
func (c *Conn) takeReserved() (n int64) {
	n, c.reserved, c.taken = c.reserved, 0, 0
	return n
}

// heed is the connection's reader: it notes when something was heard and gives
// the peer a time to go on.
type heed struct {
	r     io.Reader
	conn  *Conn
	idle  atomic.Bool  // between messages
	last  atomic.Int64 // age of the connection
	wrote atomic.Int64 // age when the peer last took something; 0 if all is written
}

func (h *heed) Read(p []byte) (int, error) {
	c := h.conn
	limit, why := c.stall, errStopped
	if h.idle.Load() {
		limit, why = c.tub.limits.Disconnect, errSilent
	}
	start := c.age()
	for {
		var until time.Time
		if limit > 0 {
			until = c.info.Since.Add(start + limit)
		}
		c.raw.SetReadDeadline(until)
		n, err := h.r.Read(p)
		if n > 0 {
			h.last.Store(int64(c.age()))
		}
		if !isTimeout(err) {
			return n, err
		}
		// Who is taking much that is sent is alive: our question whether it is
		// still waits behind that.
		wrote := time.Duration(h.wrote.Load())
		if n > 0 || why != errSilent || wrote <= start {
			return n, why
		}
		start = wrote
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// keepAlive asks for a sign of life when nothing was heard for a while.
func (c *Conn) keepAlive() {
	every := c.tub.limits.Keepalive
	if every <= 0 {
		return
	}
	every -= rand.N(every/10 + 1) // connections made together need not all speak at once
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		}
		rest := every - time.Since(c.LastHeard())
		if rest <= 0 {
			if err := c.sendNow(func(e *banana.Encoder) error { e.Ping(0); return nil }); err != nil {
				c.end(err)
				return
			}
			rest = every
		}
		timer.Reset(rest)
	}
}

// String names the peer.
func (c *Conn) String() string { return fmt.Sprintf("conn:%s", short(c.peer)) }
