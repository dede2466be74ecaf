package contact_test

import (
	"context"
	"net"
	"slices"
	"sync"

	"tahoe-go/internal/network/netx"
)

// torRecorder is a Tor that connects to nothing and remembers where to.
type torRecorder struct {
	mu  sync.Mutex // guards below
	all []netx.Addr
}

func (r *torRecorder) DialTor(_ context.Context, a netx.Addr) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, a)
	return nil, errRecorded
}

func (r *torRecorder) dialed() []netx.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}
