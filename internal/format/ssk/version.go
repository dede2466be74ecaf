package ssk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"

	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
)

// Hash is a tagged SHA-256d.
type Hash = tagged.Hash

// Sizes in bytes that bound what is read and written.
const (
	// SegmentSize is what MDMF files are cut into, rounded up to a multiple
	// of k.
	SegmentSize = 128 << 10
	// MaxSegment bounds memory: one segment is held whole. An SDMF file is one
	// segment.
	MaxSegment = 256 << 20
	// MaxSize keeps every offset far from overflow.
	MaxSize = 1 << 46

	saltSize = 16
	hashSize = merkle.HashSize
)

// Version is what the signature in a share covers: shares with equal Versions
// hold the same contents, whoever keeps them. It is comparable.
type Version struct {
	MDMF        bool
	Seqnum      uint64
	Root        Hash           // of the share hash tree
	Salt        [saltSize]byte // of SDMF; MDMF has one for each segment
	K, N        int            // 1 <= K <= N <= 255
	SegmentSize int64          // a multiple of K; 0 for an empty SDMF file
	Size        int64          // of the contents
}

// newVersion chooses the parameters of a version to be written.
func newVersion(mdmf bool, k, n int, size int64) (Version, error) {
	v := Version{MDMF: mdmf, K: k, N: n, Size: size}
	if k < 1 { // check says so
		return v, v.check()
	}
	v.SegmentSize = roundUp(size, int64(k))
	if mdmf {
		v.SegmentSize = roundUp(SegmentSize, int64(k))
	}
	return v, v.check()
}

// check bounds the numbers, so that no arithmetic on them overflows.
func (v *Version) check() error {
	switch {
	case v.K < 1 || v.N < v.K || v.N > 255:
		return fmt.Errorf("%d-of-%d shares: %w", v.K, v.N, ErrUnsupported)
	case v.Size < 0 || v.Size > MaxSize:
		return fmt.Errorf("file of %d bytes: %w", v.Size, ErrUnsupported)
	case v.SegmentSize < 0 || v.SegmentSize > MaxSegment+255 || v.SegmentSize%int64(v.K) != 0:
		return fmt.Errorf("segments of %d bytes: %w", v.SegmentSize, ErrUnsupported)
	case !v.MDMF && v.SegmentSize != roundUp(v.Size, int64(v.K)):
		return fmt.Errorf("SDMF file of %d bytes in segments of %d: %w", v.Size, v.SegmentSize, ErrUnsupported)
	case v.MDMF && v.SegmentSize == 0:
		return fmt.Errorf("no segment size: %w", ErrUnsupported)
	case v.Segments() > merkle.MaxLeaves:
		return fmt.Errorf("%d segments: %w", v.Segments(), ErrUnsupported)
	}
	return nil
}

// Compare orders versions by age: negative if v is older than w. Of two with
// one sequence number, as two writers at once may leave, the greater root
// counts as the newer.
func (v Version) Compare(w Version) int {
	if c := cmp.Compare(v.Seqnum, w.Seqnum); c != 0 {
		return c
	}
	return bytes.Compare(v.Root[:], w.Root[:])
}

// Segments is the number of segments, 0 for an empty file.
func (v *Version) Segments() int64 {
	if v.Size == 0 {
		return 0
	}
	return ceilDiv(v.Size, v.SegmentSize)
}

// SegmentLen is how many bytes of the contents segment seg holds.
func (v *Version) SegmentLen(seg int64) int64 {
	return min(v.SegmentSize, v.Size-seg*v.SegmentSize)
}

// BlockLen is the size of each block of segment seg, without salt.
func (v *Version) BlockLen(seg int64) int64 {
	return ceilDiv(v.SegmentLen(seg), int64(v.K))
}

// blockStride is the distance between blocks in a share's data, with the
// salt before each if MDMF.
func (v *Version) blockStride() int64 { return v.SegmentSize/int64(v.K) + v.saltLen() }

func (v *Version) saltLen() int64 {
	if v.MDMF {
		return saltSize
	}
	return 0
}

// dataSize is the size of all blocks and salts of a share.
func (v *Version) dataSize() int64 {
	segs := v.Segments()
	if segs == 0 {
		return 0
	}
	return (segs-1)*v.blockStride() + v.saltLen() + v.BlockLen(segs-1)
}

// treeDepth is the number of levels under the root of a share's block tree.
func (v *Version) treeDepth() int { return bits.Len64(uint64(max(v.Segments(), 1) - 1)) }

// treeSize is the size of a block tree.
func (v *Version) treeSize() int64 { return (2<<v.treeDepth() - 1) * hashSize }

// chainSize is the size of a share hash chain: a node for each level under the
// root.
func (v *Version) chainSize() int64 { return int64(bits.Len(uint(v.N-1))) * chainEntry }

// signed is the start of a share, which the signature covers.
func (v *Version) signed() []byte {
	b := v.Checkstring().Append(nil)
	b = append(b, byte(v.K), byte(v.N))
	b = binary.BigEndian.AppendUint64(b, uint64(v.SegmentSize))
	return binary.BigEndian.AppendUint64(b, uint64(v.Size))
}

// Checkstring is the part of v that a write is conditional on.
func (v Version) Checkstring() Checkstring { return Checkstring{v.MDMF, v.Seqnum, v.Root, v.Salt} }

// MaxCheckstring is the most bytes of a packed Checkstring, from the start of
// a share.
const (
	MaxCheckstring = 1 + 8 + hashSize + saltSize
	checkMDMF      = 1 + 8 + hashSize
)

// Checkstring names a version: no two have the same, unless a writer repeats a
// root. It is comparable.
type Checkstring struct {
	MDMF   bool
	Seqnum uint64
	Root   Hash
	Salt   [saltSize]byte // SDMF only
}

// ParseCheckstring reads the one at the start of b, the first MaxCheckstring
// bytes of a share or all of it. Nothing in it is proven.
func ParseCheckstring(b []byte) (Checkstring, error) {
	if len(b) < checkMDMF || b[0] > 1 || b[0] == 0 && len(b) < MaxCheckstring {
		return Checkstring{}, fmt.Errorf("checkstring of %d bytes: %w", len(b), errHeader)
	}
	c := Checkstring{MDMF: b[0] == 1, Seqnum: binary.BigEndian.Uint64(b[1:]), Root: Hash(b[9:])}
	if !c.MDMF {
		c.Salt = [saltSize]byte(b[checkMDMF:])
	}
	return c, nil
}

// Append adds the packed form: the first bytes of a share.
func (c Checkstring) Append(b []byte) []byte {
	var version byte
	if c.MDMF {
		version = 1
	}
	b = binary.BigEndian.AppendUint64(append(b, version), c.Seqnum)
	b = append(b, c.Root[:]...)
	if !c.MDMF {
		b = append(b, c.Salt[:]...)
	}
	return b
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
func roundUp(a, b int64) int64 { return ceilDiv(a, b) * b }
