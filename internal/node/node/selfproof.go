package node

import (
	"context"
	"errors"
	"fmt"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/storage/gbs"
)

// selfProof finds out whether an onion address leads to this very node.
type selfProof struct {
	network netx.Network
	ready   chan struct{} // closed by know
	nurl    furl.NURL     // without a place; guarded by ready
}

// know says how this node's storage server is reached, wherever it is.
func (p *selfProof) know(n furl.NURL) {
	p.nurl = n
	close(p.ready)
}

// prove calls the storage server at the address as a client would. It returns
// nil if that is ours, and tor.ErrStranger if it is another's.
func (p *selfProof) prove(ctx context.Context, at netx.Addr) error {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	nurl := p.nurl
	nurl.Tor, nurl.Host, nurl.Port = true, at.Host, at.Port
	c := gbs.NewClient(gbs.Config{Network: p.network, NURL: nurl, Isolation: at.Isolation, MaxConns: 1})
	defer c.Close()
	_, err := c.Version(ctx)
	if errors.Is(err, gbs.ErrPin) {
		return fmt.Errorf("%w: %w", tor.ErrStranger, err)
	}
	return err
}
