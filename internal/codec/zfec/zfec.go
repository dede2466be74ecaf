// Package zfec turns k blocks into n shares of which any k give the blocks
// back: the systematic Reed-Solomon code of the zfec library, byte for byte.
//
// The first k shares are the blocks themselves, called primary; the rest are
// parity. The package knows no files, segments or padding. The matrix is
// zfec's own (see encoding); the arithmetic over long blocks is
// klauspost/reedsolomon's, used only as a machine that multiplies by a matrix.
//
// Start with [New], then [Code.Encode] and [Code.DecodeInto].
package zfec

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// MaxShares is the most shares the field GF(256) has room for.
const MaxShares = 256

// Errors; branch on them with errors.Is.
var (
	ErrParams = errors.New("not 1 <= k <= n <= 256")
	ErrBlocks = errors.New("wrong blocks")
)

// Code encodes and decodes k of n. It may be used concurrently.
type Code struct {
	k, n   int
	rows   matrix      // n rows of k
	encode *multiplier // nil when n == k
	decode cache[subset, *multiplier]
}

// maxCodes bounds the codes kept: a node uses one or two of its own, caps of
// others may name any. With their decoders they hold some 12 MiB at worst.
const maxCodes = 16

// maxDecoders bounds the decoders kept per code, by their size: every subset
// of 3 of 10, few of a wide code, which cost 0.5 ms (71 of 255) to make anew.
func maxDecoders(k int) int { return max(8, min(128, 1<<16/(k*k))) }

type params struct{ k, n int }

var codes = cache[params, *Code]{limit: maxCodes}

// New returns the code for k of n. ErrParams unless 1 <= k <= n <= 256.
// Building one takes from microseconds (3 of 10) to 20 ms (254 of 256), so the
// latest ones are kept.
func New(k, n int) (*Code, error) {
	// The kernel would silently change to another code above 256.
	if k < 1 || n < k || n > MaxShares {
		return nil, fmt.Errorf("%d of %d: %w", k, n, ErrParams)
	}
	return codes.get(params{k, n}, func() (*Code, error) { return build(k, n) })
}

func build(k, n int) (*Code, error) {
	rows, err := encoding(k, n)
	if err != nil {
		return nil, fmt.Errorf("matrix for %d of %d: %w", k, n, err)
	}
	c := &Code{k: k, n: n, rows: rows}
	c.decode.limit = maxDecoders(k)
	if n > k {
		c.encode, err = newMultiplier(rows[k:])
	}
	return c, err
}

// K is the number of shares that suffice.
func (c *Code) K() int { return c.k }

// N is the number of shares made.
func (c *Code) N() int { return c.n }

// Encode fills parity (n-k slices) from primary (k slices), all of one size;
// parity[i] is share number k+i. It keeps nothing, allocates next to nothing,
// and works on pieces: encoding a block in stripes gives the block's parity.
// parity must not overlap primary. ErrBlocks when counts or sizes are off.
func (c *Code) Encode(primary, parity [][]byte) error {
	if len(primary) != c.k || len(parity) != c.n-c.k {
		return fmt.Errorf("%w: %d primary and %d parity, want %d and %d",
			ErrBlocks, len(primary), len(parity), c.k, c.n-c.k)
	}
	size := len(primary[0])
	if err := sameSize(size, primary, parity); err != nil {
		return err
	}
	if len(parity) == 0 {
		return nil
	}
	return c.encode.run(primary, parity, size)
}

// Decode returns the k primary blocks, given any k blocks of one size and
// their share numbers in the same order. Primary blocks among them are
// returned as they are, the others are new.
func (c *Code) Decode(blocks [][]byte, nums []int) ([][]byte, error) {
	if err := c.checkDecode(blocks, nums); err != nil {
		return nil, err
	}
	size := len(blocks[0])
	dst := make([][]byte, c.k)
	for j, num := range nums {
		if num < c.k {
			dst[num] = blocks[j]
		}
	}
	for i := range dst {
		if dst[i] == nil {
			dst[i] = make([]byte, size)
		}
	}
	return dst, c.DecodeInto(dst, blocks, nums)
}

// DecodeInto fills dst with the k primary blocks, given any k blocks and
// their share numbers. All slices are of one size. A dst[i] may be the very
// memory of block i among blocks, then nothing is copied; otherwise dst must
// not overlap blocks. It works on pieces as Encode does, and for a subset of
// shares used lately it allocates next to nothing.
//
// ErrBlocks when there are not k of each, a number is repeated or outside
// 0..n-1, or sizes differ.
func (c *Code) DecodeInto(dst, blocks [][]byte, nums []int) error {
	if err := c.checkDecode(blocks, nums); err != nil {
		return err
	}
	size := len(blocks[0])
	if len(dst) != c.k {
		return fmt.Errorf("%w: room for %d, want %d", ErrBlocks, len(dst), c.k)
	}
	if err := sameSize(size, dst, nil); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	return c.decodeInto(dst, blocks, nums, size)
}

