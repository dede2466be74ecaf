package mutable

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// object is what a Client knows of one file beyond its caps. It lives as long
// as a File of it does, and among the recentObjects for longer.
type object struct {
	si   storage.Index
	file *ssk.File
	turn chan struct{} // full while somebody writes
	// stragglers ends what is left of the write before: calls to servers that
	// it did not wait for, and that hold its shares in memory. Whoever has the
	// turn may use it.
	stragglers context.CancelFunc

	mu       sync.Mutex // guards below
	key      *ssk.PrivateKey
	samples  []*holding // good ones of one version, from which the key can be had
	known    map[string]*known
	asked    map[string]*question // the last to each server, until it is answered
	newest   ssk.Version          // the newest that could be read or was published
	reported map[damage]bool
}

// known is what a server has said it holds, or was told to.
type known struct {
	at     time.Time
	shares map[storage.ShareNum]held
}

// held is what is remembered of a share.
type held struct {
	check   []byte // its first bytes, on which writes are conditional
	version ssk.Version
	proven  bool // version is
	good    bool // and the share, as far as is known
}

// damage is a share that was reported to its server.
type damage struct {
	server string
	num    storage.ShareNum
	check  string
}

const (
	recentObjects = 64   // kept for the next operation on them
	maxReported   = 1000 // then shares are reported again
)

// objects holds one object for each file in use.
type objects struct {
	mu     sync.Mutex // guards below
	all    map[objectKey]weak.Pointer[object]
	recent []*object // the last one last
}

type objectKey struct {
	si          storage.Index
	fingerprint tagged.Hash
}

// get returns the file's object, always the same while anybody has it.
func (s *objects) get(cap caps.SSKVerifier) *object {
	key := objectKey{cap.Index, cap.Fingerprint}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.all[key].Value()
	if o == nil {
		o = &object{
			si: cap.Index, file: ssk.NewFile(cap), turn: make(chan struct{}, 1),
			known: map[string]*known{}, asked: map[string]*question{}, reported: map[damage]bool{},
		}
		if s.all == nil {
			s.all = map[objectKey]weak.Pointer[object]{}
		}
		s.all[key] = weak.Make(o)
		runtime.AddCleanup(o, s.forget, key)
	}
	if i := slices.Index(s.recent, o); i >= 0 {
		s.recent = slices.Delete(s.recent, i, i+1)
	} else if len(s.recent) == recentObjects {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, o)
	return o
}

// forget drops the entry of an object that is gone.
func (s *objects) forget(key objectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key].Value() == nil {
		delete(s.all, key)
	}
}

// lock waits for the writer's turn.
func (o *object) lock(ctx context.Context) error {
	select {
	case o.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *object) unlock() { <-o.turn }

func (o *object) learnKey(k *ssk.PrivateKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.key, o.samples = k, nil
}

// learn remembers a survey's answer, unless it is older than what is known;
// and where the key can be had, if it may be needed.
func (o *object) learn(a *answer, key bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k := o.known[a.peer.ID]; a.part || k != nil && k.at.After(a.asked) {
		return
	}
	if a.err != nil {
		delete(o.known, a.peer.ID)
		return
	}
	for _, h := range a.shares {
		if h.share != nil && key && o.key == nil {
			o.addSample(h)
		}
	}
	o.known[a.peer.ID] = a.known()
}

// Bounds of the shares kept for the sake of the key: in all, of one server,
// which might have damaged them all, and of those whose starts are held in
// memory, so that no further round trip is needed.
const (
	maxSamples    = 32
	serverSamples = 4
	wholeSamples  = 2
)

// addSample keeps h, if it is of the newest version seen, in place of what its
// server showed before. o.mu is held.
func (o *object) addSample(h *holding) {
	if len(o.samples) > 0 {
		switch c := h.version.Compare(o.samples[0].version); {
		case c < 0:
			return
		case c > 0:
			o.samples = nil
		}
	}
	own, at := 0, len(o.samples)
	for i, s := range o.samples {
		if s.peer.ID == h.peer.ID {
			own++
			if s.num == h.num {
				at = i
			}
		}
	}
	if at == len(o.samples) {
		if own == serverSamples || at == maxSamples {
			return
		}
		o.samples = append(o.samples, nil)
	}
	if at >= wholeSamples {
		h = &holding{num: h.num, peer: h.peer, check: h.check, share: h.share.Bare(), version: h.version, proven: true}
	}
	o.samples[at] = h
}

// question is one that a server was asked.
type question struct {
	done   chan struct{} // closed when answer is there
	answer *answer
}

// question notes that a server is asked, and returns the question before if
// it has not been answered yet.
func (o *object) question(server string) (q, earlier *question) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q, earlier = &question{done: make(chan struct{})}, o.asked[server]
	o.asked[server] = q
	return q, earlier
}

