package grid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

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
	RetryAt     time.Time // zero: now, or not waiting
	Version     storage.Version
	Announced   string // version of its program, as announced
}

// Status of every known server, sorted by name, then ID.
func (g *Grid) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Status, 0, len(g.servers))
	for _, s := range g.servers {
		st := s.status
		st.ID, st.Name, st.Source, st.Announced, st.TubID = s.known.ID, s.known.Name, s.known.Source, s.known.Version, s.known.FURL.TubID
		st.Sources = sources(s.from, s.known)
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
	from   map[string]Known // what each source says
	known  Known            // what counts of it
	status Status
	peer   *storage.Peer // nil while not connected
	tried  bool          // the first attempt has ended
}

// start begins a server's loop. g.mu is held.
func (g *Grid) start(k Known, from map[string]Known) *server {
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

// answer is an address of the server that answered.
type answer struct {
	server  storage.Server
	at      Address
	kind    string // of the address
	version storage.Version
	notGBS  string // why it is not one of the HTTP protocol
}

// connect asks all addresses of the HTTP protocol at once, and by Foolscap when
// they have failed or are late, and takes the first that answers. Where
// nothing can be connected to, Foolscap is not tried: the two usually share a
// port.
func (s *server) connect(ctx context.Context) (answer, error) {
	if len(s.gbs) == 0 && s.foolscap == nil {
		return answer{}, errors.New(s.noAddress())
	}
	ctx, cancel := context.WithTimeout(ctx, s.g.c.Timeout)
	defer cancel()
	type result struct {
		answer
		err error
	}
	results := make(chan result, len(s.gbs)+1)
	ask := func(at Address) {
		a, err := s.ask(ctx, at)
		results <- result{a, err}
	}
	for _, at := range s.gbs {
		go ask(at)
	}
	head, shared := s.g.c.HeadStart, s.foolscap != nil && samePlaces(s.gbs, s.foolscap)
	if shared {
		head = s.g.c.Timeout / 2
	}
	late := time.NewTimer(head)
	defer late.Stop()
	var failed failures
	var found *answer
	asked := len(s.gbs)
	for answers, fallback := 0, s.foolscap; ; {
		if fallback != nil && found == nil && answers == asked {
			if asked > 0 && shared && failed.unconnected() {
				fallback = nil
			}
			late.Reset(0)
		}
		if answers == asked && (fallback == nil || found != nil) { // nobody outlives the loop
			break
		}
		select {
		case <-late.C:
			if fallback != nil && found == nil {
				go ask(*fallback)
				fallback, asked = nil, asked+1
			}
		case r := <-results:
			answers++
			switch {
			case found != nil: // the rest was called off
			case r.err != nil:
				failed.add(r.at.Protocol, r.err)
			default:
				found = &r.answer
				cancel()
			}
		}
	}
	if found == nil {
		return answer{}, failed.err()
	}
	if found.at.Protocol == Foolscap {
		found.notGBS = s.notGBS(failed)
	}
	return *found, nil
}

// ask opens an address and asks the server there for its version.
func (s *server) ask(ctx context.Context, at Address) (answer, error) {
	s.g.mu.Lock()
	k := s.known
	s.g.mu.Unlock()
	a := answer{at: at}
	var err error
	if a.server, err = s.g.c.Open(k, at); err != nil {
		return a, err
	}
	if a.version, err = a.server.Version(ctx); err != nil {
		return a, err
	}
	hint := ""
	if h, ok := a.server.(interface{ Hint() string }); ok {
		hint = h.Hint()
	}
	a.kind = s.g.kind(at, hint)
	return a, nil
}

// noAddress says why there is no way to a server.
func (s *server) noAddress() string {
	s.g.mu.Lock()
	k := s.known
	s.g.mu.Unlock()
	switch {
	case len(k.NURLs) == 0 && len(k.FURL.Hints) == 0:
		return "it announces no address"
	case k.Via != Via{}:
		return "connections: in " + k.Source + " leaves none of its addresses"
	case s.g.c.ForceFoolscap:
		return "it announces no address for Foolscap, and force_foolscap rules out all others"
	}
	return "it announces only addresses of networks that this program does not know"
}

// notGBS says why the HTTP protocol is not in use.
func (s *server) notGBS(failed failures) string {
	switch {
	case s.g.c.ForceFoolscap:
		return "force_foolscap is set"
	case len(s.gbs) == 0:
		return "it announces no address for it"
	case len(failed.gbs) == 0:
		return "it did not answer in time"
	}
	return joined(failed.gbs)
}

// failures are why addresses did not lead to a server.
type failures struct{ gbs, foolscap []error }

func (f *failures) add(p Protocol, err error) {
	if p == Foolscap {
		f.foolscap = append(f.foolscap, err)
	} else {
		f.gbs = append(f.gbs, err)
	}
}

// unconnected reports whether no address could be connected to.
func (f *failures) unconnected() bool {
	return !slices.ContainsFunc(f.gbs, func(err error) bool { return !errors.Is(err, ErrNoConnection) })
}

// err joins them in a sentence.
func (f *failures) err() error {
	switch {
	case len(f.foolscap) == 0:
		return errors.New(joined(f.gbs))
	case len(f.gbs) == 0:
		return errors.New(joined(f.foolscap))
	}
	return fmt.Errorf("%s; by Foolscap: %s", joined(f.gbs), joined(f.foolscap))
}

// joined is what several addresses say, each thing once.
func joined(errs []error) string {
	var texts []string
	for _, err := range errs {
		if t := err.Error(); !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, "; ")
}

// better looks whether a server that was found by Foolscap can be reached by
// the HTTP protocol now.
func (s *server) better(ctx context.Context, found answer) (answer, bool) {
	if found.at.Protocol != Foolscap || len(s.gbs) == 0 {
		return found, false
	}
	s.g.mu.Lock()
	only := &server{g: s.g, gbs: s.gbs, known: s.known}
	s.g.mu.Unlock()
	a, err := only.connect(ctx)
	return a, err == nil
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
