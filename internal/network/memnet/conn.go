package memnet

import (
	"io"
	"net"
	"syscall"
	"time"
)

// chunk is the most bytes that travel as one; smaller than any buffer, so that
// reader and writer overlap.
const chunk = 16 << 10

// Conn is one end of a connection. It behaves as a *net.TCPConn does.
type Conn struct {
	wire *wire
	side int
}

var _ net.Conn = (*Conn)(nil)

// Read reads what has arrived.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	w, me := c.wire, &c.wire.ends[c.side]
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		now := time.Now()
		if err := me.usable(now, me.readBy); err != nil {
			return 0, err
		}
		if w.killed {
			return 0, errNetClosed
		}
		if len(p) == 0 {
			return 0, nil
		}
		passable, healed := w.passable()
		next := []time.Time{me.readBy}
		if passable {
			if n := me.take(p, now); n > 0 {
				w.broadcast() // there is room to write
				return n, nil
			}
			if len(me.in) == 0 && reached(me.finAt, now) && me.finFirst() {
				return 0, io.EOF
			}
			if reached(me.resetAt, now) {
				return 0, syscall.ECONNRESET
			}
			next = append(next, me.resetAt, me.finAt)
			if len(me.in) > 0 {
				next = append(next, me.in[0].at)
			}
		}
		w.wait(now, healed, next...)
	}
}

// Write returns when the last byte is in the buffer, as TCP does: success says
// nothing about the other side. Concurrent Writes do not mix their bytes.
func (c *Conn) Write(p []byte) (int, error) {
	me := &c.wire.ends[c.side]
	me.writing <- struct{}{}
	defer func() { <-me.writing }()
	n, err := c.write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

func (c *Conn) write(p []byte) (n int, err error) {
	w, me, peer := c.wire, &c.wire.ends[c.side], &c.wire.ends[1-c.side]
	buffer := w.link.buffer()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		now := time.Now()
		if err := me.usable(now, me.writeBy); err != nil {
			return n, err
		}
		passable, healed := w.passable()
		switch {
		case w.killed:
			return n, errNetClosed
		case me.finSent:
			return n, syscall.EPIPE
		case passable && reached(me.resetAt, now) && me.finFirst():
			return n, syscall.EPIPE
		case passable && reached(me.resetAt, now):
			return n, syscall.ECONNRESET
		case len(p) == 0:
			return n, nil
		}
		room := buffer - peer.inSize
		if room <= 0 {
			next := []time.Time{me.writeBy}
			if passable {
				next = append(next, me.resetAt)
			}
			w.wait(now, healed, next...)
			continue
		}
		k := min(len(p), room, chunk)
		c.send(p[:k], now)
		p, n = p[k:], n+k
	}
}

// send puts a copy of data on the line.
func (c *Conn) send(data []byte, now time.Time) {
	w, me, peer := c.wire, &c.wire.ends[c.side], &c.wire.ends[1-c.side]
	at := c.arrival(len(data), now)
	if peer.closed {
		// The other kernel answers with a reset.
		me.resetBy(at.Add(w.link.latency()))
	} else {
		peer.in = append(peer.in, segment{append([]byte(nil), data...), at})
		peer.inSize += len(data)
	}
	w.carried += int64(len(data))
	if limit := w.link.cutAfter(); limit > 0 && w.carried >= limit {
		w.reset(now)
	}
	w.broadcast()
}

// arrival is when n bytes sent now are at the other end, in order.
func (c *Conn) arrival(n int, now time.Time) time.Time {
	me := &c.wire.ends[c.side]
	dir := 0
	if me.host.name > c.wire.ends[1-c.side].host.name {
		dir = 1
	}
	if at := c.wire.link.arrive(dir, n, now); at.After(me.lastSent) {
		me.lastSent = at
	}
	return me.lastSent
}

// CloseWrite sends FIN: the other side reads to the end, and may still write.
func (c *Conn) CloseWrite() error {
	w, me := c.wire, &c.wire.ends[c.side]
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.fin(time.Now())
	return nil
}

func (c *Conn) fin(now time.Time) {
	me, peer := &c.wire.ends[c.side], &c.wire.ends[1-c.side]
	if !me.finSent {
		me.finSent = true
		peer.finAt = c.arrival(0, now)
	}
	c.wire.broadcast()
}

// Close sends FIN after what was written, or a reset where bytes for this end
// are left unread or still come.
func (c *Conn) Close() error { return c.close(false) }

// Abort closes with a reset.
func (c *Conn) Abort() error { return c.close(true) }

func (c *Conn) close(abort bool) error {
	w, me, peer := c.wire, &c.wire.ends[c.side], &c.wire.ends[1-c.side]
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.closed {
		return c.opError("close", net.ErrClosed)
	}
	now := time.Now()
	switch {
	case abort, len(me.in) > 0 && reached(me.in[0].at, now):
		peer.resetBy(c.arrival(0, now))
	case len(me.in) > 0:
		c.fin(now)
		peer.resetBy(me.in[0].at.Add(w.link.latency()))
	default:
		c.fin(now)
	}
	me.closed = true
	me.in, me.inSize = nil, 0
	w.broadcast()
	w.forget()
	return nil
}

// LocalAddr returns an Endpoint.
func (c *Conn) LocalAddr() net.Addr { return c.wire.ends[c.side].addr }

// RemoteAddr returns an Endpoint.
func (c *Conn) RemoteAddr() net.Addr { return c.wire.ends[1-c.side].addr }

// SetDeadline bounds reads and writes, those that wait now included.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline bounds writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	w, me := c.wire, &c.wire.ends[c.side]
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.closed {
		return c.opError("set", net.ErrClosed)
	}
	if read {
		me.readBy = t
	}
	if write {
		me.writeBy = t
	}
	w.broadcast()
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "memnet", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
