package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/config/endpoint"
)

// doors are where clients come in.
type doors struct {
	listeners []net.Listener
	bound     []netx.Addr // of tub.port
	onion     bool
	location  location
	self      *selfProof
}

func (d *doors) close() {
	for _, l := range d.listeners {
		l.Close()
	}
}

// foolscapOnly returns what serves Foolscap at the doors, and nothing else.
func (d *doors) foolscapOnly(n *Node) (loops []func(context.Context) error) {
	for _, l := range d.listeners {
		port := n.share(l, d.onion)
		loops = append(loops, func(ctx context.Context) error { return foolscapOnly(ctx, port) })
	}
	return loops
}

// openDoors listens, and has onion services set up whenever tor is there. On an
// error nothing is left open.
func (n *Node) openDoors(ctx context.Context) (d doors, err error) {
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	d.self = newSelfProof()
	if err = n.openKeyOnions(ctx, &d); err != nil || !n.cfg.Node.Listens {
		return d, err
	}
	for _, v := range n.ports() {
		l, a, err := n.openPort(ctx, v)
		if err != nil {
			return d, fmt.Errorf("listening at tub.port %s: %w", v, err)
		}
		if l != nil {
			d.listeners, d.bound = append(d.listeners, l), append(d.bound, a)
		}
	}
	port, err := n.keepPort(d.bound)
	if err != nil {
		return d, err
	}
	if err = n.openDirOnions(&d); err != nil {
		return d, err
	}
	d.location, err = n.locate(port)
	return d, err
}

// openPort listens at one endpoint of tub.port. l is nil for those that are open
// already: onion services, and the ports that tor delivers to.
func (n *Node) openPort(ctx context.Context, v endpoint.Value) (l net.Listener, a netx.Addr, err error) {
	if s, ok := v.(endpoint.Systemd); ok {
		return n.adopt(s)
	}
	a, ok := listenAddr(v)
	if !ok || n.isOnionTarget(v) {
		return nil, a, nil
	}
	if l, err = listenOn(ctx, n.network, v, a); err != nil {
		return nil, a, err
	}
	if t, ok := l.Addr().(*net.TCPAddr); ok {
		a.Port = t.Port
	}
	return l, a, nil
}

// ports are tub.port, or one that the system chooses where tub.location needs
// one: open to all if it tells of an address that is not an onion's.
func (n *Node) ports() []endpoint.Value {
	location := n.cfg.Node.TubLocation
	if len(n.cfg.Node.TubPort) > 0 {
		return n.cfg.Node.TubPort
	}
	if len(location) == 0 || slices.ContainsFunc(location, isClear) {
		return []endpoint.Value{endpoint.TCP{}}
	}
	if n.cfg.Tor.Onion || len(n.cfg.Onions()) > 0 {
		return nil
	}
	return []endpoint.Value{endpoint.TCP{Interface: "127.0.0.1"}}
}

// openKeyOnions sets up the services whose keys are in files of this node.
func (n *Node) openKeyOnions(ctx context.Context, d *doors) error {
	if n.tor == nil {
		return nil
	}
	t := n.cfg.Tor
	if t.Onion {
		key, err := onion.ReadKeyFile(t.KeyFile)
		if err != nil {
			return fmt.Errorf("reading the key of the onion service: %w", err)
		}
		if err := n.openOnion(ctx, d, tor.OnionConfig{Key: key, Port: t.Port, LocalPort: t.LocalPort}); err != nil {
			return err
		}
	}
	for _, o := range n.cfg.Onions() {
		if o.PrivateKeyFile == "" {
			continue
		}
		key, err := onion.LoadOrCreateKeyFile(o.PrivateKeyFile, rand.Reader)
		if err != nil {
			return err
		}
		if err := n.openOnion(ctx, d, tor.OnionConfig{Key: key, Port: o.Port, LocalPort: o.LocalPort}); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) openOnion(ctx context.Context, d *doors, c tor.OnionConfig) error {
	l, err := n.tor.ListenOnion(ctx, c)
	if err != nil {
		return fmt.Errorf("setting up the onion service: %w", err)
	}
	d.onion = true
	d.listeners = append(d.listeners, l)
	return nil
}

// openDirOnions sets up the services whose keys tor keeps.
func (n *Node) openDirOnions(d *doors) error {
	for _, o := range n.cfg.Onions() {
		if o.HiddenServiceDir == "" || n.tor == nil {
			continue
		}
		l, err := n.tor.ListenHiddenDir(tor.DirConfig{
			Dir: o.HiddenServiceDir, Port: o.Port, LocalPort: o.LocalPort, Bound: d.bound,
			Memory: filepath.Join(n.cfg.Dir, filepath.FromSlash(config.OnionMemory)),
			Prove:  d.self.prove,
		})
		if err != nil {
			return fmt.Errorf("setting up the onion service: %w", err)
		}
		d.onion = true
		d.listeners = append(d.listeners, l)
	}
	return nil
}

// isOnionTarget reports whether tub.port names the port that Tor delivers to.
func (n *Node) isOnionTarget(v endpoint.Value) bool {
	t, ok := v.(endpoint.TCP)
	if !ok || !t.Loopback() || n.tor == nil {
		return false
	}
	return n.cfg.Tor.Onion && t.Port == n.cfg.Tor.LocalPort ||
		slices.ContainsFunc(n.cfg.Onions(), func(o endpoint.Onion) bool { return o.PrivateKeyFile != "" && o.LocalPort == t.Port })
}

// keepPort returns the first TCP port of tub.port, and records it if it was
// the system's choice, so that it stays the same.
func (n *Node) keepPort(bound []netx.Addr) (int, error) {
	i := slices.IndexFunc(bound, func(a netx.Addr) bool { return a.Kind == netx.TCP })
	switch {
	case i < 0:
		return 0, nil
	case len(n.cfg.Node.TubPort) > 0:
		return bound[i].Port, nil
	}
	v := endpoint.TCP{Port: bound[i].Port}
	if bound[i].Host == "127.0.0.1" {
		v.Interface = bound[i].Host
	}
	return v.Port, config.WritePort(n.cfg.Dir, v.String())
}
