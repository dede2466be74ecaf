package mutable

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// readHead is how much of the start of each share a reader asks for at once:
// files of up to some 40 KiB (3 of 10) come whole in the first answer.
const readHead = ssk.HeadSize + 14<<10

// holding is a share as a server showed it.
type holding struct {
	num     storage.ShareNum
	peer    storage.Peer
	check   []byte     // its first bytes, as on the server
	share   *ssk.Share // nil: err says why it is of no use
	version ssk.Version
	proven  bool // version is; so it is of shares damaged elsewhere
	err     error
	took    time.Duration // the server's answer
	late    int           // how often it kept a reader waiting; guarded by retrieval.mu
}

// damage names the share as it is on the server now.
func (h *holding) damage() damage { return damage{h.peer.ID, h.num, string(h.check)} }

// answer is a server's to a survey.
type answer struct {
	peer   storage.Peer
	shares []*holding // by number
	err    error
	asked  time.Time // when
	took   time.Duration
	part   bool // there may be more shares
}

// survey asks servers what they hold. A reader's ends as soon as it is
// certain enough what is the newest version and there are enough shares of it;
// more asks on. A writer's asks everybody.
type survey struct {
	f       *File
	tr      *Trace
	writing bool
	head    int64 // bytes of each share to ask for
	peers   []storage.Peer
	known   int  // servers that need not be asked, besides
	anew    bool // shares found damaged before are looked at again
	joins   bool // the answer to a question that is under way, or was answered since, will do
	since   time.Time
	joined  atomic.Bool // such an answer was used
	over    atomic.Bool // a writer's has ended: nobody waits for answers
	start   time.Time
	answers chan *answer // holds all of each server, so that nobody waits to tell

	mu      sync.Mutex // held by run and more; guards below
	next    int        // peers before it have been asked
	whole   bool       // all shares are asked for, not only those guessed
	pending map[string]bool
	got     map[string]*answer
}

func (f *File) newSurvey(writing bool, peers []storage.Peer, head int64, tr *Trace) *survey {
	return &survey{f: f, tr: tr, writing: writing, head: head, peers: peers, start: time.Now(),
		answers: make(chan *answer, 2*len(peers)), pending: map[string]bool{}, got: map[string]*answer{}}
}

// surveyToRead asks the servers that are likely to know first.
func (f *File) surveyToRead(ctx context.Context, tr *Trace) (*survey, error) {
	s := f.newSurvey(false, f.c.c.Servers.ForRead(f.o.si), readHead, tr)
	return s, s.run(ctx)
}

// take notes an answer. s.mu is held.
func (s *survey) take(a *answer) {
	delete(s.pending, a.peer.ID)
	s.got[a.peer.ID] = a
}

