package node

import (
	"context"

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
		Open: pool.Open, TCP: netx.Carrier(n.cfg.Connections.TCP), ForceFoolscap: n.cfg.Client.ForceFoolscap, Managers: n.cfg.Managers, Log: log,
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
