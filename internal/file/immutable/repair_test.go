package immutable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// spot is one server's copy of a share.
type spot struct {
	server int
	num    storage.ShareNum
}

// all reads every share that lies on a server.
func (g *testGrid) all(t *testing.T, si storage.Index) map[spot][]byte {
	t.Helper()
	out := map[spot][]byte{}
	for i, m := range g.stores {
		shares, err := m.Shares(t.Context(), si)
		if err != nil {
			t.Fatal(err)
		}
		for num, r := range shares {
			b, err := io.ReadAll(io.NewSectionReader(readerAt{t, r}, 0, 1<<40))
			if err != nil {
				t.Fatal(err)
			}
			out[spot{i, num}] = b
		}
	}
	return out
}

// readerAt reads a share without a context of its own.
type readerAt struct {
	t *testing.T
	storage.ShareReader
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return r.ShareReader.ReadAt(r.t.Context(), p, off)
}

// lose takes the shares with these numbers away, wherever they are.
func (g *testGrid) lose(si storage.Index, nums ...storage.ShareNum) {
	for _, m := range g.stores {
		for _, num := range nums {
			m.Delete(si, num)
		}
	}
}

// damage flips a bit of the shares with these numbers.
func (g *testGrid) damage(si storage.Index, off int, nums ...storage.ShareNum) {
	for _, m := range g.stores {
		for _, num := range nums {
			m.Change(si, num, func(b []byte) { b[off] ^= 1 })
		}
	}
}

// refuse has the servers without a share of si take none.
func (g *testGrid) refuse(t *testing.T, si storage.Index, f faultstore.Fault) {
	t.Helper()
	there := g.all(t, si)
	for i := range g.stores {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(there)), func(p spot) bool { return p.server == i }) {
			g.faults[i].Always(faultstore.Allocate, f)
		}
	}
}

