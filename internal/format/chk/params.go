package chk

import (
	"fmt"
)

// Sizes in bytes that bound what is written and read.
const (
	// DefaultSegmentSize is what writers cut files into today.
	DefaultSegmentSize = 1 << 20
	// MaxSegmentSize bounds memory: one segment is held whole, and its n
	// blocks while encoding.
	MaxSegmentSize = 128 << 20
	// MaxSize keeps every offset far from overflow.
	MaxSize = 1 << 56

	maxSegments = 1 << 36
	hashSize    = 32
)

// Params are the choices that go into an encoding.
type Params struct {
	K, N        int   // any K of N shares suffice; 1 <= K <= N <= 256
	SegmentSize int64 // the most plaintext bytes in a segment; 0 means DefaultSegmentSize
}

// Round returns p with the segment size that a file of size bytes gets: no
// larger than the file, rounded up to a multiple of K. The convergence key
// depends on the rounded value.
func (p Params) Round(size int64) Params {
	seg := p.SegmentSize
	if seg == 0 {
		seg = DefaultSegmentSize
	}
	p.SegmentSize = roundUp(min(seg, size), int64(p.K))
	return p
}

func (p Params) check(size int64) error {
	switch {
	case p.K < 1 || p.N < p.K || p.N > 256:
		return fmt.Errorf("%d-of-%d shares: %w", p.K, p.N, ErrUnsupported)
	case size < 1 || size > MaxSize:
		return fmt.Errorf("file of %d bytes: %w", size, ErrUnsupported)
	case p.SegmentSize < 0 || p.SegmentSize > MaxSegmentSize:
		return fmt.Errorf("segments of %d bytes: %w", p.SegmentSize, ErrUnsupported)
	}
	return nil
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
func roundUp(a, b int64) int64 { return ceilDiv(a, b) * b }
