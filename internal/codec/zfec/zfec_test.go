package zfec_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
	"storj.io/infectious"

	"tahoe-go/internal/codec/zfec"
)

func mustNew(t testing.TB, k, n int) *zfec.Code {
	t.Helper()
	c, err := zfec.New(k, n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// blank returns count slices of size non-zero bytes, so that a block left
// unwritten shows.
func blank(count, size int) [][]byte {
	list := make([][]byte, count)
	for i := range list {
		list[i] = bytes.Repeat([]byte{0xee}, size)
	}
	return list
}

func pick(all [][]byte, nums []int) [][]byte {
	list := make([][]byte, len(nums))
	for i, num := range nums {
		list[i] = all[num]
	}
	return list
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// The outputs of zfec 1.5.2.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/zfec_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Rows []struct {
			K, M       int
			In, Out    []string
			DecodeFrom []int `json:"decode_from"`
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Rows) != 12 {
		t.Fatalf("%d rows, want 12", len(file.Rows))
	}
	unhex := func(list []string) [][]byte {
		var out [][]byte
		for _, s := range list {
			b, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
		return out
	}
	for _, row := range file.Rows {
		in, want := unhex(row.In), unhex(row.Out)
		c := mustNew(t, row.K, row.M)
		parity := blank(row.M-row.K, len(in[0]))
		if err := c.Encode(in, parity); err != nil {
			t.Fatalf("%d of %d: %v", row.K, row.M, err)
		}
		if got := append(slices.Clone(in), parity...); !equal(got, want) {
			t.Errorf("%d of %d: Encode differs from zfec", row.K, row.M)
		}
		got, err := c.Decode(pick(want, row.DecodeFrom), row.DecodeFrom)
		if err != nil || !equal(got, in) {
			t.Errorf("%d of %d: Decode(%v) differs, err %v", row.K, row.M, row.DecodeFrom, err)
		}
	}
}

// Any k, n, size and subset of shares: the same bytes as infectious, whose
// matrix is zfec's too, and back again; whole and in stripes.
func TestAgainstInfectious(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, zfec.MaxShares)).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		size := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 3000)).Draw(t, "size")
		stripe := rapid.IntRange(1, size).Draw(t, "stripe")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		data := make([]byte, k*size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		primary := slices.Collect(slices.Chunk(data, size))

		fec, err := infectious.NewFEC(k, n)
		if err != nil {
			t.Fatal(err)
		}
		want := make([][]byte, n)
		if err := fec.Encode(data, func(s infectious.Share) {
			want[s.Number] = bytes.Clone(s.Data)
		}); err != nil {
			t.Fatal(err)
		}

		c, err := zfec.New(k, n)
		if err != nil {
			t.Fatal(err)
		}
		parity := blank(n-k, size)
		for off := 0; off < size; off += stripe {
			if err := c.Encode(cut(primary, off, stripe), cut(parity, off, stripe)); err != nil {
				t.Fatal(err)
			}
		}
		all := append(slices.Clone(primary), parity...)
		if !equal(all, want) {
			t.Fatalf("Encode %d of %d, size %d: differs", k, n, size)
		}

		nums := rng.Perm(n)[:k]
		blocks := pick(all, nums)
		got, err := c.Decode(blocks, nums)
		if err != nil || !equal(got, primary) {
			t.Fatalf("Decode %d of %d from %v: differs, err %v", k, n, nums, err)
		}
		dst := blank(k, size)
		for i, num := range nums {
			if num < k && rng.IntN(2) == 0 {
				copy(dst[num], blocks[i])
				blocks[i] = dst[num] // already in place
			}
		}
		for off := 0; off < size; off += stripe {
			if err := c.DecodeInto(cut(dst, off, stripe), cut(blocks, off, stripe), nums); err != nil {
				t.Fatal(err)
			}
		}
		if !equal(dst, primary) {
			t.Fatalf("DecodeInto %d of %d from %v: differs", k, n, nums)
		}
	})
}

// cut returns the stripe at off of each slice.
func cut(list [][]byte, off, stripe int) [][]byte {
	out := make([][]byte, len(list))
	for i, b := range list {
		out[i] = b[off:min(off+stripe, len(b))]
	}
	return out
}

