// Package happiness decides which server should hold which share, and says
// how well shares are spread.
//
// The measure, servers of happiness, is the size of a maximum matching
// between servers and the shares they hold: that many servers each have a
// share of their own, so any k of them can rebuild the file. Everything here
// is a pure function of what servers said; asking them is the uploader's
// business. Specification: docs/specifications/servers-of-happiness.rst of
// the reference.
//
// Start with [Plan] before an upload and [Happiness] during and after.
package happiness

import (
	"slices"

	"tahoe-go/internal/codec/ids"
)

// ShareNum numbers a share.
type ShareNum = ids.ShareNum

// Happiness is the servers of happiness of holdings: for each server id the
// shares it has. Order and repetition do not matter.
func Happiness(holdings map[string][]ShareNum) int {
	m := newMatching()
	for _, shares := range holdings {
		m.match(setOf(shares, maxShares))
	}
	return m.size
}

// maxShares is how many share numbers there are.
const maxShares = 256

// shareSet is a set of share numbers.
type shareSet [maxShares]bool

// setOf is the set of those shares that are below n.
func setOf(shares []ShareNum, n int) *shareSet {
	var s shareSet
	for _, num := range shares {
		if int(num) < n {
			s[num] = true
		}
	}
	return &s
}

// minus removes the shares in t.
func (s *shareSet) minus(t *shareSet) {
	for num := range s {
		s[num] = s[num] && !t[num]
	}
}

// matching grows a maximum matching one server at a time. A server once
// matched stays matched, though maybe to another share, so servers offered
// earlier are preferred.
type matching struct {
	size   int
	holds  [][]int32        // per server offered: its shares
	owner  [maxShares]int32 // per share: the server matched to it, or -1
	closed [maxShares]bool  // shares from which no search will ever succeed
}

func newMatching() *matching {
	m := new(matching)
	for i := range m.owner {
		m.owner[i] = -1
	}
	return m
}

// match offers the next server and reports whether it found a share of its
// own, possibly by moving servers before it to other shares of theirs.
//
// What a vain search has seen can be closed for good: nothing reachable from
// there is free, and later matches only take from what is free elsewhere.
// That keeps the whole near one pass over the edges.
func (m *matching) match(shares *shareSet) bool {
	var list []int32
	for num, has := range shares {
		if has {
			list = append(list, int32(num))
		}
	}
	server := int32(len(m.holds))
	m.holds = append(m.holds, list)
	seen := m.closed
	if m.augment(server, &seen) {
		m.size++
		return true
	}
	m.closed = seen
	return false
}

// augment looks for a share for server: a free one, or one whose owner can
// move. Depth is bounded by the number of shares.
func (m *matching) augment(server int32, seen *[maxShares]bool) bool {
	for _, num := range m.holds[server] {
		if m.owner[num] < 0 {
			m.owner[num] = server
			return true
		}
	}
	for _, num := range m.holds[server] {
		if seen[num] {
			continue
		}
		seen[num] = true
		if m.augment(m.owner[num], seen) {
			m.owner[num] = server
			return true
		}
	}
	return false
}

// Merge returns holdings with the shares of a plan added, both unchanged.
func Merge(holdings map[string][]ShareNum, plan map[ShareNum]string) map[string][]ShareNum {
	merged := make(map[string][]ShareNum, len(holdings)+len(plan))
	for server, shares := range holdings {
		merged[server] = slices.Clone(shares)
	}
	for num, server := range plan {
		merged[server] = append(merged[server], num)
	}
	for server := range merged {
		slices.Sort(merged[server])
		merged[server] = slices.Compact(merged[server])
	}
	return merged
}
