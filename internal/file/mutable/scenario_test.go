package mutable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// snapshot copies all shares of a file, by server.
func (g *testGrid) snapshot(t *testing.T, si storage.Index) []map[storage.ShareNum][]byte {
	t.Helper()
	out := make([]map[storage.ShareNum][]byte, len(g.stores))
	for i, m := range g.stores {
		shares, err := m.ReadSlot(context.Background(), si, nil, []storage.Span{{Len: 30 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		out[i] = map[storage.ShareNum][]byte{}
		for num, pieces := range shares {
			out[i][num] = pieces[0]
		}
	}
	return out
}

// plant puts a share on a server, whatever is there.
func (g *testGrid) plant(t *testing.T, f *File, server int, num storage.ShareNum, data []byte) {
	t.Helper()
	length := int64(len(data))
	_, err := g.stores[server].TestAndWrite(context.Background(), f.o.si, f.writeEnabler(g.peers[server]), f.c.leaseSecrets(f.o.si, g.peers[server]),
		map[storage.ShareNum]storage.SlotWrite{num: {Writes: []storage.SlotPatch{{Data: data}}, NewLength: &length}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// only fails the test unless all shares there are of one version and complete.
func (g *testGrid) only(t *testing.T, f *File, seqnum uint64, n int) {
	t.Helper()
	held := g.held(t, f.o.si)
	if len(held) != n {
		t.Errorf("%d shares are there, want %d", len(held), n)
	}
	for num, at := range held {
		for server, seq := range at {
			if seq != seqnum {
				t.Errorf("share %d on server %d is of version %d, want %d", num, server, seq, seqnum)
			}
		}
	}
}

// The shares that the reference made are read, by every kind of cap, and
// written over in place.
func TestGolden(t *testing.T) {
	dir := filepath.Join("..", "..", "format", "ssk", "testdata")
	text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Files []struct {
			Name, Cap string
			K, N      int
			Seqnum    uint64
			Size      int
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Files) == 0 {
		t.Fatalf("golden files: %v", err)
	}
	for _, gf := range doc.Files {
		t.Run(gf.Name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cap, err := caps.Parse(gf.Cap)
				if err != nil {
					t.Fatal(err)
				}
				g := newGrid(t, 5)
				f := mustOpen(t, newClient(t, g, gf.K, gf.N), cap)
				names, _ := filepath.Glob(filepath.Join(dir, "shares", gf.Name, "*"))
				for _, name := range names {
					num, err := strconv.Atoi(filepath.Base(name))
					if err != nil {
						t.Fatal(err)
					}
					share, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					g.plant(t, f, num%5, storage.ShareNum(num), share)
				}
				got, v, err := f.Read(t.Context(), nil)
				if err != nil || len(got) != gf.Size || v.Seqnum != gf.Seqnum {
					t.Fatalf("%d bytes of version %d: %v; want %d of %d", len(got), v.Seqnum, err, gf.Size, gf.Seqnum)
				}
				mustRead(t, mustOpen(t, newClient(t, g, gf.K, gf.N), f.write.Read()), got)
				if err := f.Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), "and more"...), nil }, nil); err != nil {
					t.Fatal(err)
				}
				mustRead(t, mustOpen(t, newClient(t, g, 1, 1), f.write.Read()), append(got, "and more"...))
				g.only(t, f, gf.Seqnum+1, gf.N)
			})
		})
	}
}

