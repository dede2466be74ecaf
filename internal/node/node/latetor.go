package node

import (
	"context"
	"net"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
)

// lateTor is the Tor of a node that has no use for it yet, but may hear of a
// server that is an onion service only: tor is looked for when the first such
// is dialled, and not before.
type lateTor struct {
	begin func() (*tor.Tor, error)
	there chan struct{} // closed once tor is set

	mu     sync.Mutex // guards below
	closed bool
	tor    *tor.Tor
	err    error
}

var _ netx.TorDialer = (*lateTor)(nil)

func newLateTor(begin func() (*tor.Tor, error)) *lateTor {
	return &lateTor{begin: begin, there: make(chan struct{})}
}

// otherWays is for the other ways to a server to be open: they are tried at the
// same time, and if one is, nobody needs Tor.
const otherWays = 3 * time.Second

// DialTor connects through Tor.
func (l *lateTor) DialTor(ctx context.Context, a netx.Addr) (net.Conn, error) {
	select {
	case <-l.there:
	case <-time.After(otherWays):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t, err := l.get()
	if err != nil {
		return nil, err
	}
	return t.DialTor(ctx, a)
}

func (l *lateTor) get() (*tor.Tor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, net.ErrClosed
	case l.tor == nil && l.err == nil:
		if l.tor, l.err = l.begin(); l.err == nil {
			close(l.there)
		}
	}
	return l.tor, l.err
}

// Close ends what was begun.
func (l *lateTor) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.tor == nil {
		return nil
	}
	return l.tor.Close()
}

// torNow is the Tor that is in use by now, or nil; then came is closed when
// there is one, if there ever will be.
func (n *Node) torNow() (t *tor.Tor, came <-chan struct{}) {
	if n.tor != nil || n.late == nil {
		return n.tor, nil
	}
	select {
	case <-n.late.there:
		t, _ := n.late.get()
		return t, nil
	default:
		return nil, n.late.there
	}
}
