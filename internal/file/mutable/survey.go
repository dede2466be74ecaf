package mutable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

const (
	// readHead is how much of the start of each share a reader asks for at
	// once: files of up to some 40 KiB (3 of 10) come whole in the first answer.
	readHead = ssk.HeadSize + 14<<10
	// callLimit is how much of one share is asked for in one call.
	callLimit = 16 << 20
)

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

// slot is one share on one server, as ssk reads it.
type slot struct {
	server storage.Server
	si     storage.Index
	num    storage.ShareNum
}

var _ ssk.Source = slot{}

// ReadSpans implements ssk.Source, with as few calls as the protocols allow.
func (s slot) ReadSpans(ctx context.Context, spans []storage.Span) ([][]byte, error) {
	var total int64
	for _, span := range spans {
		total += span.Len
	}
	if total <= callLimit {
		return s.read(ctx, spans)
	}
	out := make([][]byte, len(spans))
	for i, span := range spans {
		for int64(len(out[i])) < span.Len {
			part := storage.Span{Off: span.Off + int64(len(out[i])), Len: min(span.Len-int64(len(out[i])), callLimit)}
			got, err := s.read(ctx, []storage.Span{part})
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], got[0]...)
			if int64(len(got[0])) < part.Len {
				break
			}
		}
	}
	return out, nil
}