// Two writers, unknown to each other, add to one file for an hour, while a
// server or two is away now and then. Nothing that was reported as done is
// lost, and next to nothing is in twice.
func TestTwoWritersForAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		r := rand.New(rand.NewPCG(7, 7))
		for _, s := range g.faults {
			delay := time.Duration(20+r.IntN(200)) * time.Millisecond
			s.Always(faultstore.TestAndWrite, faultstore.Fault{Delay: delay})
			s.Always(faultstore.ReadSlot, faultstore.Fault{Delay: delay})
		}
		first := mustCreate(t, newClient(t, g, 3, 10), false, nil)
		end := time.Now().Add(time.Hour)
		var mu sync.Mutex // guards below
		done, failed := map[string]bool{}, 0
		var writers sync.WaitGroup
		for w := range 2 {
			f := mustOpen(t, newClient(t, g, 3, 10), *first.write)
			pace := rand.New(rand.NewPCG(uint64(w), 3))
			writers.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					line := fmt.Sprintf("%d/%d\n", w, i)
					err := f.Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), line...), nil }, nil)
					mu.Lock()
					if err == nil {
						done[line] = true
					} else if failed++; !isClash(err) {
						t.Errorf("writer %d: %v", w, err)
					}
					mu.Unlock()
					time.Sleep(time.Duration(pace.IntN(12_000)) * time.Millisecond)
				}
			})
		}
		writers.Go(func() {
			for time.Now().Before(end) {
				away := g.faults[r.IntN(10)]
				away.Vanish()
				time.Sleep(time.Duration(r.IntN(60)) * time.Second)
				away.Return()
				time.Sleep(time.Duration(r.IntN(30)) * time.Second)
			}
		})
		writers.Wait()
		text, v, err := first.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for line := range strings.Lines(string(text)) {
			count[line]++
		}
		twice := 0
		for line := range done {
			twice += max(0, count[line]-1)
			if count[line] == 0 {
				t.Errorf("%q was reported as written and is not there", line)
			}
		}
		if failed*20 > len(done) || len(done) < 300 {
			t.Errorf("%d edits came through, %d did not", len(done), failed)
		}
		if twice*100 > len(done) {
			t.Errorf("%d of %d edits were made twice", twice, len(done))
		}
		t.Logf("%d edits, %d given up, %d made twice, version %d", len(done), failed, twice, v.Seqnum)
	})
}

func isClash(err error) bool {
	_, ok := errors.AsType[*UncoordinatedError](err)
	return ok
}

// Servers that bring back shares of the version before do not win over those
// that have the newest, and are put right by the next write. A reader waits
// for 2k of the N servers, so of N-2k it may not hear.
func TestStaleShares(t *testing.T) {
	for _, stale := range []int{1, 5} {
		t.Run(fmt.Sprint(stale), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 10)
				f := mustCreate(t, newClient(t, g, 3, 10), false, content(50_000))
				old := g.snapshot(t, f.o.si)
				if err := f.Overwrite(t.Context(), content(50_001), nil); err != nil {
					t.Fatal(err)
				}
				for _, i := range g.order(f.o.si)[:stale] {
					for num, data := range old[i] {
						g.plant(t, f, i, num, data)
					}
				}
				for _, cap := range []caps.Cap{*f.write, f.write.Read()} {
					mustRead(t, mustOpen(t, newClient(t, g, 3, 10), cap), content(50_001))
				}
				if err := mustOpen(t, newClient(t, g, 3, 10), *f.write).Overwrite(t.Context(), content(9), nil); err != nil {
					t.Fatal(err)
				}
				g.only(t, f, 3, 10)
				mustRead(t, f, content(9))
			})
		})
	}
}

// A client that has seen a version does not take an older one for the newest
// without a word, though every server offers it.
func TestRollback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		f := mustCreate(t, newClient(t, g, 3, 10), false, content(100))
		old := g.snapshot(t, f.o.si)
		if err := f.Overwrite(t.Context(), content(101), nil); err != nil {
			t.Fatal(err)
		}
		restore := func(servers []int) {
			for _, i := range servers {
				for num, data := range old[i] {
					g.plant(t, f, i, num, data)
				}
			}
		}
		restore(g.order(f.o.si)[:7]) // those left are just enough, and the last to be asked
		told := 0
		tr := &Trace{Older: func(v, newer ssk.Version, have int) {
			if told++; v.Seqnum != 1 || newer.Seqnum != 2 {
				t.Errorf("told of version %d instead of %d", v.Seqnum, newer.Seqnum)
			}
		}}
		if got, _, err := f.Read(t.Context(), tr); err != nil || len(got) != 101 || told != 0 {
			t.Errorf("read %d bytes, %v, told %d times of an older version", len(got), err, told)
		}
		restore(g.order(f.o.si)[7:])
		if got, _, err := f.Read(t.Context(), tr); err != nil || len(got) != 100 || told != 1 {
			t.Errorf("read %d bytes, %v, told %d times of an older version", len(got), err, told)
		}
	})
}

