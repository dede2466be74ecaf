package immutable

import (
	"cmp"
	"slices"

	"tahoe-go/internal/storage"
)

// best picks the open share that has kept us waiting least; among equals one
// that has the job's first segment already, then that with least to do. p.mu is
// held.
func (p *pool) best(j *job) *share {
	var best *share
	for _, s := range p.open {
		if !j.used[s.num] && (best == nil || better(s, best, j.first)) {
			best = s
		}
	}
	return best
}

func better(a, b *share, first int64) bool {
	if a.late != b.late {
		return a.late < b.late
	}
	if has := a.ahead == first; has != (b.ahead == first) {
		return has
	}
	return a.busy < b.busy
}

// widen opens further shares of a long read, of servers that serve none yet,
// once those that it begins with are on their way. p.mu is held.
func (p *pool) widen() {
	for n := len(p.open) + len(p.opening); p.f.cap.K <= n && n < p.wide; n++ {
		s := p.candidate(&job{}, false)
		if s == nil || p.f.c.trips.slow(s.peer.ID) {
			return
		}
		p.startOpening(s, -1)
	}
}

// done notes that a share has given what a job has asked of it, or failed to.
func (p *pool) done(s *share, j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.busy -= j.bytes
}

// coming reports whether a share is being opened that brings the job's first
// segment with it: that which is waited for, or one nobody waits for. p.mu is
// held.
func (p *pool) coming(j *job, waitingFor storage.ShareNum, waiting bool) bool {
	for num, s := range p.opening {
		if s.ahead == j.first && !j.used[num] && (!j.awaited[num] || waiting && num == waitingFor) {
			return true
		}
	}
	return false
}

// underway picks a share that is being opened for another job and that j has
// use for, one that brings its first segment if possible. p.mu is held.
func (p *pool) underway(j *job) (num storage.ShareNum, ok bool) {
	for n, s := range p.opening {
		if !j.used[n] && !j.awaited[n] {
			if num, ok = n, true; s.ahead == j.first {
				break
			}
		}
	}
	return num, ok
}

// candidate picks a share to open: of a server that serves none yet, or, if
// wide, of the one that serves fewest. p.mu is held.
func (p *pool) candidate(j *job, wide bool) *share {
	load := map[string]int{}
	busy := map[storage.ShareNum]bool{}
	for _, s := range p.open {
		load[s.peer.ID]++
		busy[s.num] = true
	}
	for num, s := range p.opening {
		load[s.peer.ID]++
		busy[num] = true
	}
	var ok []*share
	for _, s := range p.found {
		if !busy[s.num] && !j.used[s.num] && (wide || load[s.peer.ID] == 0) {
			ok = append(ok, s)
		}
	}
	if len(ok) == 0 {
		return nil
	}
	slow := func(s *share) int {
		if p.f.c.trips.slow(s.peer.ID) {
			return 1
		}
		return 0
	}
	return slices.MinFunc(ok, func(a, b *share) int {
		return cmp.Or(cmp.Compare(load[a.peer.ID], load[b.peer.ID]), cmp.Compare(slow(a), slow(b)))
	})
}
