package tor

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
)

// inbox is one listener made of several that come and go.
type inbox struct {
	conns chan net.Conn
	done  chan struct{} // closed by stop
	once  sync.Once
	wg    sync.WaitGroup // of the accept loops

	mu    sync.Mutex // guards below
	inner map[netx.Addr]net.Listener
}

func newInbox() *inbox {
	return &inbox{conns: make(chan net.Conn), done: make(chan struct{}), inner: map[netx.Addr]net.Listener{}}
}

// open listens at a and returns where that is, with the port that was picked.
func (b *inbox) open(ctx context.Context, n netx.Network, a netx.Addr) (netx.Addr, error) {
	l, err := n.Listen(ctx, a)
	if err != nil {
		return a, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		a.Port = tcp.Port
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.done:
		l.Close()
		return a, net.ErrClosed
	default:
	}
	b.inner[a] = l
	b.wg.Go(func() { b.accept(l) })
	return a, nil
}

// has reports whether the inbox listens at a.
func (b *inbox) has(a netx.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inner[a] != nil
}

// shut stops listening at a.
func (b *inbox) shut(a netx.Addr) {
	b.mu.Lock()
	l := b.inner[a]
	delete(b.inner, a)
	b.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// accept moves connections from one inner listener to Accept.
func (b *inbox) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of descriptors, most likely
			case <-time.After(100 * time.Millisecond):
				continue
			case <-b.done:
				return
			}
		}
		select {
		case b.conns <- c:
		case <-b.done:
			c.Close()
			return
		}
	}
}

// Accept waits for the next connection from Tor. The other end's address is
// not known to anyone here.
func (b *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

// stop closes the listeners and waits for the accept loops.
func (b *inbox) stop() {
	b.once.Do(func() { close(b.done) })
	b.mu.Lock()
	for _, l := range b.inner {
		l.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}
