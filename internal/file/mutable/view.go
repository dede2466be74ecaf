package mutable

import (
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// view is what is known of all servers, to write on.
type view struct {
	peers []storage.Peer    // in permuted order
	known map[string]*known // by server; those that have not answered are missing
	alone bool              // nobody else has the file's key yet
}

// newView has the servers; those unknown, known is nil, are taken to hold
// nothing.
func newView(peers []storage.Peer, k map[string]*known) *view {
	if k == nil {
		k = map[string]*known{}
		for _, p := range peers {
			k[p.ID] = &known{shares: map[storage.ShareNum]held{}}
		}
	}
	return &view{peers: peers, known: k}
}

// versions lists what is known, newest first.
func (m *view) versions() []Seen {
	t := tally{}
	for _, k := range m.known {
		for num, h := range k.shares {
			t.see(h.version, num, h.proven, h.good)
		}
	}
	return t.list()
}

// next is what a new version has to be like: the parameters of the file as it
// is, and a sequence number above all that were proven.
func (m *view) next() (like ssk.Version, seqnum uint64, ok bool) {
	list := m.versions()
	if len(list) == 0 {
		return like, 0, false
	}
	like = list[0].Version
	if b, ok := best(list); ok {
		like = b
	}
	return like, list[0].Version.Seqnum + 1, true
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
