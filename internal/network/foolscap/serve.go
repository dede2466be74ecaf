package foolscap

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Serve takes over a connection that somebody made to this node, of which the
// bytes peeked have been read already, and returns when it has ended. The error
// is nil for a connection that was negotiated, however it ended. Serve closes
// conn.
func (t *Tub) Serve(conn net.Conn, peeked []byte) error {
	if !t.begin() {
		conn.Close()
		return ErrClosed
	}
	defer t.tasks.Done()
	defer conn.Close()
	c, err := t.negotiateInbound(conn, peeked)
	if err != nil {
		t.log.Debug("an inbound connection was not negotiated", "err", err)
		return fmt.Errorf("negotiating an inbound connection: %w", err)
	}
	c.log.Debug("connected", "inbound", true)
	c.run()
	return nil
}

// ServeListener hands each connection to Serve until the listener is closed,
// and then waits for them to end. For ports where nothing but Foolscap is
// spoken.
func (t *Tub) ServeListener(l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Perhaps there are too many open files: others may end.
			t.log.Warn("accepting a connection", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-t.ctx.Done():
				return ErrClosed
			}
		}
		wg.Go(func() { t.Serve(c, nil) })
	}
}

func (t *Tub) negotiateInbound(conn net.Conn, peeked []byte) (*Conn, error) {
	stop := context.AfterFunc(t.ctx, func() { conn.Close() })
	defer stop()
	leave := t.half.enter(conn)
	defer leave()
	l := &link{raw: conn, stage: t.limits.Stage, info: ConnInfo{Inbound: true}}
	nc, err := t.accept(t.ctx, l, peeked)
	if err != nil {
		return nil, err
	}
	peer, err := certID(nc)
	if err != nil {
		return nil, err
	}
	return t.hello(l, stream{nc, newReader(nc)}, peer)
}

// newReader reads the hello. What it has read beyond goes on to the decoder.
func newReader(c net.Conn) *bufio.Reader { return bufio.NewReaderSize(c, maxBlock) }

// halfOpen are the inbound connections that are negotiating. There may be
// many of those that lead nowhere; they must not keep others out.
type halfOpen struct {
	most int

	mu   sync.Mutex // guards below
	list list.List  // of net.Conn, oldest first
}

// enter adds c and closes the oldest if there are too many. The result removes
// c.
func (h *halfOpen) enter(c net.Conn) (leave func()) {
	h.mu.Lock()
	e := h.list.PushBack(c)
	var oldest net.Conn
	if h.list.Len() > h.most {
		oldest = h.list.Remove(h.list.Front()).(net.Conn)
	}
	h.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.list.Remove(e)
	}
}

func (h *halfOpen) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.list.Front(); e != nil; e = e.Next() {
		e.Value.(net.Conn).Close()
	}
}