func (s slot) read(ctx context.Context, spans []storage.Span) ([][]byte, error) {
	data, err := s.server.ReadSlot(ctx, s.si, []storage.ShareNum{s.num}, spans)
	if err != nil {
		return nil, err
	}
	pieces, ok := data[s.num]
	switch {
	case !ok:
		return nil, fmt.Errorf("share %d: %w", s.num, storage.ErrNotFound)
	case len(pieces) != len(spans):
		return nil, fmt.Errorf("share %d: %d pieces came of %d asked for", s.num, len(pieces), len(spans))
	}
	return pieces, nil
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
	joins   bool // the answer to a question that is under way, or was answered since, will do
	since   time.Time
	joined  atomic.Bool // such an answer was used
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

// ask puts the question to the first n peers, those who have not got it yet.
// s.mu is held.
func (s *survey) ask(n int) {
	for ; s.next < min(n, len(s.peers)); s.next++ {
		s.askPeer(s.next)
	}
}

func (s *survey) askPeer(i int) {
	peer, likely, one := s.peers[i], s.f.likely(s.peers, i), !s.whole
	s.pending[peer.ID] = true
	q, earlier := s.f.o.question(peer.ID)
	s.f.c.wg.Go(func() { // it may outlast the survey: then the answer serves the next one
		var a *answer
		switch {
		case s.joins && earlier != nil:
			<-earlier.done
			a = earlier.answer
		case s.joins && len(s.f.o.knownSince(s.since, peer.ID)) > 0: // it has answered just now
			a = &answer{peer: peer}
		}
		if a == nil || a.err != nil || a.part {
			a = s.askOne(peer, likely, one)
		} else {
			s.joined.Store(true)
		}
		s.f.o.answered(peer.ID, q, a)
		s.answers <- a
	})
}

// likely are the shares that peers[i] will probably hold: those it held, or
// those that whoever made the file has given it, server after server in
// permuted order.
func (f *File) likely(peers []storage.Peer, i int) (nums []storage.ShareNum) {
	if held, ok := f.o.knownAt(peers[i].ID); ok {
		return held
	}
	for num := i; num < f.c.c.N; num += len(peers) {
		nums = append(nums, storage.ShareNum(num))
	}
	return nums
}

// askAll asks again, for all shares, those who were asked for one. s.mu is
// held.
func (s *survey) askAll() {
	if s.whole {
		return
	}
	s.whole = true
	for i, peer := range s.peers[:s.next] {
		if a := s.got[peer.ID]; a != nil && a.part {
			s.askPeer(i)
		}
	}
}

// readHeads asks a server for the start of its shares, with one request of
// whichever protocol if possible: who may write asks by a write of nothing,
// and who may not, if one share is enough, for the one that is likely there.
// In part, if that is all it asked for.
func (s *survey) readHeads(ctx context.Context, peer storage.Peer, likely []storage.ShareNum, one bool) (held map[storage.ShareNum][][]byte, part bool, err error) {
	c, o, spans := s.f.c, s.f.o, []storage.Span{{Len: s.head}}
	switch {
	case s.f.write != nil:
		res, err := peer.Server.TestAndWrite(ctx, o.si, s.f.writeEnabler(peer), c.leaseSecrets(o.si, peer), nil, spans)
		if err == nil {
			return res.Data, false, nil
		}
		if errors.Is(err, storage.ErrBadWriteEnabler) {
			c.c.Log.Warn("a server holds shares that cannot be changed: another write enabler was recorded with them", "server", peer.ID, "si", o.si.Short(), "err", err)
		}
	case one && len(likely) > 0 && len(s.peers) >= c.c.K:
		held, err := peer.Server.ReadSlot(ctx, o.si, likely[:1], spans)
		if err == nil && len(held) > 0 {
			return held, true, nil
		}
	}
	held, err = peer.Server.ReadSlot(storage.Expecting(ctx, likely), o.si, nil, spans)
	return held, false, err
}

func (f *File) writeEnabler(peer storage.Peer) storage.WriteEnabler {
	return storage.NewWriteEnabler(tagged.WriteEnabler(f.write.WriteKey.Reveal(), peer.LeaseSeed))
}

func (s *survey) askOne(peer storage.Peer, likely []storage.ShareNum, one bool) *answer {
	c, o := s.f.c, s.f.o
	ctx, cancel := context.WithTimeout(c.ctx, c.c.Patience.Ask)
	defer cancel()
	a := &answer{peer: peer, asked: time.Now()}
	held, part, err := s.readHeads(ctx, peer, likely, one)
	a.err, a.part, a.took = err, part, time.Since(a.asked)
	c.slow.note(peer.ID, err != nil && ctx.Err() != nil)
	nums := slices.Sorted(maps.Keys(held))
	for _, num := range nums {
		if len(held[num]) != 1 {
			continue
		}
		head := held[num][0]
		h := &holding{num: num, peer: peer, check: head[:min(len(head), ssk.MaxCheckstring)], took: a.took}
		share, err := o.file.Open(ctx, slot{peer.Server, o.si, num}, num, head)
		if err == nil {
			h.version, h.proven = share.Version(), true
		}
		if err == nil && o.damaged(h.damage()) {
			err = &ssk.CorruptError{Share: num, What: "damaged when it was read before"}
		}
		if err == nil {
			h.share = share
		} else {
			h.err = err
			s.f.drop(h, err, s.tr)
		}
		a.shares = append(a.shares, h)
	}
	o.learn(a)
	s.tr.asked(peer.ID, nums, err, a.took)
	return a
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

// tally counts the distinct shares of each version.
type tally map[ssk.Version]map[storage.ShareNum]bool

// see takes in a share of a version that is proven, or not; good or not.
func (t tally) see(v ssk.Version, num storage.ShareNum, proven, good bool) {
	if !proven {
		return
	}
	if t[v] == nil {
		t[v] = map[storage.ShareNum]bool{}
	}
	if good {
		t[v][num] = true
	}
}

// list is sorted, newest first.
func (t tally) list() []Seen {
	out := make([]Seen, 0, len(t))
	for v, nums := range t {
		out = append(out, Seen{v, len(nums)})
	}
	slices.SortFunc(out, func(a, b Seen) int { return b.Version.Compare(a.Version) })
	return out
}

// best is the newest version that can be rebuilt.
func best(list []Seen) (ssk.Version, bool) {
	for _, s := range list {
		if s.Shares >= s.Version.K {
			return s.Version, true
		}
	}
	return ssk.Version{}, false
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

// view returns what this survey has seen, and nothing that was learned since:
// a write on it fails if what was read has been replaced.
func (s *survey) view() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &view{peers: s.peers, known: map[string]*known{}}
	for id, a := range s.got {
		if a.err == nil {
			m.known[id] = a.known()
		}
	}
	return m
}

// known is what the answer tells.
func (a *answer) known() *known {
	k := &known{at: a.asked, shares: map[storage.ShareNum]held{}}
	for _, h := range a.shares {
		k.shares[h.num] = held{check: h.check, version: h.version, proven: h.proven, good: h.share != nil}
	}
	return k
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
