package proof

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/network/tor/control"
)

// streams are what a tor has told of its streams.
type streams struct {
	mu  sync.Mutex // guards below
	all []stream
}

// stream is one connection that was made through Tor.
type stream struct {
	credentials string // SOCKS user and password
	user        string
	circuit     string
	target      string
}

// watch listens to a tor's STREAM events until t ends.
func (s *streams) watch(t *testing.T, open func(context.Context, func(control.Event)) (*control.Conn, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := open(ctx, s.event)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetEvents(ctx, "STREAM"); err != nil {
		t.Fatal(err)
	}
}

// event takes "STREAM ID SUCCEEDED CIRCUIT TARGET KEY=VALUE…".
func (s *streams) event(e control.Event) {
	if e.Name != "STREAM" || len(e.Words) < 4 || e.Words[1] != "SUCCEEDED" || e.Words[2] == "0" {
		return
	}
	if e.Keys["CLIENT_PROTOCOL"] != "SOCKS5" {
		return // tor's own, to directories and for its services
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user := e.Keys["SOCKS_USERNAME"]
	s.all = append(s.all, stream{user + " " + e.Keys["SOCKS_PASSWORD"], user, e.Words[2], e.Words[3]})
}

// checkIsolation: by tor's own account no two servers share a circuit, nor do
// two clients, and each client shows each server credentials of its own.
func (g *grid) checkIsolation(t *testing.T) {
	g.streams.mu.Lock()
	defer g.streams.mu.Unlock()
	targets := map[string]map[string]bool{} // of each circuit, of each credentials
	users := map[string]map[string]bool{}   // of each circuit
	credentials := map[string]map[string]bool{}
	note := func(m map[string]map[string]bool, key, value string) {
		if m[key] == nil {
			m[key] = map[string]bool{}
		}
		m[key][value] = true
	}
	for _, s := range g.streams.all {
		note(targets, "circuit "+s.circuit, s.target)
		note(targets, "credentials "+s.credentials, s.target)
		note(users, s.circuit, s.credentials)
		note(credentials, s.target, s.credentials)
		if s.user == "" {
			t.Errorf("a stream to %s has no credentials", s.target)
		}
	}
	for what, to := range targets {
		if len(to) > 1 {
			t.Errorf("%s lead to %d places: %q", what, len(to), slices.Collect(maps.Keys(to)))
		}
	}
	for circuit, by := range users {
		if len(by) > 1 {
			t.Errorf("circuit %s carries streams of %d credentials", circuit, len(by))
		}
	}
	storage := 0
	for target, by := range credentials {
		n := 0
		for c := range by {
			if strings.HasPrefix(c, "storage ") || strings.Contains(c, ":storage ") || strings.Contains(c, "-storage ") {
				n++
			}
		}
		if n == 0 {
			continue // the node's look at its own service
		}
		storage++
		if n < 2 { // two clients use this tor
			t.Errorf("%d credentials for %s; want one of each of two clients", n, target)
		}
	}
	if want := len(g.onions) + len(g.clears); storage != want {
		t.Errorf("streams to %d storage servers were seen, want %d: %+v", storage, want, g.streams.all)
	}
	t.Logf("%d streams on %d circuits to %d places", len(g.streams.all), len(users), len(credentials))
}
