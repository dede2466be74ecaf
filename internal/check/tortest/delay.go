package tortest

import (
	"context"
	"net"
	"time"

	"tahoe-go/internal/network/netx"
)

// queued bounds what one direction of a delayed link holds: 16 MiB, far above
// what a relay keeps under way.
const (
	chunk  = 32 << 10
	queued = 512
)

// Link returns a port on 127.0.0.1 that leads to another by one link of the
// network's delay: for what is reached without Tor, or from an exit.
func (n *Network) Link(to int) (int, error) {
	from, err := freePort(n.ctx)
	if err != nil {
		return 0, err
	}
	return from, n.forward(from, to)
}

// forward listens at one port and passes everything on to another, later. It
// has no bandwidth limit and no loss.
func (n *Network) forward(from, to int) error {
	l, err := netx.Loopback{}.Listen(n.ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: from})
	if err != nil {
		return err
	}
	context.AfterFunc(n.ctx, func() { l.Close() })
	n.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() {
				defer c.Close()
				target, err := netx.Loopback{}.Dial(n.ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: to})
				if err != nil {
					return
				}
				defer target.Close()
				stop := context.AfterFunc(n.ctx, func() { c.Close(); target.Close() })
				defer stop()
				done := make(chan struct{})
				n.wg.Go(func() {
					defer close(done)
					late(target, c, n.cfg.Delay)
				})
				late(c, target, n.cfg.Delay)
				<-done
			})
		}
	})
	return nil
}

// late copies from src to dst, every chunk d after it came, and closes both.
func late(dst, src net.Conn, d time.Duration) {
	type piece struct {
		due  time.Time
		data []byte
	}
	pieces := make(chan piece, queued)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, chunk)
			k, err := src.Read(b)
			if k > 0 {
				pieces <- piece{time.Now().Add(d), b[:k]}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for p := range pieces { // to the end, so that the reader can end
		if broken {
			continue
		}
		time.Sleep(time.Until(p.due))
		if _, err := dst.Write(p.data); err != nil {
			broken = true
			src.Close()
		}
	}
	dst.Close()
	src.Close()
}
