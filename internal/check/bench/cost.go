package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/network/netx"
)

// ways are how the servers are reached.
var ways = []string{"clear", "exit", "onion"}

// costCodes are k, happy and n, by the number of servers.
var costCodes = []struct{ servers, k int }{{1, 1}, {3, 2}, {10, 3}}

// cost are the rows of docs/tor.md: what the same work takes in the clear, by
// one link, through an exit, by four, and to onions, by six.
func (b *bench) cost(ctx context.Context) error {
	for _, delay := range []time.Duration{0, torDelay} {
		net, err := b.startNetwork(ctx, delay)
		if err != nil {
			return err
		}
		for _, way := range ways {
			if err == nil {
				err = b.costOf(ctx, net, way, delay)
			}
		}
		net.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// costOf measures one way, with servers that are the same for all clients.
func (b *bench) costOf(ctx context.Context, net *tortest.Network, way string, delay time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "tc") // a short path, for unix sockets
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &rig{b: b, grid: &procgrid.Grid{Binary: b.tahoe, Dir: dir}, data: randomBytes(10 * mib)}
	defer func() { err = errors.Join(err, r.stop()) }()
	most := costCodes[len(costCodes)-1].servers
	var names []string // for the client's tor: where to find hosts
	if way == "onion" {
		err = r.onionServers(ctx, net, most)
	} else {
		names, err = r.clearServers(ctx, net, way, most)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", way, err)
	}
	var cfg string
	var hide []string
	if way != "clear" {
		tor, err := net.Client("cost"+way, tortest.ClientConfig{Extra: names})
		if err != nil {
			return err
		}
		defer tor.Kill()
		cfg, hide = fmt.Sprintf("[tor]\ncontrol.port = %s\nsocks.port = %s\n", tor.Control, tor.SOCKS), []string{"--hide-ip"}
	}
	all := r.servers
	for _, c := range costCodes {
		r.servers = all[:c.servers]
		name := fmt.Sprintf("client%d", c.servers)
		code := append(hide[:len(hide):len(hide)], fmt.Sprintf("--shares-needed=%d", c.k), fmt.Sprintf("--shares-happy=%d", c.servers), fmt.Sprintf("--shares-total=%d", c.servers))
		if err := r.grid.NewClient(ctx, name, cfg, r.servers, code...); err != nil {
			return err
		}
		if err := r.costRows(ctx, name, fmt.Sprintf("%s, %s, %v per link", way, plural(c.servers, "server"), delay)); err != nil {
			return fmt.Errorf("%s, %s: %w", way, plural(c.servers, "server"), err)
		}
	}
	return nil
}

// clearServers starts servers that do not hide: in reach of the client by one
// link, or of an exit under names that only the client's tor knows.
func (r *rig) clearServers(ctx context.Context, net *tortest.Network, way string, servers int) (names []string, err error) {
	for i := range servers {
		port, err := unusedPort(ctx)
		if err != nil {
			return nil, err
		}
		link, err := net.Link(port)
		if err != nil {
			return nil, err
		}
		host := "127.0.0.1"
		if way == "exit" {
			host = fmt.Sprintf("s%d.example.org", i)
			names = append(names, "MapAddress "+host+" 127.0.0.1")
		}
		n, err := r.grid.Server(ctx, fmt.Sprintf("s%d", i), fmt.Sprintf("--port=tcp:%d:interface=127.0.0.1", port), fmt.Sprintf("--location=tcp:%s:%d", host, link))
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, n)
	}
	return names, nil
}

func unusedPort(ctx context.Context) (int, error) {
	l, err := netx.Loopback{}.Listen(ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// costRows measures one client: latency by what is small, throughput by what is
// large.
func (r *rig) costRows(ctx context.Context, name, what string) error {
	start, all, servers, own := time.Now(), busy(), r.serverCPU(), ownCPU()
	var starts []time.Duration
	for range r.b.rounds {
		took, err := r.retry(ctx, func(ctx context.Context) (time.Duration, error) { return r.startAnew(ctx, name) })
		if err != nil {
			return err
		}
		starts = append(starts, took)
	}
	r.b.out.add(row{name: what + ": client start to all servers", got: median(starts[1:]).Seconds(), unit: "s", note: spell(starts)})
	cpu := r.clientCPU()
	for _, f := range []struct {
		what string
		size int
	}{{"10 KiB", 10 << 10}, {"1 MiB", mib}, {"10 MiB", 10 * mib}} {
		var puts, gets []time.Duration
		for range r.b.rounds {
			data := r.file(f.size)
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
		r.b.out.add(row{name: what + ": put " + f.what, got: median(puts).Seconds(), unit: "s", note: spell(puts)})
		r.b.out.add(row{name: what + ": get " + f.what, got: median(gets).Seconds(), unit: "s", note: spell(gets)})
	}
	took := time.Since(start)
	r.b.out.say("%.0f s, of the processors: client %d %%, servers %d %%, tors and strangers %d %%", took.Seconds(),
		share(r.clientCPU()-cpu, took), share(r.serverCPU()-servers, took), share(busy()-all-(r.clientCPU()-cpu)-(r.serverCPU()-servers)-(ownCPU()-own), took))
	r.gateway.Close()
	return r.client.Stop()
}
