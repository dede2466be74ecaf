package grid

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/storage"
)

// State of a server, as last known.
type State string

// The states.
const (
	Connecting   State = "connecting"   // never answered yet
	Connected    State = "connected"    // answered, and not failed since
	Disconnected State = "disconnected" // did not answer; will be tried again
)

// Status is what can be shown of a server. It holds no secret. Reason, GBS and
// the texts of Sources may hold its addresses.
type Status struct {
	ID, Name    string
	TubID       string // "": not known
	State       State
	Address     string   // kind of the address in use or tried: "onion", "tor", "tcp"
	Protocol    Protocol // in use or tried
	Source      string   // the one that counts
	Sources     []SourceStatus
	LastContact time.Time // zero: never
	Since       time.Time // of State
	Reason      string    // why it is not connected
	GBS         string    // why Foolscap is used and not the HTTP protocol
	Barred      string    // why it is given no new shares; "": it is
	RetryAt     time.Time // zero: now, or not waiting
	Version     storage.Version
	Announced   string // version of its program, as announced
}

// Status of every known server, sorted by name, then ID.
func (g *Grid) Status() []Status {
	now := g.c.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Status, 0, len(g.servers))
	for _, s := range g.servers {
		st := s.status
		st.ID, st.Name, st.Source, st.Announced, st.TubID = s.known.ID, s.known.Name, s.known.Source, s.known.Version, s.known.FURL.TubID
		st.Sources, st.Barred = sources(s.from, s.known), s.known.barred(&g.c, now)
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// server is one known server and its loop. Another takes its place when the
// addresses of what is known change.
type server struct {
	g        *Grid
	cancel   context.CancelFunc
	gbs      []Address     // of the HTTP protocol
	foolscap *Address      // nil: none
	suspect  chan struct{} // a call failed: see whether the server is still there
	retry    chan struct{} // do not wait any longer before the next attempt

	// guarded by g.mu
	from   map[origin]Known // what each source says
	known  Known            // what counts of it
	status Status
	peer   *storage.Peer // nil while not connected
	tried  bool          // the first attempt has ended
}

// start begins a server's loop. g.mu is held.
func (g *Grid) start(k Known, from map[origin]Known) *server {
	ctx, cancel := context.WithCancel(g.ctx)
	s := &server{
		g: g, cancel: cancel, suspect: make(chan struct{}, 1), retry: make(chan struct{}, 1),
		from: from, known: k, status: Status{State: Connecting},
	}
	s.gbs, s.foolscap = g.addresses(k)
	if at := slices.Concat(s.gbs, s.last()); len(at) > 0 {
		s.status.Protocol, s.status.Address = at[0].Protocol, g.kind(at[0], "")
	}
	g.wg.Go(func() { s.run(ctx) })
	return s
}

// last is the address that is tried when no other leads to the server.
func (s *server) last() []Address {
	if s.foolscap == nil {
		return nil
	}
	return []Address{*s.foolscap}
}

// rename takes what is new in what is known and needs no new connection.
// g.mu is held.
func (s *server) rename(k Known) {
	s.known = k
	if s.peer != nil && s.peer.Name != k.Name {
		p := *s.peer
		p.Name = k.Name
		s.peer = &p
	}
}

// run connects, waits for a reason to doubt the connection, and begins again.
func (s *server) run(ctx context.Context) {
	wait := s.g.c.RetryMin
	for ctx.Err() == nil {
		found, err := s.connect(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			pause := jitter(wait)
			s.lost(err, pause)
			wait = min(2*wait, s.g.c.RetryMax)
			if s.sleep(ctx, pause) {
				wait = s.g.c.RetryMin
			}
			continue
		}
		wait = s.g.c.RetryMin
		s.connected(found)
		s.stay(ctx, found)
	}
}

// stay returns when the server no longer answers.
func (s *server) stay(ctx context.Context, found answer) {
	for {
		idle := time.NewTimer(jitter(s.g.c.Idle))
		select {
		case <-ctx.Done():
			idle.Stop()
			return
		case <-s.suspect:
			idle.Stop()
		case <-idle.C:
			if a, ok := s.better(ctx, found); ok {
				found = a
				s.connected(found)
				continue
			}
			if s.recent() {
				continue
			}
		}
		probe, cancel := context.WithTimeout(ctx, s.g.c.Timeout)
		v, err := found.server.Version(probe)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				s.lost(err, 0)
			}
			return
		}
		found.version = v
		s.connected(found)
	}
}

// recent reports whether traffic has shown the server alive within Idle.
func (s *server) recent() bool {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	return time.Since(s.status.LastContact) < s.g.c.Idle/2
}

func (s *server) connected(a answer) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	now := time.Now()
	if s.status.State != Connected || s.status.Protocol != a.at.Protocol {
		s.status.Since = now
		s.g.c.Log.Info("server connected", "server", s.known.ID, "name", s.known.Name, "address", a.kind, "protocol", a.at.Protocol)
	}
	s.status.State, s.status.Reason, s.status.RetryAt = Connected, "", time.Time{}
	s.status.LastContact, s.status.Address, s.status.Protocol, s.status.Version = now, a.kind, a.at.Protocol, a.version
	s.status.GBS = a.notGBS
	s.tried = true
	if w, ok := s.using(); !ok || w.to != a.server {
		s.peer = &storage.Peer{
			ID: s.known.ID, Name: s.known.Name, Seed: s.known.Seed, LeaseSeed: s.known.LeaseSeed,
			Server: &watched{s: s, to: a.server},
		}
	}
	s.g.notify()
}

// using is what the peer calls. g.mu is held.
func (s *server) using() (*watched, bool) {
	if s.peer == nil {
		return nil, false
	}
	w, ok := s.peer.Server.(*watched)
	return w, ok
}

func (s *server) lost(err error, pause time.Duration) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	if s.status.State != Disconnected {
		s.status.Since = time.Now()
		s.g.c.Log.Info("server not connected", "server", s.known.ID, "name", s.known.Name, "err", err)
	}
	s.status.State, s.status.Reason = Disconnected, err.Error()
	s.status.RetryAt = time.Now().Add(pause)
	s.tried = true
	s.peer = nil
	s.g.notify()
}

// heard notes what a call told of the server's health.
func (s *server) heard(ctx context.Context, err error) {
	switch {
	case err == nil || storage.Answered(err):
		s.g.mu.Lock()
		s.status.LastContact = time.Now()
		s.g.mu.Unlock()
	case ctx.Err() != nil && context.Cause(ctx) == context.Canceled:
		// The caller lost interest; that says nothing of the server.
	case errors.Is(err, storage.ErrClosed) && !errors.Is(err, foolscap.ErrLost):
		// Nor does it if this side has closed the writer.
	default:
		select {
		case s.suspect <- struct{}{}:
		default: // a probe is due already
		}
	}
}

// jitter returns a time between half and one and a half of d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// sleep ends early, and reports so, when Retry is called.
func (s *server) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.retry:
		return true
	}
	return false
}
