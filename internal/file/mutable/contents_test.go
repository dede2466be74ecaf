package mutable

import (
	"bytes"
	"runtime"
	"testing"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// A file that claims a size, rightly signed, and has nothing behind it costs a
// reader little memory, whatever its segments.
func TestClaimedSizeIsNotBelieved(t *testing.T) {
	const size = 48 << 20
	for _, mdmf := range []bool{false, true} {
		g := newGrid(t, 1)
		f := mustCreate(t, newClient(t, g, 1, 1), mdmf, nil)
		e, err := ssk.Encode(t.Context(), ssk.Config{Key: testKey(t, 0), MDMF: mdmf, K: 1, N: 1, Seqnum: 2, Random: f.c.c.Random}, bytes.NewReader(make([]byte, size)), size)
		if err != nil {
			t.Fatal(err)
		}
		g.plant(t, f, 0, storage.ShareNum(0), e.Share(0)[:100_000])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := f.Read(t.Context(), nil); err == nil {
			t.Error("it was read")
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > rereads*(eager+eager/2) {
			t.Errorf("mdmf %v: %d bytes were allocated for a file that is not there", mdmf, n)
		}
	}
}

// Files of more than is given memory at once are read whole, whatever the size
// of their last segment.
func TestLargeRead(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		for _, size := range []int{eager - 1, eager + 1, 2*eager + 100_001} {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 3)
				f := mustCreate(t, newClient(t, g, 3, 3), mdmf, content(size))
				mustRead(t, f, content(size))
			})
		}
	}
}
