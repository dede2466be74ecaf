package storage

import "sort"

// MaxPieces bounds how many separate pieces a share under upload may be in,
// so that a client writing every other byte cannot make a server remember
// more than it was sent.
const MaxPieces = 8192

// Spans is a set of byte positions, kept as sorted spans that neither overlap
// nor touch. The zero value is empty. It is not safe for concurrent use. It
// holds 16 bytes for each separate piece.
type Spans struct {
	list  []Span
	bytes int64
}

// Add puts every position of s into the set. Empty spans are ignored.
func (ss *Spans) Add(s Span) {
	if s.Len <= 0 {
		return
	}
	i, j := ss.touching(s)
	if i == j {
		ss.list = append(ss.list, Span{})
		copy(ss.list[i+1:], ss.list[i:])
		ss.list[i] = s
		ss.bytes += s.Len
		return
	}
	start := min(s.Off, ss.list[i].Off)
	end := max(s.End(), ss.list[j-1].End())
	for _, old := range ss.list[i:j] {
		ss.bytes -= old.Len
	}
	ss.list[i] = Span{Off: start, Len: end - start}
	ss.bytes += end - start
	ss.list = append(ss.list[:i+1], ss.list[j:]...)
}

// touching returns the half-open range of pieces that overlap s or end or
// begin where it begins or ends.
func (ss *Spans) touching(s Span) (i, j int) {
	i = sort.Search(len(ss.list), func(i int) bool { return ss.list[i].End() >= s.Off })
	j = i + sort.Search(len(ss.list)-i, func(n int) bool { return ss.list[i+n].Off > s.End() })
	return i, j
}

// Pieces returns how many separate spans the set is made of.
func (ss *Spans) Pieces() int { return len(ss.list) }

// Bytes returns how many positions are in the set.
func (ss *Spans) Bytes() int64 { return ss.bytes }

// Touches reports whether adding s would grow a piece rather than make one.
func (ss *Spans) Touches(s Span) bool {
	i, j := ss.touching(s)
	return i < j
}

// Overlap returns the parts of s that are in the set, ascending.
func (ss *Spans) Overlap(s Span) []Span {
	var out []Span
	i, j := ss.touching(s)
	for _, have := range ss.list[i:j] {
		start, end := max(s.Off, have.Off), min(s.End(), have.End())
		if start < end {
			out = append(out, Span{Off: start, Len: end - start})
		}
	}
	return out
}

// Covers reports whether every position of s is in the set.
func (ss *Spans) Covers(s Span) bool {
	if s.Len <= 0 {
		return true
	}
	i, j := ss.touching(s)
	for _, have := range ss.list[i:j] {
		if have.Off <= s.Off && s.End() <= have.End() {
			return true
		}
	}
	return false
}

// Missing returns the parts of [0, total) that are not in the set, ascending.
func (ss *Spans) Missing(total int64) []Span {
	var out []Span
	var at int64
	for _, have := range ss.list {
		if have.Off >= total {
			break
		}
		if at < have.Off {
			out = append(out, Span{Off: at, Len: have.Off - at})
		}
		at = have.End()
	}
	if at < total {
		out = append(out, Span{Off: at, Len: total - at})
	}
	return out
}
