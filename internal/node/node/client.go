package node

import (
	"context"
	"time"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

// startClient connects to the servers of private/servers.yaml. A node without
// a web gateway stores and fetches for nobody: it connects to no one.
func (n *Node) startClient(context.Context) error {
	if n.cfg.Node.WebPort == nil {
		return nil
	}
	direct, err := n.directNetwork()
	if err != nil {
		return err
	}
	log := n.log.With("part", "grid")
	pool := contact.New(contact.Config{Network: n.network, Direct: direct, Limits: n.tubLimits(), Log: log})
	n.grid = grid.New(grid.Config{
		Open: pool.Open, TCP: netx.Carrier(n.cfg.Connections.TCP), ForceFoolscap: n.cfg.Client.ForceFoolscap, Log: log,
	})
	n.onClose(func() error { n.grid.Close(); return pool.Close() })
	for _, s := range n.cfg.Servers {
		k, err := knownServer(s)
		if err != nil {
			n.log.Warn("leaving out a server", "server", s.ID, "err", err)
			continue
		}
		n.grid.Add(k)
	}
	return nil
}

// directNetwork is for servers that servers.yaml wants reached without Tor
// although everything else goes through it. A node that hides has none.
func (n *Node) directNetwork() (netx.Network, error) {
	if n.cfg.TorOnly() || n.cfg.Connections.TCP == string(netx.Direct) {
		return nil, nil
	}
	return netx.New(netx.Policy{TCP: netx.Direct}, netx.Routes{})
}

// startFiles readies files and directories on the servers that are known and
// will be.
func (n *Node) startFiles(context.Context) error {
	if n.grid == nil {
		return nil
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
	if err != nil {
		return err
	}
	ask := n.patience()
	n.mutable, err = mutable.New(mutable.Config{
		Servers: n.grid,
		K:       n.cfg.Client.Needed, N: n.cfg.Client.Total,
		LeaseSecret: n.identity.LeaseSecret,
		Patience:    mutable.Patience{Ask: ask.Ask, Straggle: ask.Straggle},
		Log:         n.log.With("part", "mutable"),
	})
	if err != nil {
		return err
	}
	n.directories = directory.New(directory.Config{Mutable: n.mutable, Immutable: n.files, Convergence: n.identity.Convergence})
	n.store = filestore.New(filestore.Config{Immutable: n.files, Mutable: n.mutable, Directories: n.directories})
	return nil
}

// slowest describes the slowest path to a server. What introducers will tell of
// is not known yet: where there is Tor, it may lead through it.
func (n *Node) slowest() netx.Hints {
	worst := netx.Hints{}
	see := func(a netx.Addr) {
		if h := netx.HintsFor(n.network, a); h.RTT > worst.RTT {
			worst = h
		}
	}
	for _, s := range n.cfg.Servers {
		for _, u := range s.AllNURLs() {
			see(nurlAddr(u))
		}
		for _, h := range s.FURL.Hints {
			see(hintAddr(h))
		}
	}
	for _, s := range n.grid.Status() { // what is in the caches
		if s.Address != "tcp" {
			see(netx.Addr{Kind: netx.Tor})
		}
	}
	if len(n.cfg.Introducers) > 0 && n.tor != nil {
		see(netx.Addr{Kind: netx.Tor})
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

func hintAddr(h furl.Hint) netx.Addr {
	kind := netx.TCP
	if h.Kind == furl.Tor {
		kind = netx.Tor
	}
	return netx.Addr{Kind: kind, Host: h.Host, Port: h.Port}
}

// knownServer is a server of servers.yaml, which no announcement replaces.
func knownServer(s config.Server) (grid.Known, error) {
	k := grid.FromAnnouncement(s.Server, "servers.yaml")
	k.Static = true
	var err error
	k.Via, err = grid.ParseVia(s.Handlers)
	return k, err
}
