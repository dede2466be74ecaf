package mutable

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
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

// Two change parts of one file in place at the same time, again and again, with
// servers of different speed, of which one is away at times: every change is
// there in the end.
func TestTwoInPlace(t *testing.T) {
	for seed := range uint64(2) {
		bubble(t, func(t *testing.T) {
			g := newGrid(t, 6)
			random := rand.New(rand.NewPCG(seed, 9))
			for _, s := range g.faults {
				delay := time.Duration(20+random.IntN(200)) * time.Millisecond
				s.Always(faultstore.TestAndWrite, faultstore.Fault{Delay: delay})
				s.Always(faultstore.ReadSlot, faultstore.Fault{Delay: delay})
			}
			want := content(1_000_000)
			first := mustCreate(t, newClient(t, g, 2, 6), true, want)
			end := time.Now().Add(10 * time.Minute)
			var mu sync.Mutex // guards want
			var writers sync.WaitGroup
			for w := range 2 {
				f, pace := mustOpen(t, newClient(t, g, 2, 6), *first.write), rand.New(rand.NewPCG(seed, uint64(w)))
				writers.Go(func() {
					for time.Now().Before(end) {
						at := 2*pace.IntN(450_000) + w // no two write the same byte
						p := []byte{byte(pace.Uint32())}
						if err := f.WriteAt(t.Context(), p, int64(at), nil); err == nil {
							mu.Lock()
							want[at] = p[0]
							mu.Unlock()
						} else if !isClash(err) {
							t.Errorf("writer %d: %v", w, err)
						} else if got, _, err := f.Read(t.Context(), nil); err == nil { // who knows
							mu.Lock()
							want[at] = got[at]
							mu.Unlock()
						}
						time.Sleep(time.Duration(pace.IntN(8_000)) * time.Millisecond)
					}
				})
			}
			writers.Go(func() {
				for time.Now().Before(end) {
					away := g.faults[random.IntN(6)]
					away.Vanish()
					time.Sleep(time.Duration(random.IntN(40)) * time.Second)
					away.Return()
					time.Sleep(time.Duration(random.IntN(40)) * time.Second)
				}
			})
			writers.Wait()
			got, v, err := first.Read(t.Context(), nil)
			if err != nil || len(got) != len(want) {
				t.Fatalf("read %d bytes: %v", len(got), err)
			}
			lost := 0
			for i := range want {
				if got[i] != want[i] {
					lost++
				}
			}
			if lost > 0 || v.Seqnum < 100 {
				t.Errorf("seed %d: %d of %d changes are lost", seed, lost, v.Seqnum)
			}
		})
	}
}
