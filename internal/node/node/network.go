package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

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
	if c.TorOnly() || c.Connections.TCP == string(netx.ViaTor) || c.Tor.Onion || c.Tor.Launch ||
		c.Tor.SocksPort != nil || c.Tor.Control != nil {
		return true
	}
	return slices.ContainsFunc(c.Servers, func(s config.Server) bool {
		for _, u := range s.NURLs {
			if u.Tor {
				return true
			}
		}
		return false
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
	if !t.Launch { // config has warned
		c.SOCKS, c.Control = dialAddr(t.SocksPort), dialAddr(t.Control)
	}
	return c
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

// underTorsocks reports whether the process was started with torsocks or
// torify. They do nothing to a static binary, so the wish behind them has to be
// granted by the configuration.
func underTorsocks(env func(string) string) bool {
	return strings.Contains(env("LD_PRELOAD"), "libtorsocks") || env("TORSOCKS_CONF_FILE") != "" ||
		env("TORSOCKS_TOR_ADDRESS") != "" || env("TORSOCKS_TOR_PORT") != "" || env("TORSOCKS_USERNAME") != ""
}
