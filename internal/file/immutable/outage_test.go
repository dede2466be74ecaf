package immutable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// An upload that loses its servers in the middle goes on when they are back:
// where it stopped if that is soon, from its start if not, and from its start
// too if they have forgotten it. Nothing is left behind, and what a server had
// in full is not sent again.
func TestOutageInMidUpload(t *testing.T) {
	away := func(g *testGrid, d time.Duration, servers ...int) {
		for _, i := range servers {
			g.faults[i].Vanish()
		}
		time.AfterFunc(d, func() {
			for _, i := range servers {
				g.faults[i].Return()
			}
		})
	}
	forget := func(g *testGrid) {
		restarted := faultstore.Fault{Err: fmt.Errorf("no such upload: %w", storage.ErrNotFound)}
		for _, f := range g.faults {
			f.Always(faultstore.WriteAt, restarted)
		}
		time.AfterFunc(time.Second, func() {
			g.always(faultstore.WriteAt, faultstore.Fault{}, 0, 1, 2, 3)
		})
	}
	for _, tt := range []struct {
		name      string
		strike    func(*testGrid)
		allocated int // how often each server was asked for room
		aborted   bool
		most      time.Duration
	}{
		{"short", func(g *testGrid) { away(g, 20*time.Second, 0, 1, 2, 3) }, 1, false, 25 * time.Second},
		{"long", func(g *testGrid) { away(g, 4*time.Minute, 0, 1, 2, 3) }, 0, true, 5 * time.Minute},
		{"two of four, long", func(g *testGrid) { away(g, 4*time.Minute, 0, 1) }, 0, true, 6 * time.Minute},
		{"forgotten", forget, 2, true, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 4)
				c := newClient(t, g, 3, 4, 4)
				c.c.Patience.Outage = 5 * time.Minute
				data := content(9_000_000)
				once := false
				tr := &Trace{Encoded: func(done, total int64) {
					if !once && done > total/2 {
						once = true
						tt.strike(g)
					}
				}}
				start := time.Now()
				res, err := c.Upload(t.Context(), source(data), tr)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > tt.most {
					t.Errorf("took %v, want at most %v", took, tt.most)
				}
				if res.Happy != 4 || res.Pushed+res.Existing != 4 {
					t.Errorf("result %+v", res)
				}
				aborted := 0
				for i, f := range g.faults {
					if n := f.Calls(faultstore.Allocate); tt.allocated > 0 && n != tt.allocated {
						t.Errorf("server %d was asked for room %d times, want %d", i, n, tt.allocated)
					}
					aborted += f.Calls(faultstore.Abort)
				}
				if (aborted > 0) != tt.aborted {
					t.Errorf("%d aborts were sent", aborted)
				}
				_, cap := mustUpload(t, c, data)
				mustRead(t, c, cap, data)
			})
		})
	}
}

// The wait has an end, and a no is taken for one.
func TestOutageEnds(t *testing.T) {
	gone := errors.New("connection reset")
	for _, tt := range []struct {
		name        string
		outage      time.Duration
		err         error
		least, most time.Duration
	}{
		{"not asked for", 0, gone, 0, time.Second},
		{"for good", 5 * time.Minute, gone, 5 * time.Minute, 7 * time.Minute},
		{"refused", 5 * time.Minute, fmt.Errorf("the server answered 401: %w", storage.ErrRefused), 0, time.Second},
		{"full", 5 * time.Minute, storage.ErrNoSpace, 0, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 4)
				c := newClient(t, g, 3, 4, 4)
				c.c.Patience.Outage = tt.outage
				g.always(faultstore.WriteAt, faultstore.Fault{Err: tt.err}, 0, 1, 2, 3)
				g.always(faultstore.Abort, faultstore.Fault{Err: gone}, 0, 1, 2, 3)
				start := time.Now()
				_, err := c.Upload(t.Context(), source(content(20_000)), nil)
				if _, ok := errors.AsType[*UnhappyError](err); !ok {
					t.Errorf("error %v, want an UnhappyError", err)
				}
				if took := time.Since(start); took < tt.least || took > tt.most {
					t.Errorf("gave up after %v, want %v to %v", took, tt.least, tt.most)
				}
			})
		})
	}
}

