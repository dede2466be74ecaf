package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/gbs"
)

// startClient connects to the servers of private/servers.yaml and readies
// uploads and downloads. A node without a web gateway has nobody to do that
// for: it connects to no one.
func (n *Node) startClient(ctx context.Context) error {
	if n.cfg.Node.WebPort == nil {
		return nil
	}
	clients := &clientPool{network: n.network, open: map[furl.NURL]*gbs.Client{}}
	n.grid = grid.New(grid.Config{Open: clients.get, Log: n.log.With("part", "grid")})
	n.onClose(func() error { n.grid.Close(); return clients.close() })
	if n.tor != nil {
		n.serve(ctx, "watching Tor", n.retryWithTor)
	}
	for _, s := range n.cfg.Servers {
		k, err := knownServer(s)
		if err != nil {
			n.log.Warn("leaving out a server", "server", s.ID, "err", err)
			continue
		}
		n.grid.Add(k)
	}
	var err error
	n.files, err = immutable.New(immutable.Config{
		Servers: n.grid,
		K:       n.cfg.Client.Needed, Happy: n.cfg.Client.Happy, N: n.cfg.Client.Total,
		SegmentSize: n.cfg.Client.MaxSegment,
		LeaseSecret: n.identity.LeaseSecret,
		Patience:    n.patience(),
		Log:         n.log.With("part", "immutable"),
	})
	return err
}

// slowest describes the slowest path to a known server.
func (n *Node) slowest() netx.Hints {
	worst := netx.Hints{}
	for _, s := range n.cfg.Servers {
		for _, u := range s.NURLs {
			if h := netx.HintsFor(n.network, nurlAddr(u)); h.RTT > worst.RTT {
				worst = h
			}
		}
	}
	return worst
}

// outage is how long a transfer waits for servers that were tried in vain: a
// second try that succeeds takes a fraction of the time to give up after.
func (n *Node) outage() time.Duration { return n.slowest().Dial / 3 }

// patience is what the slowest path to a known server asks for.
func (n *Node) patience() immutable.Patience {
	worst := n.slowest()
	if worst.RTT < time.Second {
		return immutable.Patience{} // its own values suit the clear network
	}
	return immutable.Patience{
		Ask:      worst.Stall,
		Straggle: 4 * worst.RTT,
		Stall:    2 * worst.Stall,
		Hedge:    3 * worst.RTT,
		// tor has restarted, found the network and built circuits by then
		Outage: 2*worst.Dial + worst.Stall,
	}
}

func nurlAddr(u furl.NURL) netx.Addr {
	kind := netx.TCP
	if u.Tor {
		kind = netx.Tor
	}
	return netx.Addr{Kind: kind, Host: u.Host, Port: u.Port}
}

func knownServer(s config.Server) (grid.Known, error) {
	k := grid.Known{ID: s.ID, Name: s.Nickname, Seed: s.Seed, NURLs: s.NURLs, Source: "servers.yaml"}
	id, err := base32.Decode(strings.ToLower(s.FURL.TubID))
	if err != nil || len(id) != len(k.LeaseSeed) {
		return k, fmt.Errorf("its fURL has no usable tub id")
	}
	copy(k.LeaseSeed[:], id)
	return k, nil
}

// clientPool keeps one client per address, so that reconnecting to a server
// uses the connections that still stand.
type clientPool struct {
	network netx.Network

	mu   sync.Mutex // guards below
	open map[furl.NURL]*gbs.Client
}

func (p *clientPool) get(k grid.Known, at furl.NURL) storage.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.open[at]
	if c == nil {
		// No two servers may see that one client uses both.
		c = gbs.NewClient(gbs.Config{Network: p.network, NURL: at, Isolation: "storage:" + k.ID})
		p.open[at] = c
	}
	return c
}

func (p *clientPool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	return nil
}
