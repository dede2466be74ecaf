package immutable

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

func TestCheckHealthy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		_, cap := mustUpload(t, c, content(30_000))
		for _, o := range []CheckOptions{{}, {Verify: true}, {Verify: true, AddLease: true}} {
			r, err := c.Check(t.Context(), cap.Verifier(), o, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Healthy() || !r.Recoverable() || r.Good() != 10 || r.Hosts() != 10 || r.Happy() != 10 || len(r.Responding()) != 10 ||
				len(r.Corrupt) != 0 || r.Summary() != "Healthy" || r.Verified != o.Verify {
				t.Errorf("%+v: %+v", o, r)
			}
		}
	})
}

// Without Verify servers are asked and no share is read.
func TestCheckReadsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		_, cap := mustUpload(t, c, content(30_000))
		if _, err := c.Check(t.Context(), cap.Verifier(), CheckOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		for i, f := range g.faults {
			if f.Calls(faultstore.ReadAt) != 0 || f.Calls(faultstore.AddLease) != 0 {
				t.Errorf("server %d: %d reads, %d leases", i, f.Calls(faultstore.ReadAt), f.Calls(faultstore.AddLease))
			}
		}
	})
}

func TestCheckFindsDamage(t *testing.T) {
	gone := errors.New("gone")
	for _, tt := range []struct {
		name       string
		do         func(g *testGrid)
		verify     bool
		good       int // shares
		corrupt    int
		reported   int // to servers
		responding int
		summary    string
	}{
		{"bit believed", func(g *testGrid) {
			g.always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(1000)}, 0, 1)
		},
			false, 10, 0, 0, 10, "Healthy"},
		{"bit found", func(g *testGrid) {
			g.always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(1000)}, 0, 1)
		},
			true, 8, 2, 2, 10, "Not Healthy: 8 shares (enc 3-of-10)"},
		{"header", func(g *testGrid) { g.always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(3)}, 2) },
			true, 9, 1, 1, 10, "Not Healthy: 9 shares (enc 3-of-10)"},
		{"no answer", func(g *testGrid) { g.always(faultstore.Shares, faultstore.Fault{Err: gone}, 0, 1, 2, 3, 4, 5, 6, 7) },
			false, 2, 0, 0, 2, "Not Healthy: 2 shares (enc 3-of-10)"},
		{"hangs", func(g *testGrid) { g.always(faultstore.Shares, faultstore.Fault{Hang: true}, 4) },
			false, 9, 0, 0, 9, "Not Healthy: 9 shares (enc 3-of-10)"},
		{"hangs in a share", func(g *testGrid) { g.always(faultstore.ReadAt, faultstore.Fault{Hang: true}, 4) },
			true, 9, 0, 0, 10, "Not Healthy: 9 shares (enc 3-of-10)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 10)
				c := newClient(t, g, 3, 7, 10)
				_, cap := mustUpload(t, c, content(30_000))
				tt.do(g)
				start := time.Now()
				r, err := c.Check(t.Context(), cap.Verifier(), CheckOptions{Verify: tt.verify}, nil)
				if err != nil {
					t.Fatal(err)
				}
				reported := 0
				for _, f := range g.faults {
					reported += f.Calls(faultstore.ReportCorrupt)
				}
				if r.Good() != tt.good || len(r.Corrupt) != tt.corrupt || reported != tt.reported ||
					len(r.Responding()) != tt.responding || r.Summary() != tt.summary || r.Recoverable() != (tt.good >= 3) {
					t.Errorf("%d good, %d corrupt, %d reported, %d responding, %s, recoverable %v", r.Good(), len(r.Corrupt), reported, len(r.Responding()), r.Summary(), r.Recoverable())
				}
				if took := time.Since(start); took > time.Minute+time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// All shares on two servers: the file is whole, and no happier than that.
func TestCheckHappiness(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 2)
		c := newClient(t, g, 1, 1, 4)
		_, cap := mustUpload(t, c, content(5000))
		r, err := c.Check(t.Context(), cap.Verifier(), CheckOptions{AddLease: true}, nil)
		if err != nil || !r.Healthy() || r.Happy() != 2 || r.Hosts() != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		for i, f := range g.faults {
			if f.Calls(faultstore.AddLease) != 1 {
				t.Errorf("server %d: %d leases", i, f.Calls(faultstore.AddLease))
			}
		}
		for num, on := range r.Sharemap {
			if !slices.IsSorted(on) || len(on) == 0 || int(num) >= 4 {
				t.Errorf("share %d on %v", num, on)
			}
		}
	})
}

func TestCheckNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		_, cap := mustUpload(t, newClient(t, g, 3, 5, 5), content(5000))
		r, err := newClient(t, &testGrid{}, 3, 5, 5).Check(t.Context(), cap.Verifier(), CheckOptions{Verify: true}, nil)
		if err != nil || r.Healthy() || r.Recoverable() || r.Good() != 0 || r.Happy() != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// A share with a number the file does not have counts for nothing.
func TestCheckStrayShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 3)
		c := newClient(t, g, 2, 3, 3)
		_, cap := mustUpload(t, c, content(5000))
		a, err := g.stores[0].Allocate(t.Context(), cap.Index(), []storage.ShareNum{9}, 1, storage.LeaseSecrets{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Writers[9].WriteAt(t.Context(), []byte{1}, 0); err != nil {
			t.Fatal(err)
		}
		if err := a.Writers[9].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, verify := range []bool{false, true} {
			r, err := c.Check(t.Context(), cap.Verifier(), CheckOptions{Verify: verify}, nil)
			if err != nil || !r.Healthy() || r.Good() != 3 || len(r.Corrupt) != 0 {
				t.Errorf("verify %v: %+v, %v", verify, r, err)
			}
		}
	})
}