// Fewer than k shares of the newest version: the one before is read, with a
// word, and a new version goes above both.
func TestTooFewOfTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		f := mustCreate(t, newClient(t, g, 3, 10), false, content(100))
		old := g.snapshot(t, f.o.si)
		if err := f.Overwrite(t.Context(), content(101), nil); err != nil {
			t.Fatal(err)
		}
		for _, i := range g.order(f.o.si)[2:] {
			for num, data := range old[i] {
				g.plant(t, f, i, num, data)
			}
			// A reader need not hear of two servers of ten: let it.
			g.faults[i].Always(faultstore.TestAndWrite, faultstore.Fault{Delay: time.Millisecond})
		}
		var told []int
		tr := &Trace{Older: func(v, newer ssk.Version, have int) { told = append(told, int(v.Seqnum), int(newer.Seqnum), have) }}
		other := mustOpen(t, newClient(t, g, 3, 10), *f.write)
		got, v, err := other.Read(t.Context(), tr)
		if err != nil || !bytes.Equal(got, content(100)) || v.Seqnum != 1 || !slices.Equal(told, []int{1, 2, 2}) {
			t.Errorf("read %d bytes of version %d, %v, told %v", len(got), v.Seqnum, err, told)
		}
		if err := other.Overwrite(t.Context(), content(102), nil); err != nil {
			t.Fatal(err)
		}
		g.only(t, f, 3, 10)
		mustRead(t, f, content(102))
	})
}

// Enough shares of the newest version, but too many are damaged where only
// reading shows it: the one before is read.
func TestNewestIsDamaged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		f := mustCreate(t, newClient(t, g, 3, 10), false, content(100_000))
		old := g.snapshot(t, f.o.si)
		if err := f.Overwrite(t.Context(), content(100_001), nil); err != nil {
			t.Fatal(err)
		}
		order := g.order(f.o.si)
		for _, i := range order[:4] {
			for num, data := range old[i] {
				g.plant(t, f, i, num, data)
			}
		}
		for _, i := range order[4:8] {
			for num := range old[i] {
				g.stores[i].Change(f.o.si, num, func(b []byte) { b[5000] ^= 1 })
			}
		}
		for _, cap := range []caps.Cap{*f.write, f.write.Read()} {
			told := 0
			tr := &Trace{Older: func(v, newer ssk.Version, have int) { told = have }}
			other := mustOpen(t, newClient(t, g, 3, 10), cap)
			got, v, err := other.Read(t.Context(), tr)
			if err != nil || !bytes.Equal(got, content(100_000)) || v.Seqnum != 1 || told != 2 {
				t.Errorf("read %d bytes of version %d, told of %d shares of a newer one: %v", len(got), v.Seqnum, told, err)
			}
		}
		if err := f.Overwrite(t.Context(), content(5), nil); err != nil {
			t.Fatal(err)
		}
		g.only(t, f, mustRead(t, f, content(5)).Seqnum, 10)
	})
}

// A publish that dies in the middle loses nothing: the old version or the new
// is there, and the next write puts all right.
func TestFailureInMidPublish(t *testing.T) {
	for reached := range 11 {
		t.Run(fmt.Sprint(reached), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 10)
				f := mustCreate(t, newClient(t, g, 3, 10), false, content(100))
				mustRead(t, f, content(100))
				for _, i := range g.order(f.o.si)[reached:] {
					g.faults[i].Always(faultstore.TestAndWrite, faultstore.Fault{Err: errors.New("it breaks")})
				}
				err := f.Overwrite(t.Context(), content(101), nil)
				if (err == nil) != (reached >= 1) { // ten shares fit on any server
					t.Errorf("overwriting with %d servers: %v", reached, err)
				}
				for _, s := range g.faults {
					s.Always(faultstore.TestAndWrite, faultstore.Fault{})
				}
				want := content(100)
				if err == nil {
					want = content(101)
				}
				other := mustOpen(t, newClient(t, g, 3, 10), *f.write)
				if reached == 0 || reached > 4 { // else a reader need not hear of it
					mustRead(t, other, want)
				}
				mustRead(t, f, want) // who knows of a version asks on
				if err := other.Overwrite(t.Context(), content(102), nil); err != nil {
					t.Fatal(err)
				}
				g.only(t, f, mustRead(t, f, content(102)).Seqnum, 10)
			})
		})
	}
}