// answered ends a question.
func (o *object) answered(server string, q *question, a *answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q.answer = a
	close(q.done)
	if o.asked[server] == q {
		delete(o.asked, server)
	}
}

// wrote remembers what a server has taken, or, if all, all that it holds but
// for what it is given at the same time. A server that nothing else is known
// of may hold more.
func (o *object) wrote(server string, shares map[storage.ShareNum]held, all bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.known[server]
	if k == nil && !all {
		return
	}
	if k == nil {
		k = &known{shares: map[storage.ShareNum]held{}}
		o.known[server] = k
	}
	k.at = time.Now()
	maps.Copy(k.shares, shares)
}

// forgetServer drops what is known of one server, or of all.
func (o *object) forgetServer(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id == "" {
		clear(o.known)
		return
	}
	delete(o.known, id)
}

// knownSince returns what is known of the servers, all or those named, and
// not older than that. The maps are copies.
func (o *object) knownSince(t time.Time, servers ...string) map[string]*known {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]*known{}
	for id, k := range o.known {
		if k.at.Before(t) || len(servers) > 0 && !slices.Contains(servers, id) {
			continue
		}
		c := &known{at: k.at, shares: map[storage.ShareNum]held{}}
		for num, h := range k.shares {
			c.shares[num] = h
		}
		out[id] = c
	}
	return out
}

// knownAt returns the shares that a server held, if it was ever asked.
func (o *object) knownAt(server string) (nums []storage.ShareNum, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.known[server]
	if k == nil {
		return nil, false
	}
	return slices.Sorted(maps.Keys(k.shares)), true
}

// noteNewest remembers a version that can be read.
func (o *object) noteNewest(v ssk.Version) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if v.Compare(o.newest) > 0 {
		o.newest = v
	}
}

func (o *object) newestSeen() ssk.Version {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}

// damaged reports whether a share was found damaged before, which its start
// need not show.
func (o *object) damaged(d damage) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reported[d]
}

// mended forgets that a share was damaged: it is not any more.
func (o *object) mended(d damage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.reported, d)
}

// firstReport reports whether d has not been told to its server yet.
func (o *object) firstReport(d damage) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reported[d] {
		return false
	}
	if len(o.reported) >= maxReported {
		clear(o.reported)
	}
	o.reported[d] = true
	return true
}

// slow is the servers that have kept everybody waiting and not answered since.
type slow struct {
	mu      sync.Mutex // guards below
	servers map[string]bool
}

// note says that a server was slow, or has answered.
func (s *slow) note(server string, was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was {
		if s.servers == nil {
			s.servers = map[string]bool{}
		}
		s.servers[server] = true
		return
	}
	delete(s.servers, server)
}

// mark notes all of servers, if was.
func (s *slow) mark(servers map[string]bool, was bool) {
	for id := range servers {
		if was {
			s.note(id, true)
		}
	}
}

// count says how many of servers are slow.
func (s *slow) count(servers map[string]bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range servers {
		if s.servers[id] {
			n++
		}
	}
	return n
}
