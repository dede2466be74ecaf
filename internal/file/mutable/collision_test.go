package mutable

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"tahoe-go/internal/storage"
)

// some hands out the servers that keep names.
type some struct {
	*testGrid
	keep func(storage.Peer) bool
}

func (s some) ForUpload(si storage.Index) []storage.Peer {
	return slices.DeleteFunc(s.testGrid.ForUpload(si), func(p storage.Peer) bool { return !s.keep(p) })
}

func (s some) ForRead(si storage.Index) []storage.Peer { return s.ForUpload(si) }

// A writer that has met nobody, because a server was away for it, is told that
// its change is stored; the other, which has reached that server alone, with
// shares enough, meets it. Both changes are there in the end, whichever of the
// two versions counts as the newer.
func TestRivalMetNobody(t *testing.T) {
	add := func(line string) func([]byte) ([]byte, error) {
		return func(old []byte) ([]byte, error) { return append(bytes.Clone(old), line...), nil }
	}
	for try := range 8 { // which is the newer is a matter of chance
		t.Run(fmt.Sprint(try), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 2)
				f := mustCreate(t, newClient(t, g, 2, 4), false, nil)
				first := g.order(f.o.si)[0]
				lucky := mustOpen(t, newClient(t, some{g, func(p storage.Peer) bool { return p.ID == g.peers[first].ID }}, 2, 4), *f.write)
				calls := 0
				err := f.Modify(t.Context(), func(old []byte) ([]byte, error) {
					if calls++; calls == 1 {
						if err := lucky.Modify(t.Context(), add("lucky\n"), nil); err != nil {
							t.Errorf("who meets nobody: %v", err)
						}
					}
					return add("other\n")(old)
				}, nil)
				if err != nil {
					t.Errorf("who meets somebody: %v", err)
				}
				got, _, err := mustOpen(t, newClient(t, g, 2, 4), *f.write).Read(t.Context(), nil)
				if err != nil || string(got) != "lucky\nother\n" {
					t.Errorf("the file holds %q: %v", got, err)
				}
			})
		})
	}
}

// A version that this client has written, and that servers have taken back or
// lost, is not undone by building on the one before.
func TestNotBuiltOnOlder(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			g := newGrid(t, 10)
			f := mustCreate(t, newClient(t, g, 3, 10), mdmf, content(300_000))
			old := g.snapshot(t, f.o.si)
			if err := f.Overwrite(t.Context(), content(300_001), nil); err != nil {
				t.Fatal(err)
			}
			for i := range g.stores {
				for num, data := range old[i] {
					g.plant(t, f, i, num, data)
				}
			}
			for what, err := range map[string]error{
				"edit":           f.Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), 1), nil }, nil),
				"write at":       f.WriteAt(t.Context(), []byte("x"), 10, nil),
				"write past end": f.WriteAt(t.Context(), []byte("x"), 400_000, nil),
				"repair":         f.Repair(t.Context(), false, nil),
			} {
				if e, ok := errors.AsType[*NewerError](err); !ok || e.Version.Seqnum != 1 || e.Newer.Seqnum != 2 {
					t.Errorf("%s: %v", what, err)
				}
			}
			g.only(t, f, 1, 10)
			if err := f.Overwrite(t.Context(), content(5), nil); err != nil { // that is meant to undo all
				t.Fatal(err)
			}
			g.only(t, f, 3, 10)
		})
	}
}

// Nothing signs the private key in a share: one that is wrong is passed over.
func TestDamagedKeys(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		for i := range 4 {
			size, good := []int{100, 300_000}[i/2], []int{0, 9}[i%2]
			t.Run(fmt.Sprintf("mdmf=%v/%d/%d", mdmf, size, good), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newGrid(t, 10)
					f := mustCreate(t, newClient(t, g, 3, 10), mdmf, content(size))
					for num, i := range g.order(f.o.si) {
						if num == good {
							continue
						}
						g.stores[i].Change(f.o.si, storage.ShareNum(num), func(b []byte) {
							at := 200
							if !mdmf {
								at = len(b) - 1
							}
							b[at] ^= 1
						})
					}
					other := mustOpen(t, newClient(t, g, 3, 10), *f.write)
					if err := other.Overwrite(t.Context(), content(size+1), nil); err != nil {
						t.Fatal(err)
					}
					g.only(t, f, 2, 10)
					mustRead(t, f, content(size+1))
				})
			})
		}
	}
}
