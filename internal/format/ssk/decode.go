package ssk

import (
	"fmt"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/codec/zfec"
	"tahoe-go/internal/format/caps"
)

// Decoder turns proven blocks of one version into its contents. It may be
// used concurrently.
type Decoder struct {
	version Version
	readKey caps.Key
	code    *zfec.Code
}

// NewDecoder takes a proven version, as from [Share.Version], and the cap that
// reads it.
func NewDecoder(v Version, cap caps.SSKRead) (*Decoder, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	code, err := zfec.New(v.K, v.N)
	if err != nil {
		return nil, err
	}
	return &Decoder{v, cap.ReadKey, code}, nil
}

// Segment decodes and decrypts segment seg from k blocks by share number. The
// result uses buf if that has room for k blocks. Blocks are not changed.
// ErrBadEncoding if they contradict each other.
func (d *Decoder) Segment(seg int64, blocks map[ids.ShareNum]Block, buf []byte) ([]byte, error) {
	v := &d.version
	if seg < 0 || seg >= v.Segments() {
		return nil, fmt.Errorf("segment %d of %d", seg, v.Segments())
	}
	size := v.BlockLen(seg)
	if int64(cap(buf)) < size*int64(v.K) {
		buf = make([]byte, size*int64(v.K))
	}
	dst := make([][]byte, v.K)
	for i := range dst {
		dst[i] = buf[int64(i)*size : int64(i+1)*size : int64(i+1)*size]
	}
	nums, list := make([]int, 0, v.K), make([][]byte, 0, v.K)
	var salt [saltSize]byte
	for num, b := range blocks {
		if len(list) > 0 && b.Salt != salt {
			return nil, fmt.Errorf("segment %d has blocks of different salts: %w", seg, ErrBadEncoding)
		}
		if int64(len(b.Data)) != size {
			return nil, fmt.Errorf("block of %d bytes for segment %d, want %d", len(b.Data), seg, size)
		}
		salt = b.Salt
		nums, list = append(nums, int(num)), append(list, b.Data)
	}
	if err := d.code.DecodeInto(dst, list, nums); err != nil {
		return nil, fmt.Errorf("decoding segment %d: %w", seg, err)
	}
	text := buf[:v.SegmentLen(seg)]
	newCTR(tagged.DataKey(salt, d.readKey.Reveal())).XORKeyStream(text, text)
	return text, nil
}

// SegmentsOf says which segments hold the n bytes at off of the contents:
// first to last. The range must not be empty nor end past Size.
func (v *Version) SegmentsOf(off, n int64) (first, last int64) {
	return off / v.SegmentSize, (off + n - 1) / v.SegmentSize
}