func (c *Code) decodeInto(dst, blocks [][]byte, nums []int, size int) error {
	s := scratches.Get().(*scratch)
	defer s.put()
	var byNum [MaxShares][]byte
	var have subset
	for j, num := range nums {
		byNum[num] = blocks[j]
		have.add(num)
	}
	// The inputs: primary blocks in their own places, parity blocks in
	// ascending order in the places of the missing.
	next := c.k
	for i := range c.k {
		if have.has(i) {
			s.in = append(s.in, byNum[i])
			if &dst[i][0] != &byNum[i][0] {
				copy(dst[i], byNum[i])
			}
			continue
		}
		for !have.has(next) {
			next++
		}
		s.in = append(s.in, byNum[next])
		s.out = append(s.out, dst[i])
		next++
	}
	if len(s.out) == 0 {
		return nil
	}
	m, err := c.decode.get(have, func() (*multiplier, error) { return c.decoder(have) })
	if err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	return m.run(s.in, s.out, size)
}

// decoder makes the matrix that computes the primary blocks missing from
// have out of the inputs in the order of decodeInto.
func (c *Code) decoder(have subset) (*multiplier, error) {
	square := newMatrix(c.k, c.k)
	next := c.k
	var missing []int
	for i := range square {
		if have.has(i) {
			copy(square[i], c.rows[i])
			continue
		}
		for !have.has(next) {
			next++
		}
		copy(square[i], c.rows[next])
		missing = append(missing, i)
		next++
	}
	inv, err := invert(square)
	if err != nil {
		return nil, err
	}
	rows := newMatrix(len(missing), c.k)
	for i, row := range missing {
		copy(rows[i], inv[row])
	}
	return newMultiplier(rows)
}

func (c *Code) checkDecode(blocks [][]byte, nums []int) error {
	if len(blocks) != c.k || len(nums) != c.k {
		return fmt.Errorf("%w: %d blocks and %d numbers, want %d", ErrBlocks, len(blocks), len(nums), c.k)
	}
	var seen subset
	for _, num := range nums {
		if num < 0 || num >= c.n {
			return fmt.Errorf("%w: share number %d of %d", ErrBlocks, num, c.n)
		}
		if seen.has(num) {
			return fmt.Errorf("%w: share number %d twice", ErrBlocks, num)
		}
		seen.add(num)
	}
	return sameSize(len(blocks[0]), blocks, nil)
}

func sameSize(size int, a, b [][]byte) error {
	for _, list := range [2][][]byte{a, b} {
		for i := range list {
			if len(list[i]) != size {
				return fmt.Errorf("%w: sizes %d and %d", ErrBlocks, size, len(list[i]))
			}
		}
	}
	return nil
}

// subset is a set of share numbers.
type subset [MaxShares / 64]uint64

func (s *subset) add(num int)      { s[num/64] |= 1 << (num % 64) }
func (s *subset) has(num int) bool { return s[num/64]>>(num%64)&1 == 1 }

// multiplier computes outputs as a matrix times the inputs.
type multiplier struct {
	enc reedsolomon.Encoder
}

// wide is the size from which the kernel's wide-matrix path is the faster
// one. It is taken only with more than one goroutine allowed, and narrow
// matrices do better with one.
const wide = 10

func newMultiplier(rows matrix) (*multiplier, error) {
	ins, outs := len(rows[0]), len(rows)
	goroutines := 1
	if ins > wide || outs > wide {
		goroutines = 2
	}
	enc, err := reedsolomon.New(ins, outs,
		reedsolomon.WithCustomMatrix(rows),
		reedsolomon.WithInversionCache(false), // never consulted here, and unbounded
		reedsolomon.WithMaxGoroutines(goroutines))
	if err != nil {
		return nil, fmt.Errorf("preparing %d by %d: %w", outs, ins, err)
	}
	return &multiplier{enc}, nil
}

// run fills out from in, each slice of size bytes.
func (m *multiplier) run(in, out [][]byte, size int) error {
	if size == 0 {
		return nil // the kernel takes an empty slice for a missing one
	}
	s := scratches.Get().(*scratch)
	defer s.put()
	s.in = append(append(s.in, in...), out...)
	return m.enc.Encode(s.in)
}

// scratch holds lists of slices between calls, so that stripes do not
// allocate.
type scratch struct{ in, out [][]byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// put empties s, so that the pool holds on to nobody's blocks.
func (s *scratch) put() {
	clear(s.in)
	clear(s.out)
	s.in, s.out = s.in[:0], s.out[:0]
	scratches.Put(s)
}