// Shares that are damaged, forged or of another file are skipped, reported
// and replaced.
func TestDamagedShares(t *testing.T) {
	bubble(t, func(t *testing.T) {
		testKey(t, 1)
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 10)
		f := mustCreate(t, c, false, content(50_000))
		si := f.o.si
		alien, err := ssk.Encode(t.Context(), ssk.Config{Key: testKey(t, 1), K: 3, N: 10, Seqnum: 9, Random: c.c.Random}, bytes.NewReader(content(50_000)), 50_000)
		if err != nil {
			t.Fatal(err)
		}
		order := g.order(si)
		num := func(i int) storage.ShareNum { // the share on server i
			for n := range g.snapshot(t, si)[i] {
				return n
			}
			t.Fatalf("server %d holds nothing", i)
			return 0
		}
		change := func(i int, how func([]byte)) { g.stores[i].Change(si, num(i), how) }
		change(order[0], func(b []byte) { b[8] = 200 })                    // a sequence number nobody signed
		change(order[1], func(b []byte) { b[107+292+3] ^= 1 })             // the signature
		change(order[2], func(b []byte) { b[120] ^= 1 })                   // the public key
		g.plant(t, f, order[3], num(order[3]), alien.Share(num(order[3]))) // another file's
		change(order[4], func(b []byte) { b[3000] ^= 1 })                  // a block
		g.plant(t, f, order[5], num(order[5]), []byte("short"))            // no share at all
		for _, cap := range []caps.Cap{*f.write, f.write.Read()} {
			mustRead(t, mustOpen(t, newClient(t, g, 3, 10), cap), content(50_000))
		}
		synctest.Wait()
		reported := 0
		for i, m := range g.stores {
			if n := len(m.Reports()); n > 0 {
				reported++
				if !slices.Contains(order[:6], i) || n > 2 {
					t.Errorf("%d reports to server %d", n, i)
				}
			}
		}
		// The second and third are of a version that other shares have proven,
		// the fifth may have been read by nobody.
		if reported < 3 {
			t.Errorf("%d of at least three damaged shares were reported", reported)
		}
		if err := mustOpen(t, newClient(t, g, 3, 10), *f.write).Overwrite(t.Context(), content(70), nil); err != nil {
			t.Fatal(err)
		}
		g.only(t, f, 2, 10)
		mustRead(t, f, content(70))
	})
}

// With too few good shares the error says what there is.
func TestUnrecoverable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		f := mustCreate(t, newClient(t, g, 3, 10), false, content(100))
		for _, i := range g.order(f.o.si)[2:] {
			for num := range g.snapshot(t, f.o.si)[i] {
				g.stores[i].Delete(f.o.si, num)
			}
		}
		for _, cap := range []caps.Cap{*f.write, f.write.Read()} {
			_, _, err := mustOpen(t, newClient(t, g, 3, 10), cap).Read(t.Context(), nil)
			if e, ok := errors.AsType[*UnrecoverableError](err); !ok || e.Shares != 2 || e.Need != 3 || e.Servers != 10 || len(e.Reports) != 10 {
				t.Errorf("%v", err)
			}
		}
		// Two shares are enough to write a new version: the key is in each.
		if err := f.Overwrite(t.Context(), content(101), nil); err != nil {
			t.Error(err)
		}
		g.only(t, f, mustRead(t, f, content(101)).Seqnum, 10)
		if _, err := newClient(t, &testGrid{}, 3, 10).Create(t.Context(), CreateOptions{Key: testKey(t, 0)}, nil, nil); err == nil || !strings.Contains(err.Error(), "no storage server") {
			t.Errorf("creating without servers: %v", err)
		}
	})
}

// Full servers are passed over, and one that holds the file under another
// write enabler is named.
func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 0)
		for i := range 10 {
			conf := memstore.Config{}
			if i < 6 {
				conf.Capacity = 1
			}
			g.add(t, conf)
		}
		c := newClient(t, g, 3, 10)
		f := mustCreate(t, c, false, content(1000))
		g.only(t, f, 1, 10)
		mustRead(t, f, content(1000))

		bad := &storage.BadWriteEnablerError{NodeID: [20]byte{9}}
		for _, s := range g.faults {
			s.Always(faultstore.TestAndWrite, faultstore.Fault{Err: bad})
		}
		err := f.Overwrite(t.Context(), nil, nil)
		e, ok := errors.AsType[*storage.BadWriteEnablerError](err)
		if !ok || e.NodeID != bad.NodeID || !strings.Contains(err.Error(), "nodeid") {
			t.Errorf("overwriting: %v", err)
		}
		mustRead(t, mustOpen(t, newClient(t, g, 3, 10), *f.write), content(1000)) // reading goes on
	})
}

