package directory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/check/gridtest"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/memnet"
)

// gridClient is a node's directories on a grid in memory. What it writes is
// looked for in logs.
func gridClient(t *testing.T, g *gridtest.Grid, c *gridtest.Client) *Client {
	t.Helper()
	lease := "lease secret for mutables of " + c.Host.Name()
	g.Secret("lease secret", lease)
	m, err := mutable.New(mutable.Config{Servers: c.Servers, K: 2, N: 4, LeaseSecret: redact.New(lease), Log: g.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Mutable: m, Immutable: c.Client, Convergence: redact.New("convergence")})
}

// secret has a directory's caps and write key looked for.
func secret(g *gridtest.Grid, dir caps.Dir) {
	file := dir.File().(caps.SSK)
	key := file.WriteKey.Reveal()
	g.Secret("a write key", string(key[:]))
	g.Secret("a write cap", dir.Reveal())
	g.Secret("a read cap", file.Read().Reveal())
}

// Two nodes add children to one directory for an hour, and take some away
// again, while servers come and go: no child that was added is lost, and none
// that was removed comes back.
func TestTwoWritersForAnHour(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 5, K: 2, Happy: 3, N: 4, Link: memnet.Link{Latency: 20 * time.Millisecond}}, func(t *testing.T, g *gridtest.Grid) {
		second := g.NewClient("second")
		if n := second.Servers.Wait(t.Context(), 5); n != 5 {
			t.Fatalf("%d servers", n)
		}
		nodes := []*Client{gridClient(t, g, g.Client), gridClient(t, g, second)}
		dir, err := nodes[0].Create(t.Context(), CreateOptions{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		secret(g, dir)
		start := time.Now()
		var mu sync.Mutex // guards below
		want := map[string]bool{}
		collisions, adds := 0, 0
		var writers sync.WaitGroup
		for i, node := range nodes {
			d, err := node.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(uint64(i), 1))
			writers.Go(func() {
				for n := 0; time.Since(start) < time.Hour; n++ {
					time.Sleep(time.Duration(random.IntN(40_000)) * time.Millisecond)
					if n%10 == 9 { // both at the same time
						time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
					}
					name := fmt.Sprintf("%d of writer %d", n, i)
					err := addUntilDone(t, d, name, &mu, &collisions)
					if err != nil {
						t.Errorf("adding: %v", g.Heard(err))
						return
					}
					mu.Lock()
					want[name] = true
					adds++
					mu.Unlock()
					if n%7 != 6 {
						continue
					}
					gone := fmt.Sprintf("%d of writer %d", n-3, i)
					if _, err := d.Delete(t.Context(), gone, dirtable.Any, nil); err != nil {
						t.Errorf("deleting: %v", g.Heard(err))
						return
					}
					mu.Lock()
					delete(want, gone)
					mu.Unlock()
				}
			})
		}
		writers.Go(func() { // a server is away for some minutes, then another one
			for i := 0; time.Since(start) < 50*time.Minute; i++ {
				s := g.Servers[i%len(g.Servers)]
				time.Sleep(3 * time.Minute)
				s.Stop()
				time.Sleep(2 * time.Minute)
				s.Start()
			}
		})
		writers.Wait()
		d, err := nodes[1].Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		table, err := d.List(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name := range want {
			if _, ok := table.Entry(name); !ok {
				t.Errorf("%q was added and is lost", name)
			}
		}
		if table.Len() != len(want) {
			t.Errorf("%d children, want %d", table.Len(), len(want))
		}
		t.Logf("%d children added, %d edits gave up and began again", adds, collisions)
		if adds < 200 {
			t.Errorf("only %d children were added", adds)
		}
	})
}

// addUntilDone adds a child, and again when others always came first.
func addUntilDone(t *testing.T, d *Directory, name string, mu *sync.Mutex, collisions *int) error {
	child := dirtable.Child{Read: caps.NewLIT([]byte(name))}
	for {
		_, err := d.Set(t.Context(), name, child, nil, dirtable.Always, nil)
		if _, ok := errors.AsType[*mutable.UncoordinatedError](err); !ok {
			return err
		}
		mu.Lock()
		*collisions++
		mu.Unlock()
	}
}

// Caps and keys are in no error and no log, whatever goes wrong.
func TestErrorsOnAGridAreDiscreet(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 3, K: 2, Happy: 2, N: 4}, func(t *testing.T, g *gridtest.Grid) {
		c := gridClient(t, g, g.Client)
		dir, err := c.Create(t.Context(), CreateOptions{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		secret(g, dir)
		d, err := c.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range g.Servers {
			s.Stop()
		}
		child := dirtable.Child{Read: caps.NewLIT([]byte("x"))}
		_, list := d.List(t.Context(), nil)
		_, set := d.Set(t.Context(), "a name nobody should see", child, nil, dirtable.Always, nil)
		_, made := c.Create(t.Context(), CreateOptions{}, nil, nil)
		chain, chained := c.CreateChain(t.Context(), []string{"b", "c"}, CreateOptions{}, nil, nil)
		for _, err := range []error{list, set, made, chained} {
			if g.Heard(err) == nil || strings.Contains(err.Error(), "nobody should see") {
				t.Errorf("error %v", err)
			}
		}
		if chain != nil {
			t.Error("a cap came with an error")
		}
	})
}
