package node

import (
	"context"

	"tahoe-go/internal/network/tor"
)

// Rung is one step of a node's readiness.
type Rung = tor.Rung

// Ladder describes how ready the node is, from the ground up: Tor where it is
// needed, then storage servers.
func (n *Node) Ladder() []Rung {
	var rungs []Rung
	if n.tor != nil {
		rungs = append(rungs, n.tor.Status().Rungs()...)
	}
	return rungs
}

// narrate prints each step of the ladder when it changes, until ctx ends.
func (n *Node) narrate(ctx context.Context, say *teller) {
	said := map[int]string{}
	for {
		var torChanged <-chan struct{}
		if n.tor != nil {
			_, torChanged = n.tor.Watch()
		}
		for i, r := range n.Ladder() {
			if said[i] != r.Text && r.State != tor.Unknown {
				said[i] = r.Text
				say.line("%s", r.Text)
			}
		}
		select {
		case <-torChanged:
		case <-ctx.Done():
			return
		}
	}
}
