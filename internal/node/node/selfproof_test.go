package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
)

// recorded is a network that remembers where it was asked to dial.
type recorded struct {
	netx.Denied
	mu    sync.Mutex // guards below
	hosts map[string]int
}

func (r *recorded) Dial(_ context.Context, a netx.Addr) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[a.Host]++
	return nil, errors.New("recorded")
}

// Several onion services prove themselves at once, each by its own address. It
// takes the race detector to see that they share nothing.
func TestProofsAtOnce(t *testing.T) {
	f, err := furl.ParseFURL("pb://zznbwkuaspu22s353xxkhi2feeeobore@/swissnum")
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(n *Node) proof{
		"HTTP":     func(n *Node) proof { return n.gbsProof(furl.NURL{Swissnum: redact.New("swissnum")}) },
		"Foolscap": func(n *Node) proof { return n.tubProof(f) },
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorded{hosts: map[string]int{}}
			prove := make(&Node{network: r})
			const services = 8
			var wg sync.WaitGroup
			for i := range services {
				wg.Go(func() {
					at := netx.Addr{Kind: netx.Tor, Host: fmt.Sprintf("service%d.onion", i), Port: 80}
					if err := prove(t.Context(), at); err == nil {
						t.Error("proven by nobody")
					}
				})
			}
			wg.Wait()
			if len(r.hosts) != services {
				t.Errorf("dialled %v", r.hosts)
			}
		})
	}
}
