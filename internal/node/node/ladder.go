package node

import (
	"context"
	"fmt"

	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/tor"
)

// Rung is one step of a node's readiness.
type Rung = tor.Rung

// Ladder describes how ready the node is, from the ground up: Tor where it is
// needed, then storage servers where any are known.
func (n *Node) Ladder() []Rung {
	var rungs []Rung
	if n.tor != nil {
		rungs = append(rungs, n.tor.Status().Rungs()...)
	}
	if n.grid != nil {
		rungs = append(rungs, serversRung(n.grid.Status(), n.cfg.Client.Happy))
	}
	return rungs
}

// serversRung says how many servers answer, and whether that is enough to
// store files.
func serversRung(servers []grid.Status, happy int) Rung {
	r := Rung{Name: "servers", State: tor.OK}
	connected, trying := 0, 0
	for _, s := range servers {
		switch s.State {
		case grid.Connected:
			connected++
		case grid.Connecting:
			trying++
		}
	}
	r.Text = fmt.Sprintf("storage servers: %d of %d connected", connected, len(servers))
	switch {
	case len(servers) == 0:
		r.State, r.Text = tor.Failed, "storage servers: none known; add one with: tahoe add-server FILE"
	case connected >= happy:
	case trying > 0:
		r.State = tor.Waiting
	default:
		r.State = tor.Failed
	}
	if len(servers) > 0 && connected < happy && trying == 0 {
		r.Text += fmt.Sprintf(", %d needed to store files (shares.happy)", happy)
	}
	return r
}

// retryWithTor has the servers tried at once whenever the way through Tor
// opens, instead of when their time comes.
func (n *Node) retryWithTor(ctx context.Context) error {
	ready := false
	for {
		now, changed := n.tor.Watch()
		if now.Ready() && !ready {
			n.grid.Retry()
		}
		ready = now.Ready()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// narrate prints each step of the ladder when it changes, until ctx ends.
func (n *Node) narrate(ctx context.Context, say *teller) {
	said := map[string]string{}
	for {
		var torChanged, gridChanged <-chan struct{}
		if n.tor != nil {
			_, torChanged = n.tor.Watch()
		}
		if n.grid != nil {
			gridChanged = n.grid.Watch()
		}
		for i, r := range n.Ladder() {
			key := fmt.Sprint(i, r.Name)
			if said[key] != r.Text && (r.State != tor.Unknown || said[key] != "") {
				said[key] = r.Text
				say.line("%s", r.Text)
			}
		}
		select {
		case <-torChanged:
		case <-gridChanged:
		case <-ctx.Done():
			return
		}
	}
}
