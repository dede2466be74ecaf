package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/version"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/config/endpoint"
	"tahoe-go/internal/storage/diskstore"
	"tahoe-go/internal/storage/gbs"
)

// Clients that come through Tor may take long over each step.
const onionHeaderTimeout = time.Minute

// startStorage serves this node's shares at every place that tub.port and the
// onion service name, and writes what clients need to know of it.
func (n *Node) startStorage(ctx context.Context) error {
	if !n.cfg.Storage.Enabled {
		return nil
	}
	doors, err := n.openDoors(ctx)
	if err != nil {
		return err
	}
	closeAll := func() {
		for _, l := range doors.listeners {
			l.Close()
		}
	}
	server, err := config.EnsureServer(n.cfg.Dir, n.identity, n.cert, n.cfg.Node.Nickname, doors.hints, hasShares(n.cfg.Storage.Dir))
	if err != nil {
		closeAll()
		return err
	}
	store, err := diskstore.Open(diskstore.Config{
		Dir:           n.cfg.Storage.Dir,
		ReservedSpace: n.cfg.Storage.Reserved,
		ReadOnly:      n.cfg.Storage.ReadOnly,
		Discard:       n.cfg.Storage.Discard,
		NodeID:        n.cert.TubIDBytes(),
		Application:   version.Application,
		Log:           n.log.With("part", "storage"),
	})
	if err != nil {
		closeAll()
		return err
	}
	n.onClose(store.Close)
	hc := gbs.HandlerConfig{Server: store, Swissnum: server.FURL.Swissnum, Log: n.log.With("part", "storage")}
	if doors.onion {
		hc.HeaderTimeout = onionHeaderTimeout
	}
	handler := gbs.NewHandler(hc)
	n.onClose(func() error { return handler.Close(context.WithoutCancel(ctx)) })

	var loops []func(context.Context) error
	for _, l := range doors.listeners {
		loops = append(loops, func(ctx context.Context) error { return gbs.Serve(ctx, l, n.cert, handler) })
	}
	n.serve(ctx, "storage server", loops...)
	n.note("storage server: shares in %s, open to clients at %s", n.cfg.Storage.Dir, doors.places())
	if len(doors.hints) > 0 {
		n.note("storage server: give %s to those who may store here (tahoe add-server); it holds the key to it",
			filepath.Join(n.cfg.Dir, filepath.FromSlash(config.EntryFile)))
	}
	return nil
}

// doors are where clients come in.
type doors struct {
	listeners []net.Listener
	hints     []furl.Hint // where others are told to knock
	onion     bool
}

// places names the hints for people.
func (d doors) places() string {
	if len(d.hints) == 0 {
		return "no address that others are told"
	}
	text := ""
	for i, h := range d.hints {
		if i > 0 {
			text += ", "
		}
		text += h.String()
	}
	return text
}

// openDoors listens. On an error nothing is left open.
func (n *Node) openDoors(ctx context.Context) (d doors, err error) {
	defer func() {
		if err != nil {
			for _, l := range d.listeners {
				l.Close()
			}
		}
	}()
	if n.cfg.Tor.Onion && n.tor != nil {
		l, err := n.openOnion(ctx)
		if err != nil {
			return d, err
		}
		d.onion = true
		d.listeners = append(d.listeners, l)
	}
	if !n.cfg.Node.Listens {
		return d, nil
	}
	ports := n.cfg.Node.TubPort
	if len(ports) == 0 {
		ports = []endpoint.Value{endpoint.TCP{}} // the system chooses
	}
	for _, v := range ports {
		a, ok := listenAddr(v)
		if !ok || n.isOnionTarget(v) {
			continue // listen:tor, and the port that Tor delivers to, are open already
		}
		l, err := listenOn(ctx, n.network, v, a)
		if err != nil {
			return d, fmt.Errorf("listening at tub.port %s: %w", v, err)
		}
		d.listeners = append(d.listeners, l)
	}
	port, err := n.keepPort(d.listeners)
	if err != nil {
		return d, err
	}
	d.hints, err = n.hints(port)
	return d, err
}

// isOnionTarget reports whether tub.port names the port that Tor delivers to.
func (n *Node) isOnionTarget(v endpoint.Value) bool {
	t, ok := v.(endpoint.TCP)
	return ok && n.cfg.Tor.Onion && n.tor != nil && t.Loopback() && t.Port == n.cfg.Tor.LocalPort
}

func (n *Node) openOnion(ctx context.Context) (net.Listener, error) {
	key, err := onion.ReadKeyFile(n.cfg.Tor.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the onion service: %w", err)
	}
	l, err := n.tor.ListenOnion(ctx, tor.OnionConfig{
		Key: key, Port: n.cfg.Tor.Port, LocalPort: n.cfg.Tor.LocalPort,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the onion service: %w", err)
	}
	return l, nil
}

// keepPort returns the first TCP port that is listened on, and records it if
// it was the system's choice, so that it stays the same.
func (n *Node) keepPort(listeners []net.Listener) (int, error) {
	for _, l := range listeners {
		a, err := netx.AddrOf(l)
		if err != nil || a.Kind != netx.TCP {
			continue // the onion service
		}
		if len(n.cfg.Node.TubPort) > 0 {
			return a.Port, nil
		}
		return a.Port, config.WritePort(n.cfg.Dir, fmt.Sprintf("tcp:%d", a.Port))
	}
	return 0, nil
}

// hints are where this node is found: tub.location, with AUTO spelled out.
func (n *Node) hints(port int) ([]furl.Hint, error) {
	location := n.cfg.Node.TubLocation
	auto := len(location) == 0 || slices.Contains(location, endpoint.Value(endpoint.Auto{}))
	hints := config.Hints(location)
	if !auto || port == 0 {
		return hints, nil
	}
	hosts, err := netx.LocalAddresses()
	if err != nil {
		return nil, fmt.Errorf("finding this machine's addresses for tub.location = AUTO: %w", err)
	}
	for _, ip := range hosts {
		hints = append(hints, furl.Hint{Kind: furl.TCP, Host: ip.String(), Port: port})
	}
	return hints, nil
}

// hasShares reports whether a share directory was in use before.
func hasShares(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, "shares"))
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return len(e.Name()) == 2 })
}
