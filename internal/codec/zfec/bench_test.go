package zfec_test

import (
	"fmt"
	"slices"
	"testing"
)

// Rows are k-of-n/segment size; a stripe row works through the segment's
// blocks 16 KiB at a time, as uploads do. MB/s are of plaintext.
var rows = []struct {
	k, n, segment, stripe int
}{
	{3, 10, 128 << 10, 0},
	{3, 10, 1 << 20, 0},
	{3, 10, 1 << 20, 16 << 10},
	{10, 30, 1 << 20, 0},
	{10, 30, 1 << 20, 16 << 10},
	{71, 255, 1 << 20, 0},
	{1, 1, 1 << 20, 0},
}

func BenchmarkEncode(b *testing.B) {
	for _, r := range rows {
		b.Run(name(r.k, r.n, r.segment, r.stripe), func(b *testing.B) {
			c := mustNew(b, r.k, r.n)
			size := (r.segment + r.k - 1) / r.k
			primary, parity := blank(r.k, size), blank(r.n-r.k, size)
			in, out := slices.Clone(primary), slices.Clone(parity)
			stripe := size
			if r.stripe > 0 {
				stripe = r.stripe
			}
			b.SetBytes(int64(r.segment))
			b.ReportAllocs()
			for b.Loop() {
				for off := 0; off < size; off += stripe {
					end := min(off+stripe, size)
					for i := range in {
						in[i] = primary[i][off:end]
					}
					for i := range out {
						out[i] = parity[i][off:end]
					}
					if err := c.Encode(in, out); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// The last k shares: as much parity as there can be.
func BenchmarkDecode(b *testing.B) {
	for _, r := range rows {
		if r.stripe > 0 {
			continue
		}
		b.Run(name(r.k, r.n, r.segment, r.stripe), func(b *testing.B) {
			c := mustNew(b, r.k, r.n)
			size := (r.segment + r.k - 1) / r.k
			blocks, dst := blank(r.k, size), blank(r.k, size)
			nums := make([]int, r.k)
			for i := range nums {
				nums[i] = r.n - r.k + i
			}
			b.SetBytes(int64(r.segment))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.DecodeInto(dst, blocks, nums); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func name(k, n, segment, stripe int) string {
	if stripe > 0 {
		return fmt.Sprintf("%d-of-%d/%dKiB/stripes", k, n, segment>>10)
	}
	return fmt.Sprintf("%d-of-%d/%dKiB", k, n, segment>>10)
}
