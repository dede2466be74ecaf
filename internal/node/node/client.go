package node

import (
	"context"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

// startClient connects to the servers of private/servers.yaml and readies
// uploads and downloads. A node without a web gateway has nobody to do that
// for: it connects to no one.
func (n *Node) startClient(ctx context.Context) error {
	if n.cfg.Node.WebPort == nil {
		return nil
	}
	pool := contact.New(contact.Config{Network: n.network, Log: n.log.With("part", "grid")})
	n.grid = grid.New(grid.Config{
		Open: pool.Open, TCP: netx.Carrier(n.cfg.Connections.TCP), ForceFoolscap: n.cfg.Client.ForceFoolscap, Log: n.log.With("part", "grid"),
	})
	n.onClose(func() error { n.grid.Close(); return pool.Close() })
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

// knownServer is a server of servers.yaml, which no announcement replaces.
func knownServer(s config.Server) (grid.Known, error) {
	via, err := grid.ParseVia(s.Handlers)
	return grid.Known{
		ID: s.ID, Name: s.Nickname, Seed: s.Seed, LeaseSeed: grid.LeaseSeed(s.FURL), NURLs: s.NURLs, FURL: s.FURL, Via: via,
		Source: "servers.yaml", Static: true,
	}, err
}
