package node

import (
	"context"
	"fmt"
	"net"
	"time"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/sharedport"
)

// tubGrace is for what waits to be written when the node stops.
const tubGrace = 2 * time.Second

// openTub readies this node's own Foolscap identity, that of its certificate.
func (n *Node) openTub(context.Context) error {
	var err error
	n.tub, err = foolscap.New(foolscap.Config{
		Cert: n.cert, Network: n.network, Limits: n.tubLimits(), Log: n.log.With("part", "foolscap"),
	})
	n.onClose(n.closeTub)
	return err
}

// tubLimits are the defaults, and what timeout.* says.
func (n *Node) tubLimits() foolscap.Limits {
	return foolscap.Limits{Keepalive: n.cfg.Node.KeepAlive, Disconnect: n.cfg.Node.Disconnect}
}

// closeTub ends all connections to this node. What serves over them closes
// after it, so it may be called twice.
func (n *Node) closeTub() error { return closeTub(n.tub) }

func closeTub(t *foolscap.Tub) error {
	ctx, cancel := context.WithTimeout(context.Background(), tubGrace)
	defer cancel()
	t.Close(ctx)
	return nil
}

// share serves Foolscap on a port and returns the port as it is to the other
// protocol.
func (n *Node) share(l net.Listener, onion bool) *sharedport.Listener {
	c := sharedport.Config{
		Peek: foolscap.PeekLen, First: foolscap.Speaks, Serve: n.tub.Serve,
		Log: n.log.With("part", "port"),
	}
	if onion {
		c.Wait = onionHeaderTimeout
	}
	return sharedport.Split(n.guard(l), c)
}

// foolscapOnly drops everybody who speaks anything else, until ctx ends. It
// closes l.
func foolscapOnly(ctx context.Context, l *sharedport.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				l.Close() // which waits
				return nil
			}
			return fmt.Errorf("serving Foolscap: %w", err)
		}
		c.Close()
	}
}
