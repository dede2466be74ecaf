package leaklab

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// ForwardIn makes the TCP address outside, an IP literal and port where this
// test runs, reachable inside at inside, a loopback literal and port: the
// SOCKS port of a tor, say. It ends with the Lab.
func (l *Lab) ForwardIn(inside, outside string) {
	l.t.Helper()
	ln, err := l.sut.listen("tcp", inside)
	if err != nil {
		l.t.Fatalf("leak lab: %v", err)
	}
	l.forward(ln, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", outside)
	})
}

// ForwardOut makes inside, a loopback address in the namespace, reachable at
// outside where this test runs: the target of an onion service whose tor is
// outside, say.
func (l *Lab) ForwardOut(outside, inside string) {
	l.t.Helper()
	ln, err := net.Listen("tcp", outside)
	if err != nil {
		l.t.Fatalf("leak lab: %v", err)
	}
	l.forward(ln, func(ctx context.Context) (net.Conn, error) { return l.sut.dial(ctx, inside) })
}

func (l *Lab) forward(ln net.Listener, dial func(context.Context) (net.Conn, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	l.onClose(func() { cancel(); ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { carry(ctx, c, dial) })
		}
	})
}

// carry joins c to what dial finds until both directions have ended.
func carry(ctx context.Context, c net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer c.Close()
	dctx, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	to, err := dial(dctx)
	if err != nil {
		return
	}
	defer to.Close()
	defer context.AfterFunc(ctx, func() { c.Close(); to.Close() })()
	var wg sync.WaitGroup
	half := func(to, from net.Conn) {
		// Without the wrapping it is spliced, through pipes that stay in a pool.
		io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
		to.(*net.TCPConn).CloseWrite()
	}
	wg.Go(func() { half(to, c) })
	half(c, to)
	wg.Wait()
}
