package mutable

import (
	"slices"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

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
