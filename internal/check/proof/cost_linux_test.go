package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/network/netx"
)

// BenchmarkCost measures the table of docs/tor.md: connecting, storing and
// fetching in the clear, through an exit and to onions, by the number of
// servers and the delay of each link between relays. It takes many minutes:
//
//	go test -run '^$' -bench Cost -benchtime 1x -timeout 1h ./internal/check/proof
func BenchmarkCost(b *testing.B) {
	for _, delay := range []time.Duration{0, 25 * time.Millisecond} {
		b.Run(fmt.Sprint("delay=", delay), func(b *testing.B) {
			tortest.Need(b)
			net, err := tortest.Start(b.Context(), tortest.Config{Delay: delay})
			if err != nil {
				b.Fatal(err)
			}
			defer net.Stop()
			for _, way := range []string{"clear", "exit", "onion"} {
				if way == "clear" && delay > 0 {
					continue // no relay is in the way
				}
				c := newCost(b, net, way)
				for _, n := range []int{1, 3, 10} {
					b.Run(fmt.Sprintf("%s/servers=%d", way, n), func(b *testing.B) {
						for range b.N {
							c.measure(b, n)
						}
					})
				}
				if err := c.grid.Stop(); err != nil {
					b.Error(err)
				}
			}
		})
	}
}

// cost is a grid of ten servers that are reached by one way.
type cost struct {
	grid    *procgrid.Grid
	servers []*procgrid.Node
	config  string
	hide    []string
}

func newCost(b *testing.B, net *tortest.Network, way string) *cost {
	dir, err := os.MkdirTemp("/tmp", "cost")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	c := &cost{grid: &procgrid.Grid{Binary: procgrid.Build(b), Dir: dir}}
	b.Cleanup(func() { c.grid.Stop() })
	exe := filepath.Join(dir, "tor")
	if err := procgrid.WriteTor(exe, net.Lines()); err != nil {
		b.Fatal(err)
	}
	var lines []string
	for i := range 10 {
		options := []string{"--listen=tor", "--hide-ip", "--tor-launch", "--tor-executable=" + exe}
		if way != "onion" {
			host, port := "127.0.0.1", benchPort(b)
			if way == "exit" {
				host = fmt.Sprintf("s%d.example.org", i)
				lines = append(lines, "MapAddress "+host+" 127.0.0.1")
			}
			options = []string{fmt.Sprintf("--port=tcp:%d:interface=127.0.0.1", port), fmt.Sprintf("--location=tcp:%s:%d", host, port)}
		}
		s, err := c.grid.Server(b.Context(), fmt.Sprint("s", i), options...)
		if err != nil {
			b.Fatal(err)
		}
		c.servers = append(c.servers, s)
	}
	if way == "clear" {
		return c
	}
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
	defer cancel()
	for _, s := range c.servers {
		if way == "onion" {
			if _, err := s.WaitLine(ctx, " published at "); err != nil {
				b.Fatal(err)
			}
		}
	}
	tor, err := net.Client("client"+way, tortest.ClientConfig{Extra: lines})
	if err != nil {
		b.Fatal(err)
	}
	c.config, c.hide = "[tor]\nsocks.port = "+tor.SOCKS.String()+"\n", []string{"--hide-ip"}
	return c
}

func benchPort(b *testing.B) int {
	l, err := netx.Loopback{}.Listen(b.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	a, err := netx.AddrOf(l)
	if err != nil {
		b.Fatal(err)
	}
	return a.Port
}

// measure reports the medians of one client of the first n servers.
func (c *cost) measure(b *testing.B, n int) {
	ctx, cancel := context.WithTimeout(b.Context(), 15*time.Minute)
	defer cancel()
	name := fmt.Sprint("client", n)
	k := map[int]int{1: 1, 3: 2, 10: 3}[n]
	if err := c.grid.NewClient(ctx, name, c.config, c.servers[:n], append(c.hide, fmt.Sprint("--shares-needed=", k), fmt.Sprint("--shares-happy=", n), fmt.Sprint("--shares-total=", n))...); err != nil {
		b.Fatal(err)
	}
	var starts []time.Duration
	var client *procgrid.Node
	for range 3 {
		if client != nil {
			client.Stop()
		}
		start := time.Now()
		var err error
		if client, err = c.grid.Run(ctx, name); err != nil {
			b.Fatal(err)
		}
		if err := client.Servers(ctx, n, n); err != nil {
			b.Fatal(err)
		}
		starts = append(starts, time.Since(start))
	}
	defer client.Stop()
	gw, err := client.Gateway()
	if err != nil {
		b.Fatal(err)
	}
	defer gw.Close()
	report := func(what string, runs []time.Duration) {
		slices.Sort(runs)
		b.ReportMetric(runs[len(runs)/2].Seconds(), "s/"+what)
	}
	b.ReportMetric(0, "ns/op")
	report("start", starts)
	for _, f := range []struct {
		what string
		size int
		runs int
	}{{"10KiB", 10 << 10, 5}, {"1MiB", 1 << 20, 3}, {"10MiB", 10 << 20, 3}} {
		var puts, gets []time.Duration
		for range f.runs {
			data := content(f.size)
			start := time.Now()
			cap, err := again(func() (caps.Cap, error) {
				start = time.Now()
				return gw.Put(ctx, bytes.NewReader(data), int64(len(data)), webclient.PutOptions{})
			})
			if err != nil {
				b.Fatal(err)
			}
			puts = append(puts, time.Since(start))
			_, err = again(func() (int, error) {
				start = time.Now()
				var got bytes.Buffer
				if _, err := gw.Get(ctx, cap, &got, webclient.GetOptions{}); err != nil {
					return 0, err
				}
				if !bytes.Equal(got.Bytes(), data) {
					return 0, errors.New("what came back differs")
				}
				return 0, nil
			})
			if err != nil {
				b.Fatal(err)
			}
			gets = append(gets, time.Since(start))
		}
		report("put-"+f.what, puts)
		report("get-"+f.what, gets)
	}
}

// again tries twice more: a young Tor network stalls now and then.
func again[T any](f func() (T, error)) (v T, err error) {
	for range 3 {
		if v, err = f(); err == nil || strings.Contains(err.Error(), "differs") {
			return v, err
		}
	}
	return v, err
}
