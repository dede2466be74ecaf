package node

import (
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/tor"
)

// rungs reads "name state text" lines.
func rungs(lines ...string) []Rung {
	var rs []Rung
	for _, l := range lines {
		w := strings.SplitN(l, " ", 3)
		rs = append(rs, Rung{Name: w[0], State: tor.State(w[1]), Text: w[2]})
	}
	return rs
}

func TestNarration(t *testing.T) {
	told := narration{byTor: true}
	for i, tt := range []struct{ now, want []string }{
		{[]string{"found waiting looking", "bootstrapped waiting for Tor", "published waiting p", "servers waiting 0 of 2"}, []string{"looking"}},
		{[]string{"found waiting looking", "bootstrapped waiting for Tor", "published waiting p", "servers waiting 0 of 2"}, nil},
		{[]string{"found ok found", "bootstrapped waiting 5 %", "published waiting p", "servers waiting 0 of 2"}, []string{"found", "5 %"}},
		{[]string{"found ok found", "bootstrapped waiting 9 %", "published waiting p", "servers waiting 0 of 2"}, []string{"9 %"}},
		{[]string{"found ok found", "bootstrapped ok connected", "published waiting p", "servers waiting 0 of 2"}, []string{"connected", "p"}},
		{[]string{"found ok found", "bootstrapped ok connected", "published ok at 1", "servers waiting 0 of 2"}, []string{"at 1", "0 of 2"}},
		{[]string{"found ok found", "bootstrapped ok connected", "published ok at 2", "servers ok 1 of 2"}, []string{"1 of 2"}},
		{[]string{"found ok found", "bootstrapped ok connected", "published ok at 2", "servers ok 2 of 2"}, []string{"2 of 2"}},
		// Tor goes and comes back: all of it is news again.
		{[]string{"found failed gone", "bootstrapped waiting for Tor", "published waiting p", "servers failed 0 of 2"}, []string{"gone", "0 of 2"}},
		{[]string{"found ok found", "bootstrapped unknown no control port", "published ok at 3", "servers ok 2 of 2"}, []string{"found", "at 3", "2 of 2"}},
		// The lock-down comes as soon as Tor is found, and nothing waits for it.
		{[]string{"found failed gone", "lockdown waiting later", "servers failed 0 of 2"}, []string{"gone"}},
		{[]string{"found ok found", "bootstrapped waiting 0 %", "lockdown ok locked", "servers waiting 0 of 2"}, []string{"found", "0 %", "locked"}},
		{[]string{"found ok found", "bootstrapped ok connected", "lockdown failed not locked", "servers waiting 1 of 2"}, []string{"connected", "not locked", "1 of 2"}},
	} {
		if got := told.lines(rungs(tt.now...)); !slices.Equal(got, tt.want) {
			t.Errorf("step %d: %q, want %q", i, got, tt.want)
		}
	}
}

// Where not all servers are reached through Tor, they do not wait for it.
func TestNarrationOfTwoNetworks(t *testing.T) {
	var told narration
	for i, tt := range []struct{ now, want []string }{
		{[]string{"found failed no Tor", "servers waiting 0 of 2"}, []string{"no Tor", "0 of 2"}},
		{[]string{"found failed no Tor", "servers waiting 1 of 2"}, []string{"1 of 2"}},
	} {
		if got := told.lines(rungs(tt.now...)); !slices.Equal(got, tt.want) {
			t.Errorf("step %d: %q, want %q", i, got, tt.want)
		}
	}
}

func TestServersRung(t *testing.T) {
	is := func(states ...grid.State) []grid.Status {
		var all []grid.Status
		for _, s := range states {
			all = append(all, grid.Status{State: s})
		}
		return all
	}
	for _, tt := range []struct {
		servers     []grid.Status
		introducers sayings
		state       tor.State
		text        string
	}{
		{nil, sayings{}, tor.Failed, "none known"},
		{nil, sayings{1, 0}, tor.Waiting, "none known yet; waiting for the introducer"},
		{nil, sayings{1, 1}, tor.Waiting, "none known yet; the introducer is connected and names none"},
		{nil, sayings{3, 2}, tor.Waiting, "none known yet; 2 of 3 introducers are connected and name none"},
		{is(grid.Connecting, grid.Connecting), sayings{}, tor.Waiting, "0 of 2 connected"},
		{is(grid.Connected, grid.Connected, grid.Disconnected), sayings{}, tor.OK, "2 of 3 connected"},
		{is(grid.Connected, grid.Connecting), sayings{}, tor.Waiting, "1 of 2 connected"},
		{append(is(grid.Connected, grid.Connected), grid.Status{State: grid.Connected, Barred: "x"}), sayings{}, tor.OK, "3 of 3 connected, of which 1 get no new shares"},
		{append(is(grid.Connected), grid.Status{State: grid.Connected, Barred: "x"}), sayings{}, tor.Failed, "vouches for them; to store files, 2 must be"},
		{is(grid.Connected, grid.Disconnected), sayings{}, tor.Failed, "1 of 2 connected; to store files, 2 must be"},
	} {
		if r := serversRung(tt.servers, 2, tt.introducers); r.State != tt.state || !strings.Contains(r.Text, tt.text) {
			t.Errorf("%v: %+v, want %s %q", tt.servers, r, tt.state, tt.text)
		}
	}
}
