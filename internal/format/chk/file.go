package chk

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/codec/zfec"
	"tahoe-go/internal/format/caps"
)

// File decodes one file from its shares. It holds what is proven of the file
// as a whole: the UEB and the crypttext hash tree, each taken from whichever
// share gave it first. It may be used concurrently.
type File struct {
	info  caps.CHKVerifier
	guess Layout

	mu    sync.Mutex // guards below
	known *known     // set once
}

// known is what a file's UEB settles.
type known struct {
	ueb       *UEB
	packed    []byte
	layout    Layout
	crypttext *merkle.PageTree
}

// NewFile takes what a cap says of the file; the storage index plays no part.
// ErrUnsupported for parameters out of bounds.
func NewFile(info caps.CHKVerifier) (*File, error) {
	guess, err := NewLayout(Params{K: info.K, N: info.N}, info.Size)
	if err != nil {
		return nil, err
	}
	return &File{info: info, guess: guess}, nil
}

// Layout tells the geometry of the file. False before a share was opened.
func (f *File) Layout() (Layout, bool) {
	if k := f.get(); k != nil {
		return k.layout, true
	}
	return Layout{}, false
}

// UEB returns the file's proven UEB, not to be changed; nil before a share
// was opened.
func (f *File) UEB() *UEB {
	if k := f.get(); k != nil {
		return k.ueb
	}
	return nil
}

func (f *File) get() *known {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

var errForgedUEB = errors.New("UEB is not the cap's")

// learn takes a UEB from a share: errForgedUEB if the cap is of another one.
// Other errors are the fault of whoever made the cap.
func (f *File) learn(packed []byte) (*known, error) {
	if tagged.UEB(packed) != f.info.UEBHash {
		return nil, errForgedUEB
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known != nil {
		return f.known, nil
	}
	ueb, err := ParseUEB(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadEncoding, err)
	}
	layout, err := ueb.layout(f.info.K, f.info.N, f.info.Size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadEncoding, err)
	}
	f.known = &known{ueb: ueb, packed: bytes.Clone(packed), layout: layout,
		crypttext: merkle.NewPageTree(layout.treeDepth(), ueb.CrypttextRoot)}
	return f.known, nil
}

// Decode turns k proven blocks of segment seg, by share number, into the
// segment's ciphertext, proven too. The result uses buf if that is large
// enough for k blocks; it must not overlap them. Blocks are not changed. They
// must be what Share.Block returned for this segment and this File.
// SegmentError when they make something else than the cap stands for.
// Decrypt with Cipher.XOR at seg times the segment size.
func (f *File) Decode(seg int64, blocks map[ids.ShareNum][]byte, buf []byte) ([]byte, error) {
	known := f.get()
	if known == nil {
		return nil, errors.New("decoding before a share was opened")
	}
	l := &known.layout
	if seg < 0 || seg >= l.Segments {
		return nil, fmt.Errorf("segment %d of %d", seg, l.Segments)
	}
	want, ok := known.crypttext.Leaf(seg)
	if !ok {
		return nil, fmt.Errorf("decoding segment %d before a block of it was read", seg)
	}
	code, err := zfec.New(l.K, l.N)
	if err != nil {
		return nil, err
	}
	size := l.BlockLen(seg)
	buf = grow(buf, size*int64(l.K))
	dst := make([][]byte, l.K)
	for i := range dst {
		dst[i] = buf[int64(i)*size : int64(i+1)*size]
	}
	nums, list := make([]int, 0, l.K), make([][]byte, 0, l.K)
	for num, block := range blocks {
		nums, list = append(nums, int(num)), append(list, block)
	}
	if err := code.DecodeInto(dst, list, nums); err != nil {
		return nil, fmt.Errorf("decoding segment %d: %w", seg, err)
	}
	text := buf[:l.SegmentLen(seg)]
	if tagged.CrypttextSegment(text) != want {
		return nil, &SegmentError{seg}
	}
	return text, nil
}

// grow returns n bytes in buf's memory, or in new memory.
func grow(buf []byte, n int64) []byte {
	if int64(cap(buf)) < n {
		return make([]byte, n)
	}
	return buf[:n]
}
