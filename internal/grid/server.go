package grid

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"tahoe-go/internal/format/furl"
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

// Status is what can be shown of a server. It holds no secret and no address.
type Status struct {
	ID, Name    string
	State       State
	Address     string // kind of the address in use or tried: "onion", "tor", "tcp"
	Protocol    string // "GBS"
	Source      string
	LastContact time.Time // zero: never
	Since       time.Time // of State
	Reason      string    // why it is not connected
	RetryAt     time.Time // zero: now, or not waiting
	Version     storage.Version
}

// Status of every known server, sorted by name, then ID.
func (g *Grid) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Status, 0, len(g.servers))
	for _, s := range g.servers {
		st := s.status
		st.ID, st.Name, st.Protocol, st.Source = s.known.ID, s.known.Name, "GBS", s.known.Source
		if st.Address == "" && len(s.known.NURLs) > 0 {
			st.Address = addressKind(s.known.NURLs[0])
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

func addressKind(n furl.NURL) string {
	switch {
	case furl.IsOnion(n.Host):
		return "onion"
	case n.Tor:
		return "tor"
	}
	return "tcp"
}

// server is one known server and its loop.
type server struct {
	g       *Grid
	known   Known
	cancel  context.CancelFunc
	suspect chan struct{} // a call failed: see whether the server is still there
	retry   chan struct{} // do not wait any longer before the next attempt

	// guarded by g.mu
	status Status
	peer   *storage.Peer // nil while not connected
	tried  bool          // the first attempt has ended
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
		s.stay(ctx, found)
	}
}

// answer is an address of the server that answered.
type answer struct {
	server  storage.Server
	address string
	version storage.Version
}

// connect asks all addresses at once and takes the first that answers.
func (s *server) connect(ctx context.Context) (answer, error) {
	if len(s.known.NURLs) == 0 {
		return answer{}, errors.New("it announces no address for the HTTP storage protocol")
	}
	ctx, cancel := context.WithTimeout(ctx, s.g.c.Timeout)
	defer cancel()
	type result struct {
		answer
		err error
	}
	results := make(chan result, len(s.known.NURLs))
	for _, n := range s.known.NURLs {
		go func() {
			srv := s.g.c.Open(s.known, n)
			v, err := srv.Version(ctx)
			results <- result{answer{srv, addressKind(n), v}, err}
		}()
	}
	var errs []error
	var found *answer
	for range s.known.NURLs { // wait for all: nobody outlives the loop
		r := <-results
		switch {
		case r.err != nil:
			errs = append(errs, r.err)
		case found == nil:
			found = &r.answer
			cancel()
		}
	}
	if found != nil {
		s.connected(*found)
		return *found, nil
	}
	return answer{}, errors.Join(errs...)
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
	if s.status.State != Connected {
		s.status.Since = now
		s.g.c.Log.Info("server connected", "server", s.known.ID, "name", s.known.Name, "address", a.address)
	}
	s.status.State, s.status.Reason, s.status.RetryAt = Connected, "", time.Time{}
	s.status.LastContact, s.status.Address, s.status.Version = now, a.address, a.version
	s.tried = true
	if s.peer == nil {
		s.peer = &storage.Peer{
			ID: s.known.ID, Name: s.known.Name, Seed: s.known.Seed, LeaseSeed: s.known.LeaseSeed,
			Server: &watched{s: s, to: a.server},
		}
	}
	s.g.notify()
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
	case err == nil || answered(err):
		s.g.mu.Lock()
		s.status.LastContact = time.Now()
		s.g.mu.Unlock()
	case ctx.Err() != nil && context.Cause(ctx) == context.Canceled:
		// The caller lost interest; that says nothing of the server.
	default:
		select {
		case s.suspect <- struct{}{}:
		default: // a probe is due already
		}
	}
}

// answered reports whether err is a server's considered refusal.
func answered(err error) bool {
	for _, e := range []error{storage.ErrNotFound, storage.ErrConflict, storage.ErrTooLarge, storage.ErrClosed, storage.ErrBadWriteEnabler} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
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
