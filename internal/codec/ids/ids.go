// Package ids has the small fixed-size words that all floors share.
package ids

import (
	"cmp"
	"fmt"
	"slices"

	"tahoe-go/internal/codec/base32"
)

// Index is a storage index: the 16 bytes that name an object's shares. It
// reveals nothing of the object.
type Index [16]byte

// String returns the 26 base32 characters used on disk and on the wire.
func (si Index) String() string { return base32.Encode(si[:]) }

// Short returns the first 5 characters, enough for logs.
func (si Index) Short() string { return si.String()[:5] }

// ParseIndex reads the 26-character form, strictly.
func ParseIndex(s string) (Index, error) {
	var si Index
	b, err := base32.Decode(s)
	if err != nil {
		return si, fmt.Errorf("storage index: %w", err)
	}
	if len(b) != len(si) {
		return si, fmt.Errorf("storage index: %d bytes, want %d", len(b), len(si))
	}
	copy(si[:], b)
	return si, nil
}

// ShareNum numbers a share of an object, 0 to 255.
type ShareNum uint8

// Span is a range of bytes: Off and Len are in bytes and never negative.
type Span struct{ Off, Len int64 }

// End is the offset just past the span.
func (s Span) End() int64 { return s.Off + s.Len }

// Merge sorts spans, in place, and joins those that overlap or lie at most gap
// bytes apart: on a far server reading a little more is cheaper than asking
// twice.
func Merge(spans []Span, gap int64) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.Off, b.Off) })
	var out []Span
	for _, s := range spans {
		if last := len(out) - 1; last >= 0 && s.Off <= out[last].End()+gap {
			out[last].Len = max(out[last].End(), s.End()) - out[last].Off
		} else {
			out = append(out, s)
		}
	}
	return out
}