func TestNewRefuses(t *testing.T) {
	for _, p := range [][2]int{{0, 0}, {0, 1}, {-1, 3}, {2, 1}, {1, 257}, {257, 257}, {3, -1}, {200, 1000}} {
		if _, err := zfec.New(p[0], p[1]); !errors.Is(err, zfec.ErrParams) {
			t.Errorf("New(%d, %d): %v, want ErrParams", p[0], p[1], err)
		}
	}
}

func TestWrongBlocks(t *testing.T) {
	c := mustNew(t, 2, 4)
	b := func(sizes ...int) (list [][]byte) {
		for _, s := range sizes {
			list = append(list, make([]byte, s))
		}
		return list
	}
	for name, err := range map[string]error{
		"too few primary":  c.Encode(b(1), b(1, 1)),
		"too much parity":  c.Encode(b(1, 1), b(1, 1, 1)),
		"none":             c.Encode(nil, nil),
		"uneven primary":   c.Encode(b(1, 2), b(1, 1)),
		"uneven parity":    c.Encode(b(1, 1), b(1, 0)),
		"empty parity":     c.Encode(b(1, 1), b(0, 0)),
		"empty primary":    c.Encode(b(0, 0), b(1, 1)),
		"one block":        decode(c, b(1), 0),
		"three blocks":     decode(c, b(1, 1, 1), 0, 1, 2),
		"number missing":   decode(c, b(1, 1), 0),
		"same number":      decode(c, b(1, 1), 3, 3),
		"negative number":  decode(c, b(1, 1), 0, -1),
		"number too large": decode(c, b(1, 1), 0, 4),
		"uneven blocks":    decode(c, b(1, 2), 0, 3),
		"uneven room":      c.DecodeInto(b(1, 2), b(1, 1), []int{0, 3}),
		"too little room":  c.DecodeInto(b(1), b(1, 1), []int{0, 3}),
	} {
		if !errors.Is(err, zfec.ErrBlocks) {
			t.Errorf("%s: %v, want ErrBlocks", name, err)
		}
	}
}

func decode(c *zfec.Code, blocks [][]byte, nums ...int) error {
	_, err := c.Decode(blocks, nums)
	return err
}

// zfec gives empty blocks for empty blocks; the kernel alone would refuse.
func TestEmptyBlocks(t *testing.T) {
	for _, p := range [][2]int{{1, 1}, {1, 4}, {3, 3}, {3, 10}, {20, 40}} {
		k, n := p[0], p[1]
		c := mustNew(t, k, n)
		if err := c.Encode(make([][]byte, k), blank(n-k, 0)); err != nil {
			t.Errorf("Encode %v: %v", p, err)
		}
		nums := make([]int, k)
		for i := range nums {
			nums[i] = n - k + i
		}
		got, err := c.Decode(make([][]byte, k), nums)
		if err != nil || !equal(got, make([][]byte, k)) {
			t.Errorf("Decode %v = %v, %v", p, got, err)
		}
	}
}

// Many goroutines over few codes and more subsets than are cached.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 100 {
				k := 1 + rng.IntN(12)
				n := k + rng.IntN(12)
				c, err := zfec.New(k, n)
				if err != nil {
					t.Error(err)
					return
				}
				primary := blank(k, 100)
				for i := range primary {
					primary[i][rng.IntN(100)] = byte(g)
				}
				all := append(primary, blank(n-k, 100)...)
				if err := c.Encode(all[:k:k], all[k:]); err != nil {
					t.Error(err)
				}
				nums := rng.Perm(n)[:k]
				got, err := c.Decode(pick(all, nums), nums)
				if err != nil || !equal(got, all[:k]) {
					t.Errorf("%d of %d from %v: differs, err %v", k, n, nums, err)
				}
			}
		})
	}
	wg.Wait()
}

// The kernel itself may allocate its 800-byte table once a call, with
// AVX-512; nothing of ours, and nothing that grows with the blocks.
func TestStripesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	c := mustNew(t, 3, 10)
	all := blank(10, 16<<10)
	if got := testing.AllocsPerRun(100, func() { c.Encode(all[:3], all[3:]) }); got > 1 {
		t.Errorf("Encode allocates %v times", got)
	}
	dst, nums := blank(3, 16<<10), []int{2, 7, 9}
	if got := testing.AllocsPerRun(100, func() { c.DecodeInto(dst, all[7:], nums) }); got > 1 {
		t.Errorf("DecodeInto allocates %v times", got)
	}
}
