package node

import (
	"context"
	"errors"
	"fmt"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/storage/gbs"
)

// A proof connects to an address as others would. It returns nil if that is
// this very node, and tor.ErrStranger if it is another.
type proof func(ctx context.Context, at netx.Addr) error

// selfProof is a proof that is known only once the node has opened its doors.
type selfProof struct {
	ready chan struct{} // closed by know
	proof proof         // guarded by ready
}

func newSelfProof() *selfProof { return &selfProof{ready: make(chan struct{})} }

// know says how this node is reached, wherever it is.
func (p *selfProof) know(how proof) {
	p.proof = how
	close(p.ready)
}

func (p *selfProof) prove(ctx context.Context, at netx.Addr) error {
	select {
	case <-p.ready:
		return p.proof(ctx, at)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gbsProof calls the storage server. own has no place in it.
func (n *Node) gbsProof(own furl.NURL) proof {
	return func(ctx context.Context, at netx.Addr) error {
		own := own // there may be several services, and each asks for itself
		own.Tor, own.Host, own.Port = true, at.Host, at.Port
		c := gbs.NewClient(gbs.Config{Network: n.network, NURL: own, Isolation: at.Isolation, MaxConns: 1})
		defer c.Close()
		_, err := c.Version(ctx)
		if errors.Is(err, gbs.ErrPin) {
			return fmt.Errorf("%w: %w", tor.ErrStranger, err)
		}
		return err
	}
}

// tubProof looks up an object of the Tub, by a connection of an identity that
// is for this once.
func (n *Node) tubProof(own furl.FURL) proof {
	return func(ctx context.Context, at netx.Addr) error {
		probe, err := contact.NewTub(n.network, foolscap.Limits{}, nil)
		if err != nil {
			return err
		}
		defer probe.Close(ctx)
		own := own // as above
		own.Hints = []furl.Hint{{Kind: furl.Tor, Host: at.Host, Port: at.Port}}
		ref, err := probe.Dial(ctx, own, foolscap.DialOptions{Isolation: at.Isolation})
		if err == nil {
			ref.Release()
			return nil
		}
		if _, other := errors.AsType[*foolscap.NegotiationError](err); other {
			return fmt.Errorf("%w: %w", tor.ErrStranger, err)
		}
		return err
	}
}
