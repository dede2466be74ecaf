package chk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"tahoe-go/internal/codec/ids"
)

// Layout is the geometry of a file and of its shares, which are all laid out
// alike. It follows from k, n, segment size and file size alone, so that every
// offset is known before the first byte is encoded. Sizes and offsets are in
// bytes.
type Layout struct {
	K, N        int
	Size        int64 // of the plaintext, and of the ciphertext
	SegmentSize int64 // of every segment but the last; a multiple of K
	TailSize    int64 // of the last segment, 1 to SegmentSize
	Segments    int64
	BlockSize   int64 // of every block but a share's last
	TailBlock   int64 // of a share's last block
	TreeSize    int64 // of each of the three hash trees stored in a share
	UEBSize     int64 // of the UEB as this package packs it
	ShareSize   int64
	Header      Header // as this package writes it
}

// NewLayout lays out a file of size bytes. Layout version 1 is used when its
// 32-bit fields can hold the offsets, else 2, as the reference chooses.
// ErrUnsupported for parameters out of bounds.
func NewLayout(p Params, size int64) (Layout, error) {
	if err := p.check(size); err != nil {
		return Layout{}, err
	}
	return layoutOf(p.K, p.N, p.Round(size).SegmentSize, size)
}

// layoutOf lays out a file whose segment size is already a multiple of k.
func layoutOf(k, n int, segsize, size int64) (Layout, error) {
	if segsize < 1 || segsize > MaxSegmentSize+int64(k) || segsize%int64(k) != 0 {
		return Layout{}, fmt.Errorf("segments of %d bytes with %d needed shares: %w", segsize, k, ErrUnsupported)
	}
	l := Layout{K: k, N: n, Size: size, SegmentSize: segsize}
	l.Segments = ceilDiv(size, segsize)
	if l.Segments > maxSegments {
		return Layout{}, fmt.Errorf("%d segments: %w", l.Segments, ErrUnsupported)
	}
	l.TailSize = size - (l.Segments-1)*segsize
	l.BlockSize = segsize / int64(k)
	l.TailBlock = ceilDiv(l.TailSize, int64(k))
	l.TreeSize = (2<<l.treeDepth() - 1) * hashSize
	l.UEBSize = int64(len(l.packUEB(roots{})))
	l.Header = l.header(1)
	// The reference compares the UEB's offset, not its end, with 2^32.
	if l.BlockSize > math.MaxUint32 || l.Header.UEB > math.MaxUint32 {
		l.Header = l.header(2)
	}
	l.ShareSize = l.Header.UEB + l.Header.lengthField() + l.UEBSize
	return l, nil
}

// treeDepth is the number of levels under the root of the trees over
// segments.
func (l *Layout) treeDepth() int { return bits.Len64(uint64(l.Segments - 1)) }

// SegmentLen is how many bytes of the file segment seg holds.
func (l *Layout) SegmentLen(seg int64) int64 {
	if seg == l.Segments-1 {
		return l.TailSize
	}
	return l.SegmentSize
}

// BlockLen is the size of each block of segment seg.
func (l *Layout) BlockLen(seg int64) int64 {
	if seg == l.Segments-1 {
		return l.TailBlock
	}
	return l.BlockSize
}

// BlockSpan is where the block of segment seg lies in each share as this
// package writes it.
func (l *Layout) BlockSpan(seg int64) ids.Span {
	return ids.Span{Off: l.Header.Data + seg*l.BlockSize, Len: l.BlockLen(seg)}
}

// TrailerOffset is where the blocks end in each share and what
// [Trailer.Share] returns begins.
func (l *Layout) TrailerOffset() int64 { return l.Header.PlaintextTree }

// header computes the offsets of a share in layout version 1 or 2.
func (l *Layout) header(version int) Header {
	h := Header{Version: version, BlockSize: l.BlockSize}
	h.DataSize = (l.Segments-1)*l.BlockSize + l.TailBlock
	h.Data = h.size()
	h.PlaintextTree = h.Data + h.DataSize
	h.CrypttextTree = h.PlaintextTree + l.TreeSize
	h.BlockTree = h.CrypttextTree + l.TreeSize
	h.ShareChain = h.BlockTree + l.TreeSize
	h.UEB = h.ShareChain + l.chainSize()
	return h
}

