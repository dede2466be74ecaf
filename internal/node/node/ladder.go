package node

import (
	"context"
	"fmt"

	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
)

// Rung is one step of a node's readiness.
type Rung = tor.Rung

// Ladder describes how ready the node is, from the ground up: Tor where it is
// needed, the lock-down of a node that hides, then storage servers where any
// are known.
func (n *Node) Ladder() []Rung {
	rungs := n.lowerRungs()
	if n.grid != nil {
		rungs = append(rungs, serversRung(n.grid.Status(), n.cfg.Client.Happy, n.sayings()))
	}
	return rungs
}

// lowerRungs is the ladder less the servers.
func (n *Node) lowerRungs() []Rung {
	var rungs []Rung
	if t, _ := n.torNow(); t != nil {
		rungs = append(rungs, t.Status().Rungs()...)
	}
	if r, _, _ := n.lock.look(); r.Name != "" {
		rungs = append(rungs, r)
	}
	return rungs
}

// figures is the ladder in numbers, for /statistics. What is not known is left
// out.
func (n *Node) figures() (counters, gauges map[string]float64) {
	counters, gauges = map[string]float64{}, map[string]float64{}
	yes := func(name string, is bool) {
		gauges[name] = 0
		if is {
			gauges[name] = 1
		}
	}
	if n.grid != nil {
		servers := n.grid.Status()
		connected, toStore := 0, 0
		for _, s := range servers {
			if s.State == grid.Connected {
				connected++
				if s.Barred == "" {
					toStore++
				}
			}
		}
		gauges["grid.servers_known"], gauges["grid.servers_connected"] = float64(len(servers)), float64(connected)
		yes("grid.ready", toStore >= max(1, n.cfg.Client.Happy))
	}
	if r, _, _ := n.lock.look(); r.Name != "" {
		yes("lockdown.holds", r.State == tor.OK)
	}
	t, _ := n.torNow()
	if t == nil {
		return counters, gauges
	}
	l := t.Status()
	counters["tor.control_connections"] = float64(l.Connects)
	yes("tor.found", l.SOCKS != netx.Addr{})
	yes("tor.controlled", l.Control != netx.Addr{})
	yes("tor.ready", l.Ready())
	if l.Bootstrap.Known {
		gauges["tor.bootstrapped_percent"] = float64(l.Bootstrap.Percent)
	}
	gauges["tor.clock_skew_seconds"] = l.ClockSkew.Seconds()
	for i, s := range l.Services {
		prefix := fmt.Sprintf("tor.onion%d.", i+1)
		gauges[prefix+"descriptors_published"], gauges[prefix+"descriptors_asked"] = float64(s.Uploaded), float64(s.Asked)
		yes(prefix+"reached", !s.Reached.IsZero())
	}
	return counters, gauges
}

const serversName = "servers"

// sayings is how many introducers there are, and how many of them have told all
// they know.
type sayings struct{ all, heardOut int }

func (n *Node) sayings() sayings {
	s := sayings{all: len(n.cfg.Introducers)}
	for _, i := range n.introducers() {
		if i.HeardOut {
			s.heardOut++
		}
	}
	return s
}

// none says what is waited for while no server is known.
func (s sayings) none() string {
	switch {
	case s.heardOut == 0:
		return "waiting for the introducer to tell of some"
	case s.all == 1:
		return "the introducer is connected and names none"
	}
	return fmt.Sprintf("%d of %d introducers are connected and name none", s.heardOut, s.all)
}

// serversRung says how many servers answer, and whether that is enough to
// store files. Introducers may tell of more.
func serversRung(servers []grid.Status, happy int, introducers sayings) Rung {
	r := Rung{Name: serversName, State: tor.OK}
	connected, barred, trying := 0, 0, 0
	for _, s := range servers {
		switch s.State {
		case grid.Connected:
			connected++
			if s.Barred != "" {
				barred++
			}
		case grid.Connecting:
			trying++
		}
	}
	r.Text = fmt.Sprintf("storage servers: %d of %d connected", connected, len(servers))
	if barred > 0 {
		r.Text += fmt.Sprintf(", of which %d get no new shares: no grid manager vouches for them", barred)
	}
	switch {
	case len(servers) == 0 && introducers.all > 0:
		r.State, r.Text = tor.Waiting, "storage servers: none known yet; "+introducers.none()
	case len(servers) == 0:
		r.State, r.Text = tor.Failed, "storage servers: none known; add one with: tahoe add-server FILE"
	case connected-barred >= happy:
	case trying > 0:
		r.State = tor.Waiting
	default:
		r.State = tor.Failed
		r.Text += fmt.Sprintf("; to store files, %d must be (shares.happy)", happy)
	}
	return r
}

// watchTor has everybody tried at once whenever the way through Tor opens.
func (n *Node) watchTor(ctx context.Context) error {
	if (n.tor != nil || n.late != nil) && (n.grid != nil || len(n.cfg.Introducers) > 0) {
		n.serve(ctx, "watching Tor", n.retryWithTor)
	}
	return nil
}

// retryWithTor has servers and introducers tried when the way through Tor
// opens, instead of when their time comes.
func (n *Node) retryWithTor(ctx context.Context) error {
	t, came := n.torNow()
	if t == nil {
		select {
		case <-came:
			t, _ = n.torNow()
		case <-ctx.Done():
			return nil
		}
	}
	ready := false
	for {
		now, changed := t.Watch()
		if now.Ready() && !ready {
			n.word.retry()
			if n.grid != nil {
				n.grid.Retry()
			}
		}
		ready = now.Ready()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// narrate prints the steps of the ladder as they are taken, until ctx ends.
func (n *Node) narrate(ctx context.Context, say *teller) {
	told := narration{byTor: n.cfg.TorOnly()}
	for {
		var torChanged, gridChanged <-chan struct{}
		if t, came := n.torNow(); t != nil {
			_, torChanged = t.Watch()
		} else {
			torChanged = came
		}
		if n.grid != nil {
			gridChanged = n.grid.Watch()
		}
		_, _, lockChanged := n.lock.look()
		introChanged := n.word.news.wait()
		for _, line := range told.lines(n.Ladder()) {
			say.line("%s", line)
		}
		select {
		case <-torChanged:
		case <-gridChanged:
		case <-lockChanged:
		case <-introChanged:
		case <-ctx.Done():
			return
		}
	}
}

// narration remembers what was said of each rung, by its place.
type narration struct {
	byTor bool // servers wait for Tor, all of them
	said  []Rung
}

// lines returns what is new for a person: the rungs up to the first that does
// not stand, since those above it only wait, and of a rung that stands only
// that it does. How many servers answer is always of interest where some may be
// reached without Tor, and otherwise once it has been.
func (t *narration) lines(rungs []Rung) []string {
	if len(t.said) != len(rungs) { // an onion service came
		t.said = make([]Rung, len(rungs))
	}
	var lines []string
	blocked := false
	for i, r := range rungs {
		was := t.said[i]
		servers := r.Name == serversName
		locked := r.Name == lockName && r.State != tor.Waiting // it comes without the rungs below
		if blocked && !locked && !(servers && (was.Text != "" || !t.byTor)) {
			t.said[i] = Rung{} // it will be news again
			continue
		}
		news := was.Text != r.Text && (r.State != tor.OK || was.State != tor.OK || servers)
		if news && r.State != tor.Unknown {
			lines = append(lines, r.Text)
		}
		t.said[i] = r
		if r.Name != lockName { // nothing above waits for it
			blocked = blocked || r.State == tor.Waiting || r.State == tor.Failed
		}
	}
	return lines
}