// run asks until it is enough, or ctx ends.
func (s *survey) run(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.tell()
	if s.writing {
		return s.runToWrite(ctx)
	}
	p := &s.f.c.c.Patience
	s.ask(max(s.f.c.c.N, 2*s.f.c.c.K))
	late := time.NewTimer(p.Hedge)
	defer late.Stop()
	for overdue := 0; len(s.pending) > 0; {
		select {
		case a := <-s.answers:
			s.take(a)
		case <-late.C:
			overdue++
			s.ask(len(s.peers))
			late.Reset(p.Straggle)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		best, ok := s.best()
		doubt := !ok || s.newer(best) || best.Compare(s.f.o.newestSeen()) < 0
		awake := s.next - s.f.c.slow.count(s.pending)
		half := awake/2 + 1
		enough := max(half, min(2*best.K, awake))
		switch {
		case ok && overdue > 1, !doubt && (s.answered() >= enough || overdue > 0 && s.answered() >= half):
			s.f.c.slow.mark(s.pending, overdue > 1)
			return nil
		case len(s.pending) == 0 && doubt:
			s.ask(len(s.peers))
			if len(s.pending) == 0 {
				s.askAll()
			}
		case doubt && s.answered() >= 2*s.f.c.c.K:
			s.ask(len(s.peers))
		}
	}
	return nil
}

// runToWrite asks everybody and waits for all, but not for ever for the last.
func (s *survey) runToWrite(ctx context.Context) error {
	defer s.over.Store(true)
	p := &s.f.c.c.Patience
	s.ask(len(s.peers))
	late := time.NewTimer(p.Ask + time.Second)
	defer late.Stop()
	for len(s.pending) > 0 {
		if 2*(len(s.got)+s.known) > len(s.peers)+s.known { // the rest should not be much slower
			wait := max(p.Straggle, 3*time.Since(s.start))
			if s.f.c.slow.count(s.pending) == len(s.pending) { // those missing are known for it
				wait = max(p.Hedge/4, time.Since(s.start))
			}
			late.Reset(wait)
		}
		select {
		case a := <-s.answers:
			s.take(a)
		case <-late.C:
			s.f.c.slow.mark(s.pending, true)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// answered is how many servers gave an answer. s.mu is held.
func (s *survey) answered() (n int) {
	for _, a := range s.got {
		if a.err == nil {
			n++
		}
	}
	return n
}

// lost are the servers whose answer was lost, or had to be waited for too long.
func (s *survey) lost() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[string]bool{}
	for id, a := range s.got {
		if lost(a.err) {
			ids[id] = true
		}
	}
	return ids
}

// more waits for one more answer, asking the servers not asked so far. False
// when there is none to come.
func (s *survey) more(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask(len(s.peers))
	if len(s.pending) == 0 {
		s.askAll()
	}
	if len(s.pending) == 0 {
		return false
	}
	select {
	case a := <-s.answers:
		s.take(a)
		return true
	case <-ctx.Done():
		return false
	}
}

// tell reports the survey to its trace. s.mu is held.
func (s *survey) tell() {
	s.tr.surveyed(Survey{Writing: s.writing, Asked: s.next, Answered: s.answered(), Versions: s.versions(), Took: time.Since(s.start)})
}

// versions lists what was found, newest first. s.mu is held.
func (s *survey) versions() []Seen {
	t := tally{}
	for _, a := range s.got {
		for _, h := range a.shares {
			t.see(h.version, h.num, h.proven, h.share != nil)
		}
	}
	return t.list()
}

// best is the newest version of which there are enough shares. s.mu is held.
func (s *survey) best() (ssk.Version, bool) { return best(s.versions()) }

// newer reports whether there is a version newer than v. s.mu is held.
func (s *survey) newer(v ssk.Version) bool {
	list := s.versions()
	return len(list) > 0 && list[0].Version.Compare(v) > 0
}

// holdings returns the good shares of v. s.mu is held.
func (s *survey) holdings(v ssk.Version) (list []*holding) {
	for _, peer := range s.peers {
		if a := s.got[peer.ID]; a != nil {
			for _, h := range a.shares {
				if h.share != nil && h.version == v {
					list = append(list, h)
				}
			}
		}
	}
	return list
}

// notEnough says why nothing can be read. s.mu is held.
func (s *survey) notEnough() *UnrecoverableError {
	e := &UnrecoverableError{Servers: s.answered()}
	for _, seen := range s.versions() {
		e.Seen = append(e.Seen, seen.Version)
		if seen.Shares > e.Shares {
			e.Shares, e.Need = seen.Shares, seen.Version.K
		}
	}
	for _, peer := range s.peers {
		r := ServerReport{ID: peer.ID, Name: peer.Name}
		switch a := s.got[peer.ID]; {
		case a == nil:
			r.Err = errSlow
		case a.err != nil:
			r.Err = a.err
		default:
			for _, h := range a.shares {
				if h.share != nil {
					r.Shares = append(r.Shares, h.num)
				} else if _, bad := errors.AsType[*ssk.CorruptError](h.err); bad {
					e.Corrupt++
					r.Err = h.err
				}
			}
		}
		e.Reports = append(e.Reports, r)
	}
	return e
}

// drop tells of a share that is no longer used. A damaged one is reported to
// its server, once.
func (f *File) drop(h *holding, why error, tr *Trace) {
	tr.dropped(h.peer.ID, h.num, why)
	bad, damaged := errors.AsType[*ssk.CorruptError](why)
	if !damaged || !f.o.firstReport(h.damage()) {
		return
	}
	f.c.c.Log.Warn("share is damaged", "server", h.peer.ID, "si", f.o.si.Short(), "shnum", h.num, "what", bad.What)
	f.c.wg.Go(func() { // nobody waits for the report; it is bounded by Ask
		ctx, cancel := context.WithTimeout(f.c.ctx, f.c.c.Patience.Ask)
		defer cancel()
		h.peer.Server.ReportCorruptSlot(ctx, f.o.si, h.num, "does not verify: "+bad.What)
	})
}
