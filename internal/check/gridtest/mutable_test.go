package gridtest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// protocols are what mutable files are tried over.
var protocols = []grid.Protocol{grid.GBS, grid.Foolscap}

// index is the storage index of a mutable file.
func index(t *testing.T, f *mutable.File) storage.Index {
	t.Helper()
	si, ok := caps.Index(f.Cap())
	if !ok {
		t.Fatal("no index")
	}
	return si
}

// Mutable files over the real protocols, on disks that are searched for
// secrets: made, read by others, changed, and changed in part.
func TestMutableAllWell(t *testing.T) {
	for _, p := range protocols {
		for _, mdmf := range []bool{false, true} {
			Run(t, Config{Disk: true, Servers: 5, Protocols: []grid.Protocol{p}}, func(t *testing.T, g *Grid) {
				data := Content(600_000)
				f := g.Client.MustMake(mdmf, data)
				other := g.NewClient("other")
				other.Servers.Wait(t.Context(), 5)
				write := f.Cap().(caps.SSK)
				other.MustRead(other.OpenMutable(write.Read()), data)
				if err := other.OpenMutable(write).WriteAt(t.Context(), []byte("hello"), 400_000, nil); err != nil {
					t.Fatalf("%s: %v", p, g.Heard(err))
				}
				copy(data[400_000:], "hello")
				if v := g.Client.MustRead(f, data); v.Seqnum != 2 {
					t.Errorf("%s: version %d", p, v.Seqnum)
				}
				small := Content(5000)
				if err := f.Overwrite(t.Context(), small, nil); err != nil {
					t.Fatalf("%s: %v", p, g.Heard(err)) // what was remembered was out of date
				}
				other.MustRead(other.OpenMutable(write.Read()), small)
				for num, at := range g.HeldMutable(index(t, f)) {
					for i, c := range at {
						if c.Seqnum != 3 || len(at) != 1 {
							t.Errorf("%s: share %d: version %d on server %d, of %d", p, num, c.Seqnum, i, len(at))
						}
					}
				}
				r, err := other.Mutable.Check(t.Context(), write.Read().Verifier(), mutable.CheckOptions{Verify: true}, nil)
				if err != nil || !r.Healthy() || r.Hosts() != 5 {
					t.Errorf("%s: %+v, %v", p, r, err)
				}
			})
		}
	}
}

// Over links of 150 ms one way, as through Tor, an operation on a small file
// takes as many round trips as it must once connections stand, over either
// protocol.
func TestMutableRoundTrips(t *testing.T) {
	const way = 150 * time.Millisecond
	for _, p := range protocols {
		Run(t, Config{Protocols: []grid.Protocol{p}, Link: memnet.Link{Latency: way}}, func(t *testing.T, g *Grid) {
			f := g.Client.MustMake(false, Content(10_000))
			other := g.NewClient("other")
			other.Servers.Wait(t.Context(), 10)
			write := f.Cap().(caps.SSK)
			reader, writer := other.OpenMutable(write.Read()), other.OpenMutable(write)
			trips := func(what string, want int, do func() error) {
				t.Helper()
				start := time.Now()
				if err := do(); err != nil {
					t.Fatalf("%s: %s: %v", p, what, g.Heard(err))
				}
				if took, limit := time.Since(start), time.Duration(2*want)*way+way/2; took > limit {
					t.Errorf("%s: %s took %v, more than %d round trips of %v", p, what, took, want, 2*way)
				}
			}
			read := func(f *mutable.File, size int) func() error {
				return func() error {
					got, _, err := f.Read(t.Context(), nil)
					if err == nil && !bytes.Equal(got, Content(size)) {
						err = errors.New("other contents")
					}
					return err
				}
			}
			overwrite := func(f *mutable.File, size int) func() error {
				return func() error { return f.Overwrite(t.Context(), Content(size), nil) }
			}
			trips("reading by a read cap", 1, read(reader, 10_000))
			trips("overwriting unseen", 2, overwrite(writer, 10_000))
			trips("overwriting again", 1, overwrite(writer, 10_001))
			time.Sleep(time.Minute)
			trips("reading by a write cap", 1, read(writer, 10_001))
			trips("overwriting what was read", 1, overwrite(writer, 10_002))
			trips("making", 1, func() error {
				_, err := other.Make(t.Context(), false, Content(10_000), nil)
				return err
			})
			trips("editing", 2, func() error {
				return writer.Modify(t.Context(), func(old []byte) ([]byte, error) { return append(bytes.Clone(old), 1), nil }, nil)
			})
		})
	}
}

// Servers that stop, hang, fall silent and lie are got over, and what they
// missed is made good.
func TestMutableFaults(t *testing.T) {
	for _, p := range protocols {
		Run(t, Config{Protocols: []grid.Protocol{p}}, func(t *testing.T, g *Grid) {
			f := g.Client.MustMake(false, Content(100_000))
			time.Sleep(time.Minute)
			g.Servers[0].Stop()
			g.Servers[1].Host.Fail(memnet.Hang)
			g.Servers[2].Faults.Always(faultstore.TestAndWrite, faultstore.Fault{Hang: true})
			g.Servers[3].Faults.Always(faultstore.TestAndWrite, faultstore.Fault{Corrupt: faultstore.FlipBit(3000)})
			for i := range 4 {
				within(t, fmt.Sprintf("%s: overwriting", p), 15*time.Second, func() {
					if err := f.Overwrite(t.Context(), Content(100_001+i), nil); err != nil {
						t.Fatalf("%s: %v", p, g.Heard(err))
					}
				})
				within(t, fmt.Sprintf("%s: reading", p), 5*time.Second, func() { g.Client.MustRead(f, Content(100_001+i)) })
			}
			g.Servers[0].Start()
			g.Servers[1].Host.Fail(memnet.None)
			for _, s := range g.Servers[2:4] {
				s.Faults.Always(faultstore.TestAndWrite, faultstore.Fault{})
			}
			time.Sleep(15 * time.Minute)
			if n := g.Client.Servers.Wait(t.Context(), 10); n != 10 {
				t.Fatalf("%s: %d servers are connected again", p, n)
			}
			for range 2 { // the first notices who is back
				if err := f.Repair(t.Context(), false, nil); err != nil {
					t.Fatalf("%s: %v", p, g.Heard(err))
				}
				time.Sleep(time.Minute)
			}
			r, err := g.Client.Mutable.Check(t.Context(), f.Cap(), mutable.CheckOptions{Verify: true}, nil)
			if err != nil || !r.Healthy() {
				t.Errorf("%s: after a repair: %s, %v, %v", p, r.Summary(), r.Servers, err)
			}
		})
	}
}
