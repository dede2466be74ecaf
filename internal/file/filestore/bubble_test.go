package filestore

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/check/gridtest"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/memnet"
)

// tripTime is a round trip on the grid of these tests.
const tripTime = 200 * time.Millisecond

// onGrid makes a node's store on a grid in memory.
func onGrid(t *testing.T, g *gridtest.Grid, c *gridtest.Client) *Store {
	t.Helper()
	lease := "lease secret for mutables of " + c.Host.Name()
	g.Secret("lease secret", lease)
	m, err := mutable.New(mutable.Config{Servers: c.Servers, K: 2, N: 4, LeaseSecret: redact.New(lease), Log: g.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	dirs := directory.New(directory.Config{Mutable: m, Immutable: c.Client, Convergence: redact.New("convergence")})
	return New(Config{Immutable: c.Client, Mutable: m, Directories: dirs})
}

// trips runs f and returns how many round trips it took, rounded.
func trips(f func()) int {
	start := time.Now()
	f()
	return int((time.Since(start) + tripTime/2) / tripTime)
}

// warm has connections opened, enough for what comes: only that is measured.
func warm(t *testing.T, s *Store, cap caps.Dir) {
	t.Helper()
	root, err := s.c.Directories.Open(cap)
	if err != nil {
		t.Fatal(err)
	}
	path := []string{"w", "a", "r", "m"}
	if _, err := s.Mkdirs(t.Context(), root, path, directory.CreateOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.List(t.Context(), cap, path, nil); err != nil {
		t.Fatal(err)
	}
}

// A path takes one round trip a level the first time, and one in all later.
// What somebody else changes is seen at once all the same.
func TestRoundTrips(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 4, K: 2, Happy: 2, N: 4, Link: memnet.Link{Latency: tripTime / 2}}, func(t *testing.T, g *gridtest.Grid) {
		second := g.NewClient("second")
		second.Servers.Wait(t.Context(), 4)
		mine, theirs := onGrid(t, g, g.Client), onGrid(t, g, second)
		path := []string{"a", "b", "c"}
		cap, err := mine.c.Directories.Create(t.Context(), directory.CreateOptions{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		root, err := mine.c.Directories.Open(cap)
		if err != nil {
			t.Fatal(err)
		}
		warm(t, mine, cap)
		warm(t, theirs, cap)
		var c *directory.Directory
		// Fetch the root, store the new ones and survey the root, link.
		if n := trips(func() { c, err = mine.Mkdirs(t.Context(), root, path, directory.CreateOptions{}, nil) }); err != nil || n > 3 {
			t.Errorf("mkdir a/b/c took %d round trips: %v", n, err)
		}
		list := func(s *Store, wantTrips int, wantNames ...string) {
			t.Helper()
			var found Found
			var table *dirtable.Table
			n := trips(func() { found, table, err = s.List(t.Context(), cap, path, nil) })
			if err != nil {
				t.Fatal(g.Heard(err))
			}
			var names []string
			for name := range table.All() {
				names = append(names, name)
			}
			if n != wantTrips || !slices.Equal(names, wantNames) {
				t.Errorf("%d round trips, want %d; names %q, want %q; found %v", n, wantTrips, names, wantNames, found.Node.Cap())
			}
		}
		list(mine, 1) // it has just been there
		list(theirs, 4)
		list(theirs, 1)
		if _, err := c.Set(t.Context(), "new", dirtable.Child{Read: caps.NewLIT([]byte("x"))}, nil, dirtable.Never, nil); err != nil {
			t.Fatal(err)
		}
		list(theirs, 1, "new")
		// Another directory takes the place of b.
		other, err := mine.c.Directories.CreateChain(t.Context(), []string{"c", "other"}, directory.CreateOptions{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		found, err := mine.Lookup(t.Context(), cap, path[:2], nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Parent.Set(t.Context(), "b", directory.ChildOf(other[0]), nil, dirtable.Always, nil); err != nil {
			t.Fatal(err)
		}
		list(theirs, 3, "other") // c only after b
		list(theirs, 1, "other")
		// And b is gone.
		if _, err := found.Parent.Delete(t.Context(), "b", dirtable.Any, nil); err != nil {
			t.Fatal(err)
		}
		if n := trips(func() { found, _, err = theirs.List(t.Context(), cap, path, nil) }); err == nil || n != 1 || !slices.Equal(found.Missing, []string{"b", "c"}) {
			t.Errorf("after %d round trips %+v, %v", n, found, err)
		}
	})
}

// Nodes that make the same directories at the same time end up with the same
// ones, and all that they link is there.
func TestMkdirsTogether(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 4, K: 2, Happy: 2, N: 4, Link: memnet.Link{Latency: tripTime / 2}}, func(t *testing.T, g *gridtest.Grid) {
		second := g.NewClient("second")
		second.Servers.Wait(t.Context(), 4)
		stores := []*Store{onGrid(t, g, g.Client), onGrid(t, g, second)}
		cap, err := stores[0].c.Directories.Create(t.Context(), directory.CreateOptions{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() {
				root, err := s.c.Directories.Open(cap)
				if err != nil {
					t.Error(err)
					return
				}
				name := string(rune('x' + i))
				if _, err := s.Link(t.Context(), root, []string{"a", "b", name}, dirtable.Child{Read: caps.NewLIT([]byte(name))}, nil, dirtable.Never, nil); err != nil {
					t.Error(g.Heard(err))
				}
			})
		}
		wg.Wait()
		_, table, err := stores[1].List(t.Context(), cap, []string{"a", "b"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range table.All() {
			names = append(names, name)
		}
		if !slices.Equal(names, []string{"x", "y"}) {
			t.Errorf("names %q", names)
		}
	})
}

// A walk fetches directories side by side, and ends soon when it is told to.
func TestWalkOverLatency(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 4, K: 2, Happy: 2, N: 4, Link: memnet.Link{Latency: tripTime / 2}}, func(t *testing.T, g *gridtest.Grid) {
		s := onGrid(t, g, g.Client)
		var kids []directory.NewChild
		for i := range 16 {
			name := string(rune('a' + i))
			imm, err := s.c.Directories.CreateImmutable(t.Context(), []directory.NewChild{{Name: strings.Repeat(name, 60), Child: dirtable.Child{Read: caps.NewLIT(nil)}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			kids = append(kids, directory.NewChild{Name: name, Child: directory.ChildOf(imm)})
		}
		cap, err := s.c.Directories.Create(t.Context(), directory.CreateOptions{}, kids, nil)
		if err != nil {
			t.Fatal(err)
		}
		root, err := s.c.Directories.Open(cap)
		if err != nil {
			t.Fatal(err)
		}
		var stats *Stats
		n := trips(func() { stats, err = s.Manifest(t.Context(), root, nil) })
		if err != nil || stats.Directories != 17 || stats.Files != 16 || n > 12 {
			t.Errorf("%d round trips: %+v, %v", n, stats, err)
		}
	})
}

// All connections are lost while a path is made, at whatever moment: it is
// there once they are back, and there is one of each directory.
func TestMkdirsInOutage(t *testing.T) {
	for moment := tripTime / 4; moment < 4*tripTime; moment += tripTime / 2 {
		gridtest.Run(t, gridtest.Config{Servers: 4, K: 2, Happy: 2, N: 4, Link: memnet.Link{Latency: tripTime / 2}}, func(t *testing.T, g *gridtest.Grid) {
			m, err := mutable.New(mutable.Config{Servers: g.Client.Servers, K: 2, N: 4, LeaseSecret: redact.New("lease"), Log: g.Logger(),
				Patience: mutable.Patience{Outage: 5 * time.Minute}})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			s := New(Config{Immutable: g.Client.Client, Mutable: m, Directories: directory.New(directory.Config{Mutable: m, Immutable: g.Client.Client})})
			cap, err := s.c.Directories.Create(t.Context(), directory.CreateOptions{}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			root, err := s.c.Directories.Open(cap)
			if err != nil {
				t.Fatal(err)
			}
			each := func(f memnet.Fault) {
				for _, s := range g.Servers {
					g.Net.Cut("client", s.Name)
					s.Host.Fail(f)
				}
			}
			time.AfterFunc(moment, func() { each(memnet.Refuse) })
			time.AfterFunc(moment+20*time.Second, func() {
				each(memnet.None)
				g.Client.Servers.Retry()
			})
			start := time.Now()
			if _, err := s.Mkdirs(t.Context(), root, []string{"a", "b", "c"}, directory.CreateOptions{}, nil); err != nil {
				t.Fatalf("after %v: %v", moment, g.Heard(err))
			}
			if took := time.Since(start); took > 2*time.Minute {
				t.Errorf("after %v: it took %v", moment, took)
			}
			time.Sleep(time.Minute)
			stats, err := onGrid(t, g, g.Client).Manifest(t.Context(), root, nil)
			if err != nil || stats.Directories != 4 || stats.LargestDirectoryChildren != 1 {
				t.Errorf("after %v: %+v, %v", moment, stats, g.Heard(err))
			}
		})
	}
}
