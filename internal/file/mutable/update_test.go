package mutable

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// WriteAt does to a file what it would do to a slice of bytes, in place or
// not, whatever is written where.
func TestWriteAtLikeSlice(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("mdmf=%v/%d", mdmf, seed), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := rand.New(rand.NewPCG(seed, 1))
					g := newGrid(t, 5)
					c := newClient(t, g, 2, 5)
					model := content(r.IntN(1_000_000))
					f := mustCreate(t, c, mdmf, model)
					for step := range 12 {
						p := make([]byte, r.IntN(1+[]int{10, 1000, 140_000, 400_000}[r.IntN(4)]))
						for i := range p {
							p[i] = byte(r.Uint32())
						}
						off := r.IntN(1 + len(model) + []int{0, 100, 300_000}[r.IntN(3)])
						switch r.IntN(4) {
						case 0: // at a border of segments
							off = off / 131_072 * 131_072
						case 1:
							off = len(model)
						}
						if err := f.WriteAt(t.Context(), p, int64(off), nil); err != nil {
							t.Fatalf("step %d: %d bytes at %d of %d: %v", step, len(p), off, len(model), err)
						}
						if len(p) > 0 {
							if need := off + len(p); need > len(model) {
								model = append(model, make([]byte, need-len(model))...)
							}
							copy(model[off:], p)
						}
						from, n := r.IntN(len(model)+1), r.IntN(300_000)
						var part bytes.Buffer
						if err := f.ReadRange(t.Context(), &part, int64(from), int64(n), nil); err != nil || !bytes.Equal(part.Bytes(), model[from:min(from+n, len(model))]) {
							t.Fatalf("step %d: reading %d at %d of %d: equal %v, %v", step, n, from, len(model), bytes.Equal(part.Bytes(), model[from:min(from+n, len(model))]), err)
						}
					}
					mustRead(t, mustOpen(t, newClient(t, g, 2, 5), f.write.Read()), model)
					for num, at := range g.held(t, f.o.si) {
						if len(at) != 1 {
							t.Errorf("share %d is on %d servers", num, len(at))
						}
					}
				})
			})
		}
	}
}

// An update in place sends what has changed, and a partial read fetches what
// was asked for.
func TestInPlaceIsSmall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 10)
		data := content(4 << 20)
		f := mustCreate(t, c, true, data)
		var read, wrote atomic.Int64
		count := func(n *atomic.Int64) faultstore.Fault {
			return faultstore.Fault{Corrupt: func(_ storage.ShareNum, p []byte, _ int64) { n.Add(int64(len(p))) }}
		}
		for _, s := range g.faults {
			s.Always(faultstore.ReadSlot, count(&read))
			s.Always(faultstore.TestAndWrite, count(&wrote))
		}
		before := g.calls(faultstore.ReadSlot)
		if err := f.WriteAt(t.Context(), []byte("changed"), 1<<20, nil); err != nil {
			t.Fatal(err)
		}
		copy(data[1<<20:], "changed")
		t.Logf("read %d bytes with %d calls, wrote %d", read.Load(), g.calls(faultstore.ReadSlot)-before, wrote.Load())
		limit := int64(10 * (44_000 + 6_000))
		if n := wrote.Load(); n == 0 || n > limit {
			t.Errorf("wrote %d bytes for a change of seven, more than %d", n, limit)
		}
		// The heads aside: a block from three and the hashes of ten.
		if n := g.calls(faultstore.ReadSlot) - before; n != 3+10 {
			t.Errorf("%d calls to read", n)
		}
		mustRead(t, f, data)
		read.Store(0)
		var part bytes.Buffer
		if err := f.ReadRange(t.Context(), &part, 3<<20, 10, nil); err != nil || !bytes.Equal(part.Bytes(), data[3<<20:3<<20+10]) {
			t.Fatalf("range: %q, %v", part.Bytes(), err)
		}
		if limit := int64(10*readHead + 3*50_000); read.Load() > limit {
			t.Errorf("read %d bytes for ten, more than %d", read.Load(), limit)
		}
	})
}
