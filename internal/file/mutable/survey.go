package mutable

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// headSpan is what a survey reads of each share: small files come whole.
const headSpan = 64 << 10

// found is one proven share on one server.
type found struct {
	peer  storage.Peer
	share *ssk.Share
	check []byte // the packed checkstring
}

// survey is what the servers hold of a file.
type survey struct {
	shares   []found
	bad      map[string][]storage.ShareNum // shares that are no good, by server ID
	answered []storage.Peer
	failed   map[string]error // by server ID
}

// answer is what one server said.
type answer struct {
	peer  storage.Peer
	heads map[storage.ShareNum][][]byte
	err   error
}

// survey asks every server. Once enough have answered for want to hold, the
// others are waited for as long as Patience says.
func (f *File) survey(ctx context.Context, tr *Trace, enough func(*survey) bool) *survey {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := f.c.c.Servers.ForRead(f.si)
	answers := make(chan answer, len(peers)) // nobody blocks if we leave early
	for _, p := range peers {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
			defer cancel()
			start := time.Now()
			heads, err := p.Server.ReadSlot(ctx, f.si, nil, []storage.Span{{Off: 0, Len: headSpan}})
			tr.asked(p.ID, err, time.Since(start))
			answers <- answer{p, heads, err}
		}()
	}
	s := &survey{bad: map[string][]storage.ShareNum{}, failed: map[string]error{}}
	var straggle <-chan time.Time
	for range peers {
		select {
		case a := <-answers:
			f.take(ctx, s, a)
		case <-straggle:
			return s
		case <-ctx.Done():
			return s
		}
		if straggle == nil && 2*len(s.answered) >= len(peers) && enough(s) {
			t := time.NewTimer(f.c.c.Patience.Straggle)
			defer t.Stop()
			straggle = t.C
		}
	}
	return s
}

// take proves the shares of an answer.
func (f *File) take(ctx context.Context, s *survey, a answer) {
	if a.err != nil && !errors.Is(a.err, storage.ErrNotFound) {
		s.failed[a.peer.ID] = a.err
		return
	}
	s.answered = append(s.answered, a.peer)
	for num, pieces := range a.heads {
		if len(pieces) == 0 {
			continue
		}
		share, err := f.ssk.Open(ctx, slotSource{a.peer, f.si, num}, num, pieces[0])
		if err != nil {
			s.bad[a.peer.ID] = append(s.bad[a.peer.ID], num)
			continue
		}
		check := share.Version().Checkstring()
		s.shares = append(s.shares, found{a.peer, share, check.Append(nil)})
	}
}

// slotSource reads one share of a slot.
type slotSource struct {
	peer storage.Peer
	si   storage.Index
	num  storage.ShareNum
}

// ReadSpans implements ssk.Source.
func (s slotSource) ReadSpans(ctx context.Context, spans []storage.Span) ([][]byte, error) {
	m, err := s.peer.Server.ReadSlot(ctx, s.si, []storage.ShareNum{s.num}, spans)
	if err != nil {
		return nil, err
	}
	if pieces, ok := m[s.num]; ok && len(pieces) == len(spans) {
		return pieces, nil
	}
	return make([][]byte, len(spans)), nil
}

// versions groups the shares, the newest first.
func (s *survey) versions() []ssk.Version {
	seen := map[ssk.Version]bool{}
	var vs []ssk.Version
	for _, sh := range s.shares {
		if v := sh.share.Version(); !seen[v] {
			seen[v] = true
			vs = append(vs, v)
		}
	}
	slices.SortFunc(vs, func(a, b ssk.Version) int { return -cmp.Or(a.Compare(b)) })
	return vs
}

// of returns the shares of v, one for each number first.
func (s *survey) of(v ssk.Version) []found {
	var out, more []found
	seen := map[storage.ShareNum]bool{}
	for _, sh := range s.shares {
		switch {
		case sh.share.Version() != v:
		case seen[sh.share.Num()]:
			more = append(more, sh)
		default:
			seen[sh.share.Num()] = true
			out = append(out, sh)
		}
	}
	return append(out, more...)
}

// recoverable reports whether v can be read from what was found.
func (s *survey) recoverable(v ssk.Version) bool {
	nums := map[storage.ShareNum]bool{}
	for _, sh := range s.of(v) {
		nums[sh.share.Num()] = true
	}
	return len(nums) >= v.K
}

// best is the newest recoverable version.
func (s *survey) best() (ssk.Version, bool) {
	for _, v := range s.versions() {
		if s.recoverable(v) {
			return v, true
		}
	}
	return ssk.Version{}, false
}
