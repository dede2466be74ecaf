package netx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Carrier says how addresses of Kind TCP travel: the values of tahoe.cfg's
// "[connections] tcp =".
type Carrier string

// The carriers.
const (
	Direct   Carrier = "tcp"      // straight over the clear network
	ViaTor   Carrier = "tor"      // through Tor's exits
	Disabled Carrier = "disabled" // not at all
)

// Policy says what goes where. Whatever it says, onion names and Kind Tor go
// through Tor or are refused, and Kind Unix is only ever listened at.
type Policy struct {
	// TCP is how addresses of Kind TCP travel. Required.
	TCP Carrier
	// HideAddress keeps this machine's address from everyone
	// (reveal-IP-address = false): TCP may not be Direct, and listeners bind
	// loopback addresses and unix sockets only.
	HideAddress bool
	// AllowPrivate lets Tor be asked for private addresses and local names.
	// For private Tor networks in tests.
	AllowPrivate bool
}

// TorDialer connects through Tor. It receives onion names in lower case
// without trailing dot, host names and public IP literals, and resolves none
// of them. Package tor has one.
type TorDialer interface {
	DialTor(ctx context.Context, a Addr) (net.Conn, error)
}

// Routes are the ways out that New may use.
type Routes struct {
	Tor TorDialer // nil: this node has no Tor
}

// New returns the network that p describes. The value for a Policy that is not
// Direct holds no dialer and no resolver for the clear network; the value for
// HideAddress has no way to bind a public address either.
func New(p Policy, r Routes) (Network, error) {
	t := torOnly{tor: r.Tor, tcp: p.TCP, allowPrivate: p.AllowPrivate}
	switch p.TCP {
	case Direct:
		if p.HideAddress {
			return nil, errors.New("network policy: the address of this machine is to be hidden (reveal-IP-address = false), but tcp connections are to go straight over the clear network (tcp = tcp); set tcp = tor or tcp = disabled")
		}
		return newClearNet(t), nil
	case ViaTor:
		if r.Tor == nil {
			return nil, errors.New("network policy: tcp connections are to go through Tor (tcp = tor), but this node has no Tor; see the [tor] section of tahoe.cfg")
		}
	case Disabled:
	default:
		return nil, fmt.Errorf("network policy: unknown way %q for tcp connections; it must be %q, %q or %q", p.TCP, Direct, ViaTor, Disabled)
	}
	if p.HideAddress {
		return &t, nil
	}
	return &torOut{torOnly: t}, nil
}

// torOnly reaches the world through Tor or not at all, and listens only where
// nobody but this machine can connect.
type torOnly struct {
	tor          TorDialer
	tcp          Carrier // ViaTor or Disabled here; clearNet never consults it
	allowPrivate bool
}

var _ Network = (*torOnly)(nil)

// Dial connects through Tor.
func (t *torOnly) Dial(ctx context.Context, a Addr) (net.Conn, error) {
	a, err := checkDial(a)
	if err != nil {
		return nil, err
	}
	if a.Kind == TCP && t.tcp == Disabled && !isOnion(a.Host) {
		return nil, refuse(a, "tcp connections are disabled on this node ([connections] tcp = disabled)")
	}
	return t.dialTor(ctx, a)
}

// dialTor takes an address that passed checkDial.
func (t *torOnly) dialTor(ctx context.Context, a Addr) (net.Conn, error) {
	if t.tor == nil {
		return nil, refuse(a, "this place is reached through Tor only, and this node has no Tor; see the [tor] section of tahoe.cfg")
	}
	if why := checkThroughTor(a.Host); why != "" && !t.allowPrivate {
		return nil, refuse(a, why)
	}
	a.Kind = Tor
	return t.tor.DialTor(ctx, a)
}

// Listen binds loopback addresses and unix sockets.
func (t *torOnly) Listen(ctx context.Context, a Addr) (net.Listener, error) {
	if a.Kind == TCP && !isLoopbackHost(a.Host) {
		return nil, refuse(a, "this node hides its address, so it listens on 127.0.0.1, ::1 and unix sockets only; others reach it through its onion service")
	}
	return Loopback{}.Listen(ctx, a)
}

// Hints: everything is as slow as Tor.
func (t *torOnly) Hints(Addr) Hints { return torHints }

// torOut dials as torOnly does but does not hide where it listens.
type torOut struct {
	torOnly
}

var _ Network = (*torOut)(nil)

// Listen binds what it is told.
func (t *torOut) Listen(ctx context.Context, a Addr) (net.Listener, error) { return listenAny(ctx, a) }

// clearNet dials the clear network, and Tor for what belongs there.
type clearNet struct {
	dialer net.Dialer
	tor    torOnly
}

var _ Network = (*clearNet)(nil)

func newClearNet(t torOnly) *clearNet {
	c := &clearNet{tor: t}
	// Multipath TCP would tell the peer this machine's other addresses.
	c.dialer.SetMultipathTCP(false)
	return c
}

// Dial connects. Go turns Nagle's algorithm off on every TCP connection, and
// dials IPv6 and IPv4 in parallel when a name has both.
func (c *clearNet) Dial(ctx context.Context, a Addr) (net.Conn, error) {
	a, err := checkDial(a)
	if err != nil {
		return nil, err
	}
	if a.Kind == Tor || isOnion(a.Host) {
		return c.tor.dialTor(ctx, a)
	}
	if isLocalhost(a.Host) {
		return Loopback{}.Dial(ctx, a) // a resolver may say something else, or tell others
	}
	return c.dialer.DialContext(ctx, "tcp", a.hostPort())
}

// Listen binds what it is told.
func (c *clearNet) Listen(ctx context.Context, a Addr) (net.Listener, error) {
	return listenAny(ctx, a)
}

// Hints depend on whether a goes through Tor.
func (c *clearNet) Hints(a Addr) Hints {
	if a.Kind == Tor || isOnion(a.Host) {
		return torHints
	}
	return clearHints
}

// listenAny binds an IP literal, every address of the machine (empty host),
// localhost, or a unix socket. Names are not looked up.
func listenAny(ctx context.Context, a Addr) (net.Listener, error) {
	if a.Kind != TCP || isLoopbackHost(a.Host) {
		return Loopback{}.Listen(ctx, a)
	}
	if _, err := netip.ParseAddr(a.Host); err != nil && a.Host != "" {
		return nil, refuse(a, "listening needs an IP address of this machine, or none for all of them; names are not looked up")
	}
	return listenTCP(ctx, a)
}
