package foolscap

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"tahoe-go/internal/network/foolscap/banana"
)

const (
	// outSoft is how many bytes may wait before calls and answers wait, too.
	// With what is being written that makes about twice as much per
	// connection, plus a message each.
	outSoft = 1 << 20
	// outSmall is how many bytes of what cannot wait may wait: more means that
	// the peer makes this side answer and does not take the answers.
	outSmall = 1 << 20
	// outPiece is what one write deadline is for: a TLS record.
	outPiece = 16 << 10
)

// outbox holds what waits to be written. Messages are encoded straight into
// it, whole.
type outbox struct {
	wake chan struct{} // of capacity 1: there is something to write

	mu      sync.Mutex // guards below; Conn.mu may be taken while it is held
	enc     banana.Encoder
	small   int           // bytes in enc from sendNow
	closing bool          // no more is taken, and when all is written the connection ends
	room    chan struct{} // closed and replaced when the writer takes what is there, if somebody waits
	lent    []*lent       // references in the message being encoded
}

// send encodes one message. It waits while much is waiting already.
func (c *Conn) send(ctx context.Context, build func(e *banana.Encoder) error) error {
	for {
		c.out.mu.Lock()
		if len(c.out.enc.Buf) < outSoft || c.out.closing {
			err := c.encodeLocked(build)
			c.out.mu.Unlock()
			return err
		}
		if c.out.room == nil {
			c.out.room = make(chan struct{})
		}
		room := c.out.room
		c.out.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return c.Err()
		}
	}
}

// sendNow encodes one small message at once: the reader must not wait for the
// writer, or two peers could wait for each other.
func (c *Conn) sendNow(build func(e *banana.Encoder) error) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.small > outSmall {
		return errNotReading
	}
	before := len(c.out.enc.Buf)
	err := c.encodeLocked(build)
	c.out.small += len(c.out.enc.Buf) - before
	return err
}

// encodeLocked needs out.mu. A message that cannot be encoded leaves no trace.
func (c *Conn) encodeLocked(build func(e *banana.Encoder) error) error {
	if c.out.closing {
		return ErrClosed
	}
	if err := c.Err(); err != nil {
		return err
	}
	m := c.out.enc.Mark()
	c.out.lent = c.out.lent[:0]
	if err := build(&c.out.enc); err != nil {
		c.out.enc.Reset(m)
		c.takeBack(c.out.lent)
		return err
	}
	c.nudge()
	return nil
}

func (c *Conn) nudge() {
	select {
	case c.out.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, and whether nothing more will come.
func (o *outbox) take() ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.enc.Buf
	o.enc.Buf, o.small = nil, 0
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return b, o.closing
}

// finish has the connection end when what waits has been written.
func (c *Conn) finish() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.closing = true
	c.nudge()
}

// write runs until the connection ends.
func (c *Conn) write() {
	for {
		select {
		case <-c.out.wake:
		case <-c.ctx.Done():
			return
		}
		b, closing := c.out.take()
		if err := c.writeAll(b); err != nil {
			c.end(err)
			return
		}
		banana.PutBuffer(b)
		if closing && !c.parting.Load() {
			c.raw.SetDeadline(time.Now().Add(goodbye))
			if t, ok := c.nc.(*tls.Conn); ok {
				t.CloseWrite()
			}
			c.end(ErrClosed)
			return
		}
	}
}

// writeAll gives the peer a time for each piece.
func (c *Conn) writeAll(b []byte) error {
	defer c.heed.wrote.Store(0)
	for len(b) > 0 {
		n := min(len(b), outPiece)
		c.raw.SetWriteDeadline(time.Now().Add(c.stall))
		if _, err := c.nc.Write(b[:n]); err != nil {
			if isTimeout(err) {
				err = errNotReading
			}
			return err
		}
		c.heed.wrote.Store(int64(c.age()))
		b = b[n:]
	}
	c.raw.SetWriteDeadline(time.Time{}) // TLS itself may have to say something
	return nil
}
