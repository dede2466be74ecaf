package mutable

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

func mustCheck(t *testing.T, c *Client, cap caps.Cap, o CheckOptions) *CheckResult {
	t.Helper()
	r, err := c.Check(t.Context(), cap, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every kind of ill is found, by every kind of cap, and a repair ends it.
func TestCheckAndRepair(t *testing.T) {
	ills := []struct {
		name    string
		verify  bool // found only so
		summary string
		harm    func(t *testing.T, g *testGrid, f *File)
	}{
		{"none", false, "Healthy", func(*testing.T, *testGrid, *File) {}},
		{"missing", false, "Not Healthy: version 2 has 9 shares (enc 3-of-10)", func(t *testing.T, g *testGrid, f *File) {
			g.stores[g.order(f.o.si)[4]].Delete(f.o.si, 4)
		}},
		{"stale", false, "Not Healthy: 1 versions cannot be rebuilt, version 2 has 8 shares (enc 3-of-10)", func(t *testing.T, g *testGrid, f *File) {
			for num, i := range g.order(f.o.si)[:2] {
				g.plant(t, f, i, storage.ShareNum(num), before[i][storage.ShareNum(num)])
			}
		}},
		{"newer", false, "Not Healthy: 1 versions cannot be rebuilt, version 1 has 8 shares (enc 3-of-10)", func(t *testing.T, g *testGrid, f *File) {
			for num, i := range g.order(f.o.si)[:8] {
				g.plant(t, f, i, storage.ShareNum(num), before[i][storage.ShareNum(num)])
			}
		}},
		{"a bit", true, "Not Healthy: version 2 has 9 shares (enc 3-of-10)", func(t *testing.T, g *testGrid, f *File) {
			g.stores[g.order(f.o.si)[3]].Change(f.o.si, 3, func(b []byte) { b[2500] ^= 1 })
		}},
		{"a header", false, "Not Healthy: version 2 has 9 shares (enc 3-of-10)", func(t *testing.T, g *testGrid, f *File) {
			g.stores[g.order(f.o.si)[3]].Change(f.o.si, 3, func(b []byte) { b[8] ^= 1 })
		}},
	}
	for _, mdmf := range []bool{false, true} {
		for _, ill := range ills {
			t.Run(ill.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newGrid(t, 10)
					c := newClient(t, g, 3, 10)
					f := mustCreate(t, c, mdmf, content(200_000))
					before = g.snapshot(t, f.o.si)
					if err := f.Overwrite(t.Context(), content(200_001), nil); err != nil {
						t.Fatal(err)
					}
					ill.harm(t, g, f)
					for _, cap := range []caps.Cap{*f.write, f.write.Read(), f.write.Read().Verifier()} {
						for _, verify := range []bool{false, true} {
							want := ill.summary
							if ill.verify && !verify {
								want = "Healthy"
							}
							r := mustCheck(t, newClient(t, g, 3, 10), cap, CheckOptions{Verify: verify})
							if r.Summary() != want || r.Healthy() != (want == "Healthy") || !r.Recoverable() || len(r.Responding()) != 10 {
								t.Errorf("%s, verify %v: %s, %+v", cap.Kind(), verify, r.Summary(), r)
							}
							if damaged := ill.name == "a bit" && verify || ill.name == "a header"; (len(r.Corrupt) == 1) != damaged {
								t.Errorf("%s, verify %v: damaged %v", cap.Kind(), verify, r.Corrupt)
							}
						}
					}
					want := content(200_001)
					err := f.Repair(t.Context(), false, nil)
					if e, ok := errors.AsType[*NewerError](err); ok != (ill.name == "newer") || ok && (e.Version.Seqnum != 1 || e.Newer.Seqnum != 2) {
						t.Errorf("repair: %v", err)
					} else if ok {
						want = content(200_000)
						err = f.Repair(t.Context(), true, nil)
					}
					if err != nil {
						t.Errorf("repair: %v", err)
					}
					if r := mustCheck(t, c, *f.write, CheckOptions{Verify: true}); !r.Healthy() || r.Happy() != 10 || r.Hosts() != 10 || r.Wrong() != 0 {
						t.Errorf("after the repair: %s, %+v", r.Summary(), r)
					}
					mustRead(t, f, want)
				})
			})
		}
	}
}

// before is what the servers held before the last overwrite; for the ills.
var before []map[storage.ShareNum][]byte

// A check waits for servers that are slow, and tells of those that hang.
func TestCheckServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 10)
		f := mustCreate(t, c, false, content(100))
		order := g.order(f.o.si)
		for _, m := range []faultstore.Method{faultstore.ReadSlot, faultstore.TestAndWrite} {
			g.faults[order[0]].Always(m, faultstore.Fault{Delay: 10 * time.Second})
			g.faults[order[1]].Always(m, faultstore.Fault{Hang: true})
		}
		time.Sleep(40 * 24 * time.Hour)
		r := mustCheck(t, c, f.write.Read(), CheckOptions{AddLease: true})
		if r.Good() != 9 || len(r.Responding()) != 9 || slices.Contains(r.Responding(), g.peers[order[1]].ID) || r.Servers[1].Err == nil {
			t.Errorf("%+v", r)
		}
		for i, num := range []storage.ShareNum{0, 2} {
			leases := g.stores[order[num]].Leases(f.o.si, num)
			if len(leases) != 1 {
				t.Errorf("share %d has %d leases", num, len(leases))
			}
			for _, l := range leases {
				if l.Expires.Before(time.Now().Add(30 * 24 * time.Hour)) {
					t.Errorf("lease %d was not renewed: it ends %v", i, l.Expires)
				}
			}
		}
		if _, err := c.Check(t.Context(), caps.NewLIT([]byte("x")), CheckOptions{}, nil); err == nil {
			t.Error("a LIT cap was checked")
		}
		if got, _, err := f.Read(t.Context(), nil); err != nil || !bytes.Equal(got, content(100)) {
			t.Error(err)
		}
	})
}

// A share that was damaged and is mended, as by who restores the server's disk,
// is good again once it is verified.
func TestMendedShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		c := newClient(t, g, 3, 5)
		f := mustCreate(t, c, false, content(50_000))
		flip := func() { g.stores[g.order(f.o.si)[1]].Change(f.o.si, 1, func(b []byte) { b[3000] ^= 1 }) }
		check := func(o CheckOptions, good int) {
			t.Helper()
			if r := mustCheck(t, c, *f.write, o); r.Good() != good {
				t.Errorf("%+v: %s, %v", o, r.Summary(), r.Corrupt)
			}
		}
		flip()
		check(CheckOptions{}, 5)
		check(CheckOptions{Verify: true}, 4)
		check(CheckOptions{}, 4)
		flip()
		check(CheckOptions{Verify: true}, 5)
		check(CheckOptions{}, 5)
	})
}