// chainSize is the size of a share's part of the share hash tree: one node a
// level and the leaf, each with its number.
func (l *Layout) chainSize() int64 {
	return int64(bits.Len(uint(l.N-1))+1) * chainEntry
}

const (
	chainEntry    = 2 + hashSize
	headerSizeV1  = 9 * 4
	headerSizeV2  = 4 + 8*8
	maxHeaderSize = headerSizeV2
)

// Header is the table at the start of a share: where its sections begin, in
// bytes from the start of the share. docs/formats/chk.md "Share".
type Header struct {
	Version       int   // 1: 32-bit fields, 2: 64-bit
	BlockSize     int64 // not needed to read
	DataSize      int64 // of all blocks together; not needed to read
	Data          int64
	PlaintextTree int64 // unused since 2008, but room is kept
	CrypttextTree int64
	BlockTree     int64
	ShareChain    int64
	UEB           int64 // of its length field
}

func (h Header) size() int64 {
	if h.Version == 1 {
		return headerSizeV1
	}
	return headerSizeV2
}

// lengthField is the size of the field before the UEB.
func (h Header) lengthField() int64 {
	if h.Version == 1 {
		return 4
	}
	return 8
}

func (h Header) fields() [8]int64 {
	return [8]int64{h.BlockSize, h.DataSize, h.Data, h.PlaintextTree, h.CrypttextTree, h.BlockTree, h.ShareChain, h.UEB}
}

// Append adds the packed header to b.
func (h Header) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(h.Version))
	for _, v := range h.fields() {
		if h.Version == 1 {
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		} else {
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		}
	}
	return b
}

var errHeader = errors.New("malformed share header")

// ParseHeader reads the header at the start of b. It checks that the numbers
// are sane by themselves: sections in order, none beyond 2^62.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < 4 {
		return Header{}, fmt.Errorf("%d bytes: %w", len(b), errHeader)
	}
	h := Header{Version: int(binary.BigEndian.Uint32(b))}
	if h.Version != 1 && h.Version != 2 {
		return Header{}, fmt.Errorf("version %d: %w", h.Version, errHeader)
	}
	if int64(len(b)) < h.size() {
		return Header{}, fmt.Errorf("%d bytes: %w", len(b), errHeader)
	}
	var f [8]int64
	for i := range f {
		if h.Version == 1 {
			f[i] = int64(binary.BigEndian.Uint32(b[4+4*i:]))
			continue
		}
		v := binary.BigEndian.Uint64(b[4+8*i:])
		if v >= 1<<62 {
			return Header{}, fmt.Errorf("field %d is %d: %w", i, v, errHeader)
		}
		f[i] = int64(v)
	}
	h.BlockSize, h.DataSize, h.Data, h.PlaintextTree = f[0], f[1], f[2], f[3]
	h.CrypttextTree, h.BlockTree, h.ShareChain, h.UEB = f[4], f[5], f[6], f[7]
	if h.Data < h.size() || h.PlaintextTree < h.Data || h.CrypttextTree < h.PlaintextTree ||
		h.BlockTree < h.CrypttextTree || h.ShareChain < h.BlockTree || h.UEB < h.ShareChain {
		return Header{}, fmt.Errorf("sections out of order: %w", errHeader)
	}
	return h, nil
}

// fits reports whether the sizes are those of l and the sections have room
// for what l puts into them. Gaps are allowed: the reference leaves later
// writers that freedom.
func (h Header) fits(l *Layout) bool {
	own := l.header(h.Version)
	return h.BlockSize == own.BlockSize && h.DataSize == own.DataSize &&
		h.PlaintextTree-h.Data >= own.PlaintextTree-own.Data &&
		h.CrypttextTree-h.PlaintextTree >= l.TreeSize &&
		h.BlockTree-h.CrypttextTree >= l.TreeSize &&
		h.ShareChain-h.BlockTree >= l.TreeSize
}
