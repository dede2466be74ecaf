package mutable

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"tahoe-go/internal/storage/faultstore"
)

// bubble runs f in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testKey(t, 0) // real work, outside
	synctest.Test(t, f)
}

// Files of many sizes are made, read, replaced, and read by their read caps.
func TestRoundTrip(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		for _, size := range []int{0, 1, 3, 100, 40_000, 131_072, 131_073, 500_000, 5 << 20} {
			t.Run(fmt.Sprintf("mdmf=%v/%d", mdmf, size), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newGrid(t, 10)
					c := newClient(t, g, 3, 10)
					f := mustCreate(t, c, mdmf, content(size))
					v := mustRead(t, f, content(size))
					if v.Seqnum != 1 || v.MDMF != mdmf || v.Size != int64(size) {
						t.Errorf("version %+v", v)
					}
					if err := f.Overwrite(t.Context(), content(size+7), nil); err != nil {
						t.Fatal(err)
					}
					other := newClient(t, g, 3, 10)
					r := mustOpen(t, other, f.write.Read())
					if v := mustRead(t, r, content(size+7)); v.Seqnum != 2 {
						t.Errorf("seqnum %d after an overwrite", v.Seqnum)
					}
					if err := r.Overwrite(t.Context(), nil, nil); !errors.Is(err, ErrNotWritable) {
						t.Errorf("overwriting by a read cap: %v", err)
					}
					w := mustOpen(t, other, *f.write)
					err := w.Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), "more"...), nil }, nil)
					if err != nil {
						t.Fatal(err)
					}
					want := append(content(size+7), "more"...)
					if v := mustRead(t, f, want); v.Seqnum != 3 {
						t.Errorf("seqnum %d after an edit", v.Seqnum)
					}
					var part bytes.Buffer
					if err := f.ReadRange(t.Context(), &part, int64(size/2), 20, nil); err != nil || !bytes.Equal(part.Bytes(), want[size/2:min(size/2+20, len(want))]) {
						t.Errorf("range: %q, %v", part.Bytes(), err)
					}
					for num, at := range g.held(t, f.o.si) {
						for server, seq := range at {
							if seq != 3 || len(at) != 1 {
								t.Errorf("share %d: version %d on server %d, on %d in all", num, seq, server, len(at))
							}
						}
					}
				})
			})
		}
	}
}

// A small file takes one round trip to make, one to read, and one to replace
// after that.
func TestRoundTrips(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 10)
		f := mustCreate(t, c, false, content(10_000))
		if w, r := g.calls(faultstore.TestAndWrite), g.calls(faultstore.ReadSlot); w != 10 || r != 0 {
			t.Errorf("creating took %d writes and %d reads", w, r)
		}
		mustRead(t, f, content(10_000))
		if r := g.calls(faultstore.ReadSlot); r != 10 {
			t.Errorf("reading took %d reads", r)
		}
		if err := f.Overwrite(t.Context(), content(10_001), nil); err != nil {
			t.Fatal(err)
		}
		if w, r := g.calls(faultstore.TestAndWrite), g.calls(faultstore.ReadSlot); w != 20 || r != 10 {
			t.Errorf("overwriting took %d writes and %d reads", w-10, r-10)
		}
		cold := mustOpen(t, newClient(t, g, 3, 10), *f.write)
		if err := cold.Overwrite(t.Context(), content(10_002), nil); err != nil {
			t.Fatal(err)
		}
		if w, r := g.calls(faultstore.TestAndWrite), g.calls(faultstore.ReadSlot); w != 30 || r != 20 {
			t.Errorf("overwriting by another client took %d writes and %d reads", w-20, r-10)
		}
	})
}