func TestRepair(t *testing.T) {
	data := content(30_000)
	broken := errors.New("the disk has died")
	for _, tt := range []struct {
		name          string
		servers       int
		do            func(t *testing.T, g *testGrid, si storage.Index)
		verify        bool
		before, after int // good shares
		attempted     bool
		corrupt       int // shares that stay damaged
		refused       int // servers with an error
		most          int // shares on one server
	}{
		{name: "nothing lost", servers: 10, do: func(*testing.T, *testGrid, storage.Index) {}, before: 10, after: 10, most: 1},
		{name: "one lost", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) { g.lose(si, 4) },
			before: 9, after: 10, attempted: true, most: 1},
		{name: "as many as can be", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) { g.lose(si, 0, 1, 2, 3, 5, 7, 9) },
			verify: true, before: 3, after: 10, attempted: true, most: 1},
		{name: "too many", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) { g.lose(si, 0, 1, 2, 3, 4, 5, 6, 7) },
			before: 2, after: 2, most: 1},
		{name: "all", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		}, verify: true, before: 0, after: 0},
		{name: "damaged", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) { g.damage(si, 500, 2, 6) },
			verify: true, before: 8, after: 10, attempted: true, corrupt: 2, most: 2},
		{name: "damaged, and nobody looks", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) { g.damage(si, 500, 2, 6) },
			before: 10, after: 10, most: 1},
		{name: "damage found while reading", servers: 12, do: func(t *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 5, 6, 7, 8, 9)
			g.damage(si, 5000, 1, 3)
			for p := range g.all(t, si) { // who has a damaged share answers first, and is read
				if p.num != 1 && p.num != 3 {
					g.always(faultstore.Shares, faultstore.Fault{Delay: 10 * time.Millisecond}, p.server)
				}
			}
		}, before: 5, after: 10, attempted: true, corrupt: 2, most: 2},
		{name: "too much of it", servers: 12, do: func(_ *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 5, 6, 7, 8, 9)
			g.damage(si, 5000, 1, 3, 4)
		}, before: 5, after: 2, attempted: true, corrupt: 3, most: 1},
		{name: "few servers", servers: 3, do: func(_ *testing.T, g *testGrid, si storage.Index) { g.lose(si, 0, 1, 2, 3, 4, 5, 6) },
			before: 3, after: 10, attempted: true, most: 4},
		{name: "some refuse", servers: 14, do: func(t *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 4, 5)
			g.refuse(t, si, faultstore.Fault{Refuse: true})
		}, before: 8, after: 10, attempted: true, refused: 6, most: 2},
		{name: "some fail", servers: 14, do: func(t *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 4, 5)
			g.refuse(t, si, faultstore.Fault{Err: broken})
		}, verify: true, before: 8, after: 10, attempted: true, refused: 6, most: 2},
		{name: "all refuse", servers: 12, do: func(t *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 4, 5)
			g.always(faultstore.Allocate, faultstore.Fault{Refuse: true}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
		}, before: 8, after: 8, attempted: true, refused: 12, most: 1},
		{name: "all fail while they are sent to", servers: 12, do: func(t *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 4, 5)
			g.always(faultstore.WriteAt, faultstore.Fault{Err: broken}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
		}, before: 8, after: 8, attempted: true, refused: 2, most: 1},
		{name: "servers that do not answer", servers: 12, do: func(t *testing.T, g *testGrid, si storage.Index) {
			g.lose(si, 4)
			n := 0
			for p := range g.all(t, si) {
				if p.num < 3 {
					g.always(faultstore.Shares, faultstore.Fault{Hang: true}, p.server)
					n++
				}
			}
		}, verify: true, before: 6, after: 10, attempted: true, refused: 3, most: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, tt.servers)
				c := newClient(t, g, 3, min(7, tt.servers), 10)
				_, cap := mustUpload(t, c, data)
				si := cap.Index()
				whole := map[storage.ShareNum][]byte{}
				for p, b := range g.all(t, si) {
					whole[p.num] = b
				}
				tt.do(t, g, si)
				was := g.all(t, si)
				// Other parameters than those of the file do not matter.
				r, err := newClient(t, g, 2, 3, 4).Repair(t.Context(), cap.Verifier(), CheckOptions{Verify: tt.verify}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if r.Before.Good() != tt.before || r.After.Good() != tt.after || r.Attempted != tt.attempted || r.Successful() != (tt.after == 10) || len(r.After.Corrupt) != tt.corrupt {
					t.Errorf("%d good, then %d, attempted %v, %v damaged, %v", r.Before.Good(), r.After.Good(), r.Attempted, r.After.Corrupt, r.Err)
				}
				refused := 0
				for _, s := range r.After.Servers {
					if s.Err != nil && damage(s.Err) == "" {
						refused++
					}
				}
				if refused != tt.refused {
					t.Errorf("%d servers have errors: %v", refused, r.After.Servers)
				}
				load := map[int]int{}
				for p, b := range g.all(t, si) {
					load[p.server]++
					if old := was[p]; old != nil {
						if !bytes.Equal(b, old) {
							t.Errorf("share %d on server %d was changed", p.num, p.server)
						}
						continue
					}
					if !bytes.Equal(b, whole[p.num]) {
						t.Errorf("share %d on server %d is another", p.num, p.server)
					}
				}
				for i, n := range load {
					if n > tt.most {
						t.Errorf("server %d has %d shares", i, n)
					}
				}
				if tt.after == 10 {
					mustRead(t, c, cap, data)
				}
			})
		})
	}
}

// The second repair has nothing to do, whether one waits for the other or not.
func TestRepairTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 12)
		c := newClient(t, g, 3, 7, 10)
		_, cap := mustUpload(t, c, content(30_000))
		g.lose(cap.Index(), 1, 2, 3)
		g.damage(cap.Index(), 1000, 7)
		var both sync.WaitGroup
		attempts := make(chan bool, 3)
		again := func() {
			r, err := c.Repair(t.Context(), cap.Verifier(), CheckOptions{Verify: true, AddLease: true}, nil)
			if err != nil || !r.Successful() || r.Err != nil {
				t.Errorf("%+v, %v", r, err)
				return
			}
			attempts <- r.Attempted
		}
		both.Go(again)
		both.Go(again)
		both.Wait()
		again()
		close(attempts)
		n := 0
		for did := range attempts {
			if did {
				n++
			}
		}
		if shares := len(g.all(t, cap.Index())); n != 1 || shares != 11 { // the damaged one is still there
			t.Errorf("%d repairs, %d shares", n, shares)
		}
	})
}

