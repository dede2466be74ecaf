package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/config/endpoint"
)

// openNetwork builds the one network value that everything else is handed.
// What the configuration forbids, it cannot do.
func (n *Node) openNetwork(ctx context.Context) error {
	var routes netx.Routes
	if needsTor(n.cfg) {
		t, err := tor.Start(context.WithoutCancel(ctx), n.torConfig())
		if err != nil {
			return fmt.Errorf("setting up Tor: %w", err)
		}
		n.tor, routes.Tor = t, t
		n.onClose(t.Close)
	} else if mayNeedTor(n.cfg) {
		n.late = newLateTor(func() (*tor.Tor, error) { return tor.Start(context.WithoutCancel(ctx), n.torConfig()) })
		routes.Tor = n.late
		n.onClose(n.late.Close)
	}
	var err error
	n.network, err = netx.New(netx.Policy{
		TCP:         netx.Carrier(n.cfg.Connections.TCP),
		HideAddress: n.cfg.TorOnly(),
	}, routes)
	return err
}

// needsTor reports whether anything in the configuration goes through Tor. A
// node that has no use for Tor does not look for one.
func needsTor(c *config.Config) bool {
	if !c.Tor.Enabled {
		return false
	}
	if c.TorOnly() || c.Connections.TCP == string(netx.ViaTor) || c.Tor.Onion || c.Tor.Launch || len(c.Onions()) > 0 ||
		c.Tor.SocksPort != nil || c.Tor.Control != nil {
		return true
	}
	return slices.ContainsFunc(c.Introducers, func(i config.Introducer) bool { all, _ := byTor(i.FURL, nil); return all }) ||
		slices.ContainsFunc(c.Servers, func(s config.Server) bool {
			all, _ := byTor(s.FURL, s.AllNURLs())
			return all || s.Handlers["tcp"] == string(netx.ViaTor)
		})
}

// byTor reports whether all, and whether some, of the ways to somebody lead
// through Tor.
func byTor(f furl.FURL, nurls []furl.NURL) (all, some bool) {
	ways, tor := len(f.Hints)+len(nurls), 0
	for _, h := range f.Hints {
		if h.Kind == furl.Tor || furl.IsOnion(h.Host) {
			tor++
		}
	}
	for _, u := range nurls {
		if u.Tor || furl.IsOnion(u.Host) {
			tor++
		}
	}
	return tor > 0 && tor == ways, tor > 0
}

// mayNeedTor reports whether a node that needs no Tor yet may come to: it may
// hear of servers that it does need it for, or the other ways to one it knows
// may be closed.
func mayNeedTor(c *config.Config) bool {
	if !c.Tor.Enabled || c.Node.WebPort == nil && len(c.Introducers) == 0 {
		return false
	}
	return len(c.Introducers) > 0 || slices.ContainsFunc(c.Servers, func(s config.Server) bool {
		_, some := byTor(s.FURL, s.AllNURLs())
		return some
	})
}

func (n *Node) torConfig() tor.Config {
	t := n.cfg.Tor
	c := tor.Config{
		Launch:     t.Launch,
		Executable: t.Executable,
		Dir:        n.cfg.Private(""),
		Env:        tor.EnvironmentFrom(n.opts.Env),
		Log:        n.log.With("part", "tor"),
	}
	if t.Launch { // config has warned of ports
		if n.locksDown() {
			c.Launcher = n.opts.Launcher
		}
		return c
	}
	c.SOCKS, c.Control = n.socksAddr(), dialAddr(t.Control)
	c.SOCKSUser, c.SOCKSPassword = n.torsocks.User, n.torsocks.Password
	return c
}

// socksAddr is where a running tor's SOCKS port is said to be; zero: it is to
// be looked for.
func (n *Node) socksAddr() netx.Addr {
	return orAddr(dialAddr(n.cfg.Tor.SocksPort), n.torsocks.SOCKS)
}

// dialAddr is an endpoint to connect to; nil is the zero Addr.
func dialAddr(v endpoint.Value) netx.Addr {
	switch d := v.(type) {
	case endpoint.DialTCP:
		return netx.Addr{Kind: netx.TCP, Host: d.Host, Port: d.Port}
	case endpoint.DialUnix:
		return netx.Addr{Kind: netx.Unix, Host: d.Path}
	}
	return netx.Addr{}
}

// listenAddr is an endpoint to listen on. ok is false for kinds that are not
// opened here.
func listenAddr(v endpoint.Value) (a netx.Addr, ok bool) {
	switch l := v.(type) {
	case endpoint.TCP:
		host := l.Interface
		if host == "" {
			host = "0.0.0.0"
			if l.IPv6 {
				host = "::"
			}
		}
		return netx.Addr{Kind: netx.TCP, Host: host, Port: l.Port}, true
	case endpoint.Unix:
		return netx.Addr{Kind: netx.Unix, Host: l.Path}, true
	}
	return netx.Addr{}, false
}

// listenOn opens an endpoint. A unix socket gets its permissions, its owner's
// alone if none are given.
func listenOn(ctx context.Context, network netx.Network, v endpoint.Value, a netx.Addr) (net.Listener, error) {
	l, err := network.Listen(ctx, a)
	u, isUnix := v.(endpoint.Unix)
	if err != nil || !isUnix {
		return l, err
	}
	mode := u.Mode
	if mode == 0 {
		mode = 0o600
	}
	if err := os.Chmod(u.Path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
