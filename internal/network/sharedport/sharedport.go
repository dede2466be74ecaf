// Package sharedport serves two protocols on one port: it reads the first bytes
// of each connection and hands it to the one or the other.
//
// Whoever connects and says nothing, or too little, is dropped after a while,
// and of too many such the oldest; neither takes time from those that speak. It
// knows no protocol: Config says how the first is told from the second, and
// both put limits of their own on what comes after. Start with Split.
package sharedport

import (
	"container/list"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Config says which connections are whose.
type Config struct {
	Peek  int                                    // how many bytes First needs; required
	First func(head []byte) bool                 // reports whether a connection that begins so is the first protocol's; required
	Serve func(conn net.Conn, head []byte) error // the first protocol, until the connection ends; head has been read; required
	Wait  time.Duration                          // for these bytes; 0: 30 s
	Half  int                                    // connections that have not sent them; one more, and the oldest is dropped; 0: 1000
	Log   *slog.Logger                           // nil: none
}

// Listener hands out the connections of the second protocol.
type Listener struct {
	net.Listener
	cfg     Config
	rest    chan net.Conn
	done    chan struct{} // closed by Close
	once    sync.Once
	stopped chan struct{}  // closed when the port is, by whomever
	tasks   sync.WaitGroup // the loop, and connections that are undecided

	mu   sync.Mutex // guards below
	half list.List  // of net.Conn, oldest first
}

var _ net.Listener = (*Listener)(nil)

// Split takes connections from l, in the background, until Close.
func Split(l net.Listener, cfg Config) *Listener {
	if cfg.Peek <= 0 || cfg.First == nil || cfg.Serve == nil {
		panic("sharedport: internal error: Config needs Peek, First and Serve")
	}
	if cfg.Wait == 0 {
		cfg.Wait = 30 * time.Second
	}
	if cfg.Half == 0 {
		cfg.Half = 1000
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Listener{Listener: l, cfg: cfg, rest: make(chan net.Conn), done: make(chan struct{}), stopped: make(chan struct{})}
	s.tasks.Go(s.accept)
	return s
}

// accept is the loop. Any error but that of a closed port is waited out, for
// both protocols: there are too many open files, most likely.
func (s *Listener) accept() {
	for {
		c, err := s.Listener.Accept()
		switch {
		case err == nil:
			s.tasks.Go(func() { s.decide(c) })
			continue
		case errors.Is(err, net.ErrClosed):
			close(s.stopped)
			return
		}
		s.cfg.Log.Warn("accepting a connection", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.done:
		}
	}
}

// decide hands one connection on. Close does not wait for those of the first
// protocol: they end with what serves them.
func (s *Listener) decide(c net.Conn) {
	leave := s.enter(c)
	c.SetReadDeadline(time.Now().Add(s.cfg.Wait))
	head := make([]byte, s.cfg.Peek)
	_, err := io.ReadFull(c, head)
	leave()
	if err != nil {
		s.cfg.Log.Debug("a connection was dropped before it said what it is", "err", err)
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	if s.cfg.First(head) {
		go s.cfg.Serve(c, head)
		return
	}
	select {
	case s.rest <- &begun{Conn: c, head: head}:
	case <-s.done:
		c.Close()
	}
}

// enter counts c as undecided and drops the oldest such if there are too many.
// The result ends that.
func (s *Listener) enter(c net.Conn) (leave func()) {
	s.mu.Lock()
	e := s.half.PushBack(c)
	var oldest net.Conn
	if s.half.Len() > s.cfg.Half {
		oldest = s.half.Remove(s.half.Front()).(net.Conn)
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	select {
	case <-s.done: // Close may have looked before c was there
		c.Close()
	default:
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.half.Remove(e)
	}
}

// Accept returns the next connection of the second protocol.
func (s *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-s.rest:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	case <-s.stopped:
		return nil, net.ErrClosed
	}
}

// Close closes the port, drops the connections that are undecided, and waits
// for them. Those that are decided go on.
func (s *Listener) Close() error {
	err := net.ErrClosed
	s.once.Do(func() {
		close(s.done)
		err = s.Listener.Close()
		s.mu.Lock()
		for e := s.half.Front(); e != nil; e = e.Next() {
			e.Value.(net.Conn).Close()
		}
		s.mu.Unlock()
	})
	s.tasks.Wait()
	return err
}

// begun is a connection of which the head has been read already.
type begun struct {
	net.Conn
	head []byte // what Read has yet to return of it; by the one reader
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.head) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.head)
	b.head = b.head[n:]
	return n, nil
}
