package gridtest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/memnet"
)

// drop keeps the client from all servers for so long. Its connections are
// reset, as when its tor restarts; if silent they stand and carry nothing.
func (g *Grid) drop(d time.Duration, silent bool) {
	for _, s := range g.Servers {
		g.Net.Cut("client", s.Name)
		s.Host.Fail(memnet.Refuse)
		if silent {
			g.Net.Partition("client", s.Name)
		}
	}
	time.AfterFunc(d, func() {
		for _, s := range g.Servers {
			g.Net.Heal("client", s.Name)
			s.Host.Fail(memnet.None)
		}
		g.Client.Servers.Retry() // as a node does when its tor is back
	})
}

// What is done to a mutable file outlasts the loss of all connections, at
// whatever moment they go: it is done once, and every share is put right.
func TestMutableOutage(t *testing.T) {
	const way = 100 * time.Millisecond
	old := Content(300_000)
	changed := append(bytes.Clone(old), "more"...)
	add := func(old []byte) ([]byte, error) { return append(bytes.Clone(old), "more"...), nil }
	middle := bytes.Clone(old)
	copy(middle[200_000:], "changed")
	for _, p := range protocols {
		for _, op := range []struct {
			name    string
			mdmf    bool
			do      func(t *testing.T, f *mutable.File) error
			want    []byte
			moments []time.Duration // when the connections go
		}{
			{"read", false, func(t *testing.T, f *mutable.File) error {
				got, _, err := f.Read(t.Context(), nil)
				if err == nil && !bytes.Equal(got, old) {
					t.Error("other contents")
				}
				return err
			}, old, []time.Duration{way / 2, 3 * way / 2, 5 * way / 2}},
			{"read of a part", true, func(t *testing.T, f *mutable.File) error {
				var b bytes.Buffer
				err := f.ReadRange(t.Context(), &b, 100_000, 150_000, nil)
				if err == nil && !bytes.Equal(b.Bytes(), old[100_000:250_000]) {
					t.Error("other contents")
				}
				return err
			}, old, []time.Duration{way / 2, 3 * way / 2, 5 * way / 2}},
			{"overwrite", false, func(t *testing.T, f *mutable.File) error { return f.Overwrite(t.Context(), changed, nil) },
				changed, []time.Duration{way / 2, 3 * way / 2, 5 * way / 2, 7 * way / 2}},
			{"edit", false, func(t *testing.T, f *mutable.File) error { return f.Modify(t.Context(), add, nil) },
				changed, []time.Duration{way / 2, 3 * way / 2, 5 * way / 2, 7 * way / 2, 9 * way / 2, 11 * way / 2}},
			{"change in place", true, func(t *testing.T, f *mutable.File) error {
				return f.WriteAt(t.Context(), []byte("changed"), 200_000, nil)
			}, middle, []time.Duration{way / 2, 3 * way / 2, 5 * way / 2, 7 * way / 2, 9 * way / 2, 11 * way / 2}},
		} {
			for i := range 2 * len(op.moments) {
				moment, silent := op.moments[i/2], i%2 == 1
				t.Run(fmt.Sprintf("%s/%s/%v/silent=%v", p, op.name, moment, silent), func(t *testing.T) {
					Run(t, Config{Protocols: []grid.Protocol{p}, Link: memnet.Link{Latency: way},
						Patience: immutable.Patience{Stall: 15 * time.Second, Outage: 5 * time.Minute}}, func(t *testing.T, g *Grid) {
						f := g.Client.MustMake(op.mdmf, old)
						time.Sleep(time.Minute)
						time.AfterFunc(moment, func() { g.drop(20*time.Second, silent) })
						within(t, op.name, 2*time.Minute, func() {
							if err := op.do(t, f); err != nil {
								t.Fatalf("%v", g.Heard(err))
							}
						})
						time.Sleep(time.Minute)
						other := g.NewClient("other")
						other.Servers.Wait(t.Context(), 10)
						other.MustRead(other.OpenMutable(f.Cap().(caps.SSK).Read()), op.want)
						r, err := other.Mutable.Check(t.Context(), f.Cap(), mutable.CheckOptions{}, nil)
						if err != nil || !r.Healthy() || r.Happy() != 10 {
							t.Errorf("%s, %d servers, %v", r.Summary(), r.Happy(), err)
						}
					})
				})
			}
		}
	}
}

// A file that is being made when all connections go is made once they are
// back, with the shares that servers have taken before.
func TestMakingInOutage(t *testing.T) {
	for _, p := range protocols {
		for i := range 4 {
			moment, silent := time.Duration(50+100*(i/2))*time.Millisecond, i%2 == 1
			Run(t, Config{Protocols: []grid.Protocol{p}, Link: memnet.Link{Latency: 100 * time.Millisecond},
				Patience: immutable.Patience{Stall: 15 * time.Second, Outage: 5 * time.Minute}}, func(t *testing.T, g *Grid) {
				time.AfterFunc(moment, func() { g.drop(20*time.Second, silent) })
				data := Content(20_000)
				within(t, "making a file", 2*time.Minute, func() {
					f := g.Client.MustMake(false, data)
					time.Sleep(10 * time.Second)
					if v := g.Client.MustRead(f, data); v.Seqnum != 1 {
						t.Errorf("version %d", v.Seqnum)
					}
					r, err := g.Client.Mutable.Check(t.Context(), f.Cap(), mutable.CheckOptions{}, nil)
					if err != nil || !r.Healthy() {
						t.Errorf("%s after %v, silent %v: %s, %v", p, moment, silent, r.Summary(), err)
					}
				})
			})
		}
	}
}
