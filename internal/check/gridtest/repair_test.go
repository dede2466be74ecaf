package gridtest

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// shareBytes reads each share of an object on each server, past the network.
func shareBytes(t *testing.T, g *Grid, si storage.Index) map[storage.ShareNum][][]byte {
	t.Helper()
	out := map[storage.ShareNum][][]byte{}
	for _, s := range g.Servers {
		held, err := s.Store.Shares(t.Context(), si)
		if err != nil {
			t.Fatal(err)
		}
		for num, r := range held {
			b := make([]byte, 4<<20)
			n, err := r.ReadAt(t.Context(), b, 0)
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			out[num] = append(out[num], b[:n])
		}
	}
	return out
}

// A file that has lost servers is made whole from its verify cap, by either
// protocol, among servers that hang, refuse and vanish.
func TestRepair(t *testing.T) {
	for _, by := range []grid.Protocol{grid.GBS, grid.Foolscap} {
		t.Run(string(by), func(t *testing.T) {
			Run(t, Config{Servers: 14, SegmentSize: 128 << 10, Protocols: []grid.Protocol{by}, Link: memnet.Link{Latency: 50 * time.Millisecond, Bandwidth: 1 << 20},
				Patience: immutable.Patience{Ask: 10 * time.Second}}, func(t *testing.T, g *Grid) {
				data := Content(3_000_000)
				_, cap := g.Client.MustPut(data)
				whole := shareBytes(t, g, cap.Index())
				var empty []*Server
				for _, s := range g.Servers {
					held, err := s.Store.Shares(t.Context(), cap.Index())
					if err != nil {
						t.Fatal(err)
					}
					if len(held) == 0 {
						empty = append(empty, s)
					}
					for num := range held {
						switch num {
						case 0, 3, 7: // lost
							s.Store.(*memstore.Store).Delete(cap.Index(), num)
						case 5: // damaged
							s.Store.(*memstore.Store).Change(cap.Index(), num, func(b []byte) { b[700_000] ^= 1 })
						}
					}
				}
				empty[0].Faults.Always(faultstore.Allocate, faultstore.Fault{Refuse: true})
				empty[1].Faults.Always(faultstore.Allocate, faultstore.Fault{Hang: true})
				empty[2].Stop()
				empty[3].Faults.Next(faultstore.WriteAt, faultstore.Fault{Err: storage.ErrNoSpace})
				mender := g.NewClient("mender")
				mender.Servers.Wait(t.Context(), 13)
				first := true
				for repairs := 0; ; repairs++ {
					r, err := mender.Repair(t.Context(), cap.Verifier(), immutable.CheckOptions{Verify: true}, nil)
					if err != nil || r.Err != nil || len(r.After.Corrupt) != 1 {
						t.Fatalf("%+v, %v", r, err)
					}
					if first && r.Before.Good() != 6 || r.After.Good() < 9 || repairs > 2 {
						t.Errorf("%d good, then %d: %v", r.Before.Good(), r.After.Good(), r.After.Servers)
					}
					if first = false; r.Successful() { // the one that had no space may cost a second
						break
					}
				}
				if r, err := mender.Repair(t.Context(), cap.Verifier(), immutable.CheckOptions{Verify: true}, nil); err != nil || r.Attempted || !r.Successful() {
					t.Errorf("once more: %+v, %v", r, err)
				}
				for num, copies := range shareBytes(t, g, cap.Index()) {
					if !slices.ContainsFunc(copies, func(b []byte) bool { return bytes.Equal(b, whole[num][0]) }) {
						t.Errorf("share %d is another", num)
					}
				}
				g.Client.MustGet(cap, data)
			})
		})
	}
}

// Servers that are lost in the middle of a repair cost no more than their
// shares, and what was begun there is gone.
func TestRepairPartition(t *testing.T) {
	Run(t, Config{Servers: 12, SegmentSize: 128 << 10, Link: memnet.Link{Latency: 50 * time.Millisecond, Bandwidth: 1 << 20}}, func(t *testing.T, g *Grid) {
		data := Content(6_000_000)
		_, cap := g.Client.MustPut(data)
		for _, s := range g.Servers {
			s.Store.(*memstore.Store).Delete(cap.Index(), 2)
			s.Store.(*memstore.Store).Delete(cap.Index(), 8)
		}
		cut := time.AfterFunc(1500*time.Millisecond, func() {
			for _, s := range g.Servers {
				g.Net.Partition("client", s.Name)
			}
		})
		defer cut.Stop()
		r, err := g.Client.Repair(t.Context(), cap.Verifier(), immutable.CheckOptions{}, nil)
		if err != nil || !r.Attempted || r.Successful() || r.Before.Good() != 8 {
			t.Errorf("%+v, %v", r, err)
		}
		for _, s := range g.Servers {
			g.Net.Heal("client", s.Name)
		}
		time.Sleep(40 * time.Minute)
		if n := len(g.Held(cap.Index())); n != 8 {
			t.Errorf("%d shares are there", n)
		}
		if r, err := g.Client.Repair(t.Context(), cap.Verifier(), immutable.CheckOptions{}, nil); err != nil || !r.Successful() {
			t.Errorf("then: %+v, %v", r, err)
		}
		g.Client.MustGet(cap, data)
	})
}
