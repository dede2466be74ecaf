package zfec_test

import (
	"errors"
	"testing"

	"tahoe-go/internal/codec/zfec"
)

// Share numbers and block sizes come from servers: whatever they are, Decode
// gives k blocks or ErrBlocks. What it gives must encode back to what came.
func FuzzDecode(f *testing.F) {
	f.Add(3, 10, 16, []byte{0, 5, 9}, []byte("some bytes that three shares hold"))
	f.Add(2, 2, 1, []byte{1, 1}, []byte("x"))
	f.Add(200, 256, 0, []byte{255}, []byte{})
	f.Fuzz(func(t *testing.T, k, n, size int, numbers, data []byte) {
		c, err := zfec.New(k, n)
		if err != nil {
			if !errors.Is(err, zfec.ErrParams) {
				t.Fatal(err)
			}
			return
		}
		size = max(0, min(size, len(data)))
		var nums []int
		var blocks [][]byte
		for i, num := range numbers {
			nums = append(nums, int(num))
			off := i % (len(data) - size + 1)
			blocks = append(blocks, data[off:off+size])
		}
		primary, err := c.Decode(blocks, nums)
		if err != nil {
			if !errors.Is(err, zfec.ErrBlocks) {
				t.Fatal(err)
			}
			return
		}
		parity := blank(n-k, size)
		if err := c.Encode(primary, parity); err != nil {
			t.Fatal(err)
		}
		if got := pick(append(primary, parity...), nums); !equal(got, blocks) {
			t.Errorf("%d of %d from %v does not encode back", k, n, nums)
		}
	})
}
