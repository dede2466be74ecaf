package mutable

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/storage"
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

// Each operation on a small file takes as many calls to each server as it
// must: one to make it, one to read it, one to replace it after that, two for
// somebody who has not looked at it.
func TestCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		for _, s := range g.faults {
			s.Always(faultstore.TestAndWrite, faultstore.Fault{Delay: time.Second})
			s.Always(faultstore.ReadSlot, faultstore.Fault{Delay: time.Second})
		}
		c := newClient(t, g, 3, 10)
		var f *File
		trips := func(what string, want, perServer int, do func()) {
			t.Helper()
			before, start := g.calls(faultstore.TestAndWrite)+g.calls(faultstore.ReadSlot), time.Now()
			do()
			took, n := time.Since(start), g.calls(faultstore.TestAndWrite)+g.calls(faultstore.ReadSlot)-before
			if took != time.Duration(want)*time.Second || n > 10*perServer {
				t.Errorf("%s took %v and %d calls to ten servers; want %d s and at most %d", what, took, n, want, 10*perServer)
			}
		}
		overwrite := func(f *File, data []byte) {
			if err := f.Overwrite(t.Context(), data, nil); err != nil {
				t.Fatal(err)
			}
		}
		modify := func(f *File) {
			if err := f.Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), 1), nil }, nil); err != nil {
				t.Fatal(err)
			}
		}
		trips("creating", 1, 1, func() { f = mustCreate(t, c, false, content(10_000)) })
		trips("overwriting what was just made", 1, 1, func() { overwrite(f, content(10_001)) })
		time.Sleep(time.Minute)
		trips("reading", 1, 1, func() { mustRead(t, f, content(10_001)) })
		trips("overwriting what was just read", 1, 1, func() { overwrite(f, content(10_000)) })
		trips("reading with another's read cap", 1, 1, func() { mustRead(t, mustOpen(t, newClient(t, g, 3, 10), f.write.Read()), content(10_000)) })
		cold := mustOpen(t, newClient(t, g, 3, 10), *f.write)
		trips("overwriting unseen", 2, 2, func() { overwrite(cold, content(10_001)) })
		time.Sleep(time.Minute)
		trips("overwriting long after", 2, 2, func() { overwrite(cold, content(10_002)) })
		trips("editing", 2, 2, func() { modify(cold) })
	})
}

// Two servers of ten hang: nobody waits for them to read, and a writer waits
// once.
func TestHungServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 10)
		f := mustCreate(t, c, false, content(10_000))
		time.Sleep(time.Minute)
		hung := g.order(f.o.si)[:2]
		for _, i := range hung {
			g.faults[i].Always(faultstore.TestAndWrite, faultstore.Fault{Hang: true})
			g.faults[i].Always(faultstore.ReadSlot, faultstore.Fault{Hang: true})
		}
		for i, want := range []time.Duration{2 * time.Second, time.Second / 4, time.Second / 4} {
			start := time.Now()
			mustRead(t, f, content(10_000+i))
			if took := time.Since(start); took != 0 {
				t.Errorf("reading waited %v for servers that hang", took)
			}
			start = time.Now()
			if err := f.Overwrite(t.Context(), content(10_001+i), nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("write %d waited %v for servers that hang, want %v", i, took, want)
			}
			time.Sleep(time.Minute)
		}
		// All ten shares of the last version are somewhere, and where they came
		// back what is stale goes with the next write.
		for _, i := range hung {
			g.faults[i].Always(faultstore.TestAndWrite, faultstore.Fault{})
			g.faults[i].Always(faultstore.ReadSlot, faultstore.Fault{})
		}
		time.Sleep(time.Minute)
		for range 2 { // the first has them noticed
			if err := f.Overwrite(t.Context(), content(1), nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		v := mustRead(t, f, content(1))
		held := g.held(t, f.o.si)
		if len(held) != 10 {
			t.Errorf("%d shares", len(held))
		}
		for num, at := range held {
			for server, seq := range at {
				if seq != v.Seqnum {
					t.Errorf("share %d on server %d is of version %d, not %d", num, server, seq, v.Seqnum)
				}
			}
		}
	})
}

// Servers that are slow, all or some, are written to all the same, right
// after a read that did not wait for them.
func TestSlowServers(t *testing.T) {
	for _, slow := range []int{3, 7, 10} {
		bubble(t, func(t *testing.T) {
			g := newGrid(t, 10)
			f := mustCreate(t, newClient(t, g, 3, 10), false, content(10_000))
			time.Sleep(time.Minute)
			for i, server := range g.order(f.o.si) {
				delay := 100 * time.Millisecond
				if i < slow {
					delay = 1500 * time.Millisecond // longer than a hedge
				}
				g.faults[server].Always(faultstore.TestAndWrite, faultstore.Fault{Delay: delay})
			}
			for i := range 3 {
				mustRead(t, f, content(10_000+i))
				if err := f.Overwrite(t.Context(), content(10_001+i), nil); err != nil {
					t.Fatal(err)
				}
				g.only(t, f, uint64(2+i), 10)
				time.Sleep(time.Minute)
			}
		})
	}
}

// A server that no grid manager vouches for is given no share that it does not
// hold; what it holds is kept up to date.
func TestNoNewShares(t *testing.T) {
	g := newGrid(t, 5)
	c := newClient(t, g, 1, 5)
	f := mustCreate(t, c, false, []byte("one"))
	si := f.o.si
	shareAt := func(server int) storage.ShareNum {
		for num, at := range g.held(t, si) {
			if _, ok := at[server]; ok {
				return num
			}
		}
		t.Fatalf("server %d holds nothing", server)
		return 0
	}
	lost := shareAt(1)
	g.stores[0].Delete(si, shareAt(0))
	g.stores[1].Delete(si, lost)
	g.peers[0].NoNewShares, g.peers[2].NoNewShares = true, true
	again := mustOpen(t, newClient(t, g, 1, 5), *f.write) // which remembers nothing
	if err := again.Overwrite(t.Context(), []byte("two"), nil); err != nil {
		t.Fatal(err)
	}
	shares := 0
	for num, at := range g.held(t, si) {
		shares++
		if _, ok := at[0]; ok {
			t.Errorf("share %d is new at a server that gets none", num)
		}
		for server, seqnum := range at {
			if seqnum != 2 {
				t.Errorf("share %d on server %d is of version %d", num, server, seqnum)
			}
		}
	}
	if kept := shareAt(2); shares != 5 {
		t.Errorf("%d shares; server 2 kept %d", shares, kept)
	}
}