// Servers that have not heard of an abort refuse the share to everyone: they
// are told again before the next attempt.
func TestAbortIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 4)
		c := newClient(t, g, 3, 4, 4)
		c.c.Patience.Outage = 10 * time.Minute
		data := content(20_000)
		gone := faultstore.Fault{Err: errors.New("connection reset")}
		for _, f := range g.faults {
			f.Always(faultstore.WriteAt, gone)
			f.Always(faultstore.Abort, gone)
		}
		time.AfterFunc(3*time.Minute, func() {
			g.always(faultstore.WriteAt, faultstore.Fault{}, 0, 1, 2, 3)
			g.always(faultstore.Abort, faultstore.Fault{}, 0, 1, 2, 3)
		})
		_, cap := mustUpload(t, c, data)
		mustRead(t, c, cap, data)
		synctest.Wait()
	})
}

// A caller that leaves during the wait is not kept.
func TestOutageCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 4)
		c := newClient(t, g, 3, 4, 4)
		c.c.Patience.Outage = time.Hour
		for _, f := range g.faults {
			f.Vanish()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := c.Upload(ctx, source(content(20_000)), nil); err == nil {
			t.Error("an upload to nobody succeeded")
		}
		if took := time.Since(start); took > time.Minute+5*time.Second {
			t.Errorf("the caller was kept for %v", took)
		}
	})
}

// Servers that take some bytes and then always fail end the upload in bounded
// time.
func TestServersThatAlwaysFailInMidShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		c.c.Patience.Outage = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		for i := range g.faults {
			g.faults[i].Next(faultstore.WriteAt, mostlyFailing(20_000)...)
		}
		_, err := c.Upload(ctx, source(content(9_000_000)), nil)
		if err == nil || ctx.Err() != nil {
			t.Errorf("upload ended with %v, after the day: %v", err, ctx.Err())
		}
	})
}

// mostlyFailing lets one write in fifty pass.
func mostlyFailing(n int) []faultstore.Fault {
	faults := make([]faultstore.Fault, n)
	for i := range faults {
		if i%50 != 0 {
			faults[i] = faultstore.Fault{Err: errors.New("connection reset")}
		}
	}
	return faults
}

// apart hands out one server only while it is cut off from the others.
type apart struct {
	*testGrid
	cut atomic.Bool
}

func (a *apart) ForRead(si storage.Index) []storage.Peer {
	peers := a.testGrid.ForRead(si)
	if a.cut.Load() {
		return peers[:1]
	}
	return peers
}

// A download that has lost all servers but one goes on when the others are
// back, though the one says only what it has, and nobody else says anything.
func TestOutageOfAllButOne(t *testing.T) {
	for _, tt := range []struct {
		name string
		back bool
		most time.Duration
	}{
		{"they come back", true, 40 * time.Second},
		{"for good", false, 7 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := &apart{testGrid: newGrid(t, 4)}
				c := newClient(t, g, 2, 4, 4)
				c.c.Patience.Outage = 5 * time.Minute
				data := content(9_000_000)
				_, cap := mustUpload(t, c, data)
				f, err := c.Open(cap)
				if err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				once := false
				w := writerFunc(func(p []byte) (int, error) {
					// Early, so that not all is under way yet.
					if !once && got.Len() > 0 {
						once = true
						g.cut.Store(true)
						for _, f := range g.faults {
							f.Vanish()
						}
						first := g.testGrid.ForRead(cap.Index())[0]
						g.faults[slices.IndexFunc(g.peers, func(p storage.Peer) bool { return p.ID == first.ID })].Return()
						time.AfterFunc(30*time.Second, func() {
							for _, f := range g.faults {
								f.Return()
							}
							g.cut.Store(!tt.back)
						})
					}
					return got.Write(p)
				})
				start := time.Now()
				err = f.ReadRange(t.Context(), w, 0, cap.Size, nil)
				if took := time.Since(start); took > tt.most {
					t.Errorf("took %v, want at most %v", took, tt.most)
				}
				_, missing := errors.AsType[*NotEnoughSharesError](err)
				if tt.back && (err != nil || !bytes.Equal(got.Bytes(), data)) || !tt.back && !missing {
					t.Errorf("read %d of %d bytes: %v", got.Len(), len(data), err)
				}
			})
		})
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