// A file of a key that is in use is not made again over what is there.
func TestCreateTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		f := mustCreate(t, newClient(t, g, 3, 10), false, content(100))
		_, err := newClient(t, g, 3, 10).Create(t.Context(), CreateOptions{Key: testKey(t, 0)}, nil, nil)
		if e, ok := errors.AsType[*UncoordinatedError](err); !ok || len(e.Seen) != 1 || e.Seen[0].Seqnum != 1 {
			t.Errorf("creating again: %v", err)
		}
		mustRead(t, f, content(100))
	})
}

// Servers join and leave between surveys; the file follows.
func TestServersComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 6)
		f := mustCreate(t, newClient(t, g, 2, 6), true, content(300_000))
		r := rand.New(rand.NewPCG(5, 5))
		size := 300_000
		for round := range 20 {
			switch {
			case round%5 == 4:
				g.add(t, memstore.Config{})
			default:
				away := g.faults[r.IntN(len(g.faults))]
				away.Vanish()
				defer away.Return()
				if round%2 == 1 {
					for _, s := range g.faults {
						s.Return()
					}
				}
			}
			if r.IntN(2) == 0 {
				time.Sleep(time.Minute)
			}
			size++
			if err := f.Overwrite(t.Context(), content(size), nil); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			mustRead(t, mustOpen(t, newClient(t, g, 2, 6), f.write.Read()), content(size))
		}
	})
}

// The answer to a write is lost: the share is there, and counts.
func TestLostAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		f := mustCreate(t, newClient(t, g, 3, 10), false, content(100))
		for _, s := range g.faults {
			s.Next(faultstore.TestAndWrite, faultstore.Fault{Late: true, Err: errors.New("connection reset")})
		}
		if err := f.Overwrite(t.Context(), content(101), nil); err != nil {
			t.Fatal(err)
		}
		g.only(t, f, 2, 10)
	})
}

// Writers in one client wait for each other and never collide.
func TestTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		for _, s := range g.faults {
			s.Always(faultstore.TestAndWrite, faultstore.Fault{Delay: 100 * time.Millisecond})
		}
		c := newClient(t, g, 3, 10)
		f := mustCreate(t, c, false, nil)
		var writers sync.WaitGroup
		for i := range 10 {
			writers.Go(func() {
				err := mustOpen(t, c, *f.write).Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), byte(i)), nil }, nil)
				if err != nil {
					t.Error(err)
				}
			})
		}
		start := time.Now()
		writers.Wait()
		if took := time.Since(start); took > 2100*time.Millisecond {
			t.Errorf("ten edits took %v", took)
		}
		got, v, err := f.Read(t.Context(), nil)
		if slices.Sort(got); err != nil || !bytes.Equal(got, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) || v.Seqnum != 11 {
			t.Errorf("%v, version %d, %v", got, v.Seqnum, err)
		}
	})
}

// Keys are made ahead, as many as are kept and no more: not while somebody who
// took one is at work, unless there is none left.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		k := NewKeys(KeysConfig{Keep: 3, Generate: func() (*ssk.PrivateKey, error) { made.Add(1); return nil, nil }})
		synctest.Wait()
		if made.Load() != 3 {
			t.Errorf("%d keys were made ahead", made.Load())
		}
		take := func(n int) {
			for range n {
				if _, err := k.Get(t.Context()); err != nil {
					t.Error(err)
				}
			}
			synctest.Wait()
		}
		take(1)
		time.Sleep(400 * time.Millisecond) // of the bubble
		take(1)
		time.Sleep(400 * time.Millisecond)
		if made.Load() != 3 {
			t.Errorf("%d keys were made while those who took two are at work", made.Load())
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if made.Load() != 5 {
			t.Errorf("%d keys were made when two had been taken", made.Load())
		}
		take(3)
		if made.Load() != 6 {
			t.Errorf("%d keys were made when all had been taken; want one more at once", made.Load())
		}
		k.Close()
		k.Close()
		if _, err := k.Get(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