// What makes other shares than the cap's stores nothing.
func TestRepairMismatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 12)
		c := newClient(t, g, 3, 7, 10)
		_, cap := mustUpload(t, c, content(30_000))
		g.lose(cap.Index(), 4, 5)
		was := g.all(t, cap.Index())
		check, err := c.Check(t.Context(), cap.Verifier(), CheckOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := newRepair(c, check, nil)
		f, err := c.openCiphertext(cap.Verifier(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := f.ReadRange(t.Context(), &text, 0, f.Size(), nil); err != nil {
			t.Fatal(err)
		}
		if r.enc, err = f.chk.Again(0, 0); err != nil {
			t.Fatal(err)
		}
		p := r.newPlacement(g.ForUpload(cap.Index()))
		p.holdings, p.damaged = check.holdings(), r.damaged
		if err := p.settle(t.Context(), 10); err != nil || len(p.writers) != 2 {
			t.Fatalf("%d writers, %v", len(p.writers), err)
		}
		text.Bytes()[29_000] ^= 1
		if _, err := r.push(t.Context(), p, &text); !errors.Is(err, chk.ErrBadEncoding) {
			t.Errorf("%v", err)
		}
		if now := g.all(t, cap.Index()); len(now) != len(was) {
			t.Errorf("%d shares, now %d", len(was), len(now))
		}
		if r, err := c.Repair(t.Context(), cap.Verifier(), CheckOptions{}, nil); err != nil || !r.Successful() {
			t.Errorf("then: %+v, %v", r, err)
		}
	})
}

// Memory holds a few segments, never the file: the reading waits for the
// servers that take shares.
func TestRepairStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 11)
		c := newClient(t, g, 3, 7, 10)
		const size = 40 << 20
		_, cap := mustUpload(t, c, content(size))
		g.lose(cap.Index(), 4)
		g.always(faultstore.WriteAt, faultstore.Fault{Delay: 10 * time.Second}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		var mu sync.Mutex
		var fetched, pushed, most int64
		tr := &Trace{
			Block: func(_ string, _ storage.ShareNum, _ int64, n int, _ time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				fetched += int64(n)
				most = max(most, fetched-3*pushed)
			},
			Pushed: func(_ string, _ storage.ShareNum, n int) {
				mu.Lock()
				defer mu.Unlock()
				pushed += int64(n)
			},
		}
		r, err := c.Repair(t.Context(), cap.Verifier(), CheckOptions{}, tr)
		if err != nil || !r.Successful() {
			t.Fatalf("%+v, %v", r, err)
		}
		if bound := int64(lanes+1)*3*batch + (ahead+1)*chunkFile; most > bound || fetched < size {
			t.Errorf("%d bytes were under way, of %d", most, fetched)
		}
	})
}

func TestRepairCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 11)
		c := newClient(t, g, 3, 7, 10)
		_, cap := mustUpload(t, c, content(3_000_000))
		g.lose(cap.Index(), 4)
		g.always(faultstore.WriteAt, faultstore.Fault{Hang: true}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		stop := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, stop)
		defer cancel()
		if r, err := c.Repair(ctx, cap.Verifier(), CheckOptions{}, nil); !errors.Is(err, stop) {
			t.Errorf("%+v, %v", r, err)
		}
		if held := g.held(t, cap.Index()); len(held) != 9 {
			t.Errorf("%v", held)
		}
	})
}

func TestRepairNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, err := newClient(t, &testGrid{}, 3, 5, 5).Repair(t.Context(), caps.CHKVerifier{K: 3, N: 10, Size: 5000}, CheckOptions{}, nil)
		if err != nil || r.Attempted || r.Successful() || r.After != r.Before {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Files of others may be encoded in ways that take any amount of memory.
func TestRepairAffordable(t *testing.T) {
	for _, tt := range []struct {
		p        chk.Params
		size     int64
		few, bad bool
	}{
		{p: chk.Params{K: 3, N: 10}, size: 1 << 40},
		{p: chk.Params{K: 1, N: 256}, size: 1 << 30, few: true},
		{p: chk.Params{K: 3, N: 10, SegmentSize: 64 << 20}, size: 1 << 40, few: true},
		{p: chk.Params{K: 1, N: 256, SegmentSize: 2 << 20}, size: 1 << 30, bad: true},
		{p: chk.Params{K: 1, N: 256, SegmentSize: 128 << 20}, size: 1 << 20, few: true}, // it has one of a MiB
		{p: chk.Params{K: 1, N: 256, SegmentSize: 1}, size: 1 << 20, bad: true},
		{p: chk.Params{K: 3, N: 10}, size: 1 << 43, bad: true},
	} {
		l, err := chk.NewLayout(tt.p, tt.size)
		if err != nil {
			t.Fatal(err)
		}
		inFlight, err := affordable(l)
		if (err != nil) != tt.bad || (inFlight > 0) != tt.few || err != nil && !errors.Is(err, chk.ErrUnsupported) {
			t.Errorf("%+v, %d bytes: %d in flight, %v", tt.p, tt.size, inFlight, err)
		}
	}
}
