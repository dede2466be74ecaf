// Package ids has the small fixed-size words that all floors share.
package ids

import (
	"fmt"

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
