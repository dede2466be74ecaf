package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tahoe-go/internal/storage"
)

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
