package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/format/caps"
)

// torServers is how many onion servers there are.
const torServers = 5

// torDelay is what each link of the slower network takes, one way.
const torDelay = 25 * time.Millisecond

// torTargets are for 3-of-5 on the slower network.
var torTargets = map[string]float64{"start": 4, "put 1": 1.2, "get 1": 1.1, "put 10": 3, "get 10": 3.5, "small": 15}

// tor are the rows of a private Tor network.
func (b *bench) tor(ctx context.Context) error {
	for _, delay := range []time.Duration{0, torDelay} {
		if err := b.torNetwork(ctx, delay); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) torNetwork(ctx context.Context, delay time.Duration) (err error) {
	net, err := b.startNetwork(ctx, delay)
	if err != nil {
		return err
	}
	defer net.Stop()
	dir, err := os.MkdirTemp("", "tb") // a short path, for unix sockets
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &rig{b: b, grid: &procgrid.Grid{Binary: b.tahoe, Dir: dir}, data: randomBytes(10 * mib)}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.onionServers(ctx, net, torServers); err != nil {
		return err
	}
	// As a user has it: a tor that has run for long before the client starts.
	tor, err := net.Client("warm", tortest.ClientConfig{})
	if err != nil {
		return err
	}
	all := r.servers
	for _, n := range []int{1, torServers} {
		r.servers = all[:n]
		if err := r.torClient(ctx, tor, fmt.Sprintf("client%d", n), delay); err != nil {
			return fmt.Errorf("%s: %w", plural(n, "server"), err)
		}
	}
	return nil
}

// startNetwork makes a private Tor network.
func (b *bench) startNetwork(ctx context.Context, delay time.Duration) (net *tortest.Network, err error) {
	start := time.Now()
	for range 3 { // a young network may not come up
		if net, err = tortest.Start(ctx, tortest.Config{Delay: delay, KeyCache: filepath.Join(b.dir, "keys")}); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		b.out.say("%v per link, one way: the network stood after %.0f s", delay, time.Since(start).Seconds())
	}
	return net, err
}

// onionServers starts servers, each with a tor of its own, and waits until all
// are published.
func (r *rig) onionServers(ctx context.Context, net *tortest.Network, servers int) error {
	exe := filepath.Join(r.grid.Dir, "tor")
	if err := procgrid.WriteTor(exe, net.Lines()); err != nil {
		return err
	}
	for i := range servers {
		n, err := r.grid.Server(ctx, fmt.Sprintf("s%d", i), "--listen=tor", "--hide-ip", "--tor-launch", "--tor-executable="+exe)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, n)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for _, s := range r.servers {
		if _, err := s.WaitLine(ctx, " published at "); err != nil {
			return err
		}
	}
	return nil
}

// torClient measures a client of the servers.
func (r *rig) torClient(ctx context.Context, tor *tortest.Node, name string, delay time.Duration) error {
	n := len(r.servers)
	code := []string{"--hide-ip", "--shares-needed=1", "--shares-happy=1", "--shares-total=1"}
	if n == torServers {
		code = []string{"--hide-ip", "--shares-needed=3", "--shares-happy=4", "--shares-total=5"}
	}
	cfg := fmt.Sprintf("[tor]\ncontrol.port = unix:%s\nsocks.port = unix:%s\n", tor.Control.Host, tor.SOCKS.Host)
	if err := r.grid.NewClient(ctx, name, cfg, r.servers, code...); err != nil {
		return err
	}
	add := func(what, key string, runs []time.Duration) {
		w := row{name: fmt.Sprintf("%s, %s, %v per link", what, plural(n, "server"), delay), got: median(runs).Seconds(), unit: "s", note: spell(runs)}
		if n == torServers && delay == torDelay {
			w.target = torTargets[key]
		}
		r.b.out.add(w)
	}
	var starts []time.Duration
	for range r.b.rounds {
		took, err := r.retry(ctx, func(ctx context.Context) (time.Duration, error) { return r.startAnew(ctx, name) })
		if err != nil {
			return err
		}
		starts = append(starts, took)
	}
	add("client start to all servers, tor warm", "start", starts[1:]) // tor was cold at the first
	for _, size := range []int{1, 10} {
		var puts, gets []time.Duration
		for range r.b.rounds {
			data := r.file(size * mib)
			var cap caps.Cap
			took, err := r.retry(ctx, func(ctx context.Context) (took time.Duration, err error) {
				cap, took, err = r.put(ctx, data)
				return took, err
			})
			if err != nil {
				return err
			}
			puts = append(puts, took)
			if took, err = r.retry(ctx, func(ctx context.Context) (time.Duration, error) { return r.get(ctx, cap, data) }); err != nil {
				return err
			}
			gets = append(gets, took)
		}
		add(fmt.Sprintf("put %d MiB", size), fmt.Sprintf("put %d", size), puts)
		add(fmt.Sprintf("get %d MiB", size), fmt.Sprintf("get %d", size), gets)
	}
	const files = 20
	took, err := r.retry(ctx, func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		for range files {
			if _, _, err := r.put(ctx, r.file(10<<10)); err != nil {
				return 0, err
			}
		}
		return time.Since(start), nil
	})
	if err != nil {
		return err
	}
	add("20 puts of 10 KiB", "small", []time.Duration{took})
	if err := r.torFiles(ctx, delay); err != nil {
		return err
	}
	r.gateway.Close()
	return r.client.Stop()
}

// startAnew stops the client if it runs, and starts it until it has all
// servers.
func (r *rig) startAnew(ctx context.Context, name string) (time.Duration, error) {
	if r.client != nil {
		select {
		case <-r.client.Done():
		default:
			r.gateway.Close()
			if err := r.client.Stop(); err != nil {
				return 0, err
			}
		}
	}
	start := time.Now()
	err := r.startClient(ctx, name)
	return time.Since(start), err
}

// retry tries twice more, since a young Tor network stalls now and then.
func (r *rig) retry(ctx context.Context, f func(context.Context) (time.Duration, error)) (took time.Duration, err error) {
	for try := range 3 {
		tctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		took, err = f(tctx)
		cancel()
		if err == nil || ctx.Err() != nil {
			return took, err
		}
		r.b.out.say("try %d failed: %v", try+1, err)
	}
	return took, err
}

// spell lists every run, since on a young network they differ.
func spell(runs []time.Duration) string {
	var s []string
	for _, d := range runs {
		s = append(s, fmt.Sprintf("%.2f", d.Seconds()))
	}
	return "runs: " + strings.Join(s, " ")
}
