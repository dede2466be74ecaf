package tor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/socks"
)

// place is where one tor may listen.
type place struct{ control, socks []netx.Addr }

// usual are the tors that a machine may have, likeliest first: that of the
// system, by its sockets before its ports, then that of Tor Browser, which goes
// when the browser is closed.
var usual = []place{
	{
		control: []netx.Addr{
			{Kind: netx.Unix, Host: "/run/tor/control"},
			{Kind: netx.Unix, Host: "/var/run/tor/control"},
			{Kind: netx.TCP, Host: "127.0.0.1", Port: 9051},
		},
		socks: []netx.Addr{
			{Kind: netx.Unix, Host: "/run/tor/socks"},
			{Kind: netx.Unix, Host: "/var/run/tor/socks"},
			{Kind: netx.TCP, Host: "127.0.0.1", Port: 9050},
		},
	},
	{
		control: []netx.Addr{{Kind: netx.TCP, Host: "127.0.0.1", Port: 9151}},
		socks: []netx.Addr{
			{Kind: netx.TCP, Host: "127.0.0.1", Port: 9150},
			{Kind: netx.TCP, Host: "127.0.0.1", Port: 9151},
		},
	},
}

// anywhere is all of usual as one place.
var anywhere = place{slices.Concat(usual[0].control, usual[1].control), slices.Concat(usual[0].socks, usual[1].socks)}

// UsualPorts are the TCP ports at which tor is looked for where nothing says
// where it is.
func UsualPorts() (ports []netx.Addr) {
	for _, a := range slices.Concat(anywhere.control, anywhere.socks) {
		if a.Kind == netx.TCP && !slices.Contains(ports, a) {
			ports = append(ports, a)
		}
	}
	return ports
}

// probeTime bounds the look at one candidate: it is on this machine.
const probeTime = 5 * time.Second

// NotFoundError says that no tor was found, where one was looked for, and what
// each place said.
type NotFoundError struct {
	Looked []Looked
}

// Looked is one place where tor was looked for.
type Looked struct {
	At  netx.Addr
	Err error
}

// Unwrap returns what each place said.
func (e *NotFoundError) Unwrap() []error {
	var all []error
	for _, l := range e.Looked {
		all = append(all, l.Err)
	}
	return all
}

func (e *NotFoundError) Error() string {
	var denied *netx.Addr
	for _, l := range e.Looked {
		if auth, ok := errors.AsType[*control.AuthError](l.Err); ok {
			return auth.Error()
		}
		if denied == nil && l.At.Kind == netx.Unix && errors.Is(l.Err, fs.ErrPermission) {
			denied = &l.At
		}
	}
	if denied != nil {
		return fmt.Sprintf("Tor is running but you may not control it: %s is closed to you. On Debian: sudo adduser $USER debian-tor, then log in again. (Only servers need this; clients need just SOCKS.)", denied)
	}
	return "Tor is not running. Looked at " + strings.Join(e.places(), ", ") + "." + e.oddities() + " Start tor, or let the node launch its own ([tor] launch = true)."
}

// places are where tor was looked for, each once.
func (e *NotFoundError) places() (places []string) {
	for _, l := range e.Looked {
		if at := l.At.String(); !slices.Contains(places, at) {
			places = append(places, at)
		}
	}
	return places
}

// oddities are sentences on what is there instead, or in the way.
func (e *NotFoundError) oddities() (odd string) {
	shut := false
	for _, l := range e.Looked {
		if errors.Is(l.Err, socks.ErrNotTor) || errors.Is(l.Err, socks.ErrProtocol) || errors.Is(l.Err, control.ErrNotTor) {
			odd += fmt.Sprintf(" (Something that is not Tor answers at %s.)", l.At)
		}
	}
	for _, l := range e.Looked {
		if l.At.Kind != netx.Unix && errors.Is(l.Err, fs.ErrPermission) && !shut { // ports have no permissions
			shut = true
			odd += fmt.Sprintf(" (The kernel's lock-down keeps this process from %s: if Tor has moved there, restart the node.)", l.At)
		}
	}
	return odd
}

// dialLocal connects to tor. Only an address that the operator has written may
// be on another machine, and it is an IP literal then: see checkPlace.
func (t *Tor) dialLocal(ctx context.Context, a netx.Addr) (net.Conn, error) {
	if isLocal(a) {
		return t.cfg.Local.Dial(ctx, a)
	}
	var d net.Dialer
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", hostPort(a.Host, a.Port))
}

// findControl connects and authenticates to the first control port that lets
// us. Each candidate is tried on its own, and one that fails hides no other.
func (t *Tor) findControl(ctx context.Context, candidates []netx.Addr, onEvent func(control.Event)) (*control.Conn, netx.Addr, error) {
	var none NotFoundError
	for _, a := range candidates {
		c, info, err := t.openControl(ctx, a, onEvent)
		if ctx.Err() != nil {
			return nil, a, ctx.Err()
		}
		if err != nil {
			t.log.Debug("no control port", "at", a.String(), "err", err)
			none.Looked = append(none.Looked, Looked{a, err})
			continue
		}
		t.board.update(func(l *Ladder) { l.Version = info.Version })
		return c, a, nil
	}
	return nil, netx.Addr{}, &none
}

func (t *Tor) openControl(ctx context.Context, a netx.Addr, onEvent func(control.Event)) (*control.Conn, control.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	nc, err := t.dialLocal(ctx, a)
	if err != nil {
		return nil, control.Info{}, err
	}
	c := control.New(nc, onEvent)
	info, err := c.Authenticate(ctx, control.Credentials{Password: t.cfg.Password, CookieFile: t.cfg.CookieFile})
	if err != nil {
		c.Close()
		return nil, info, err
	}
	return c, info, nil
}

// findSOCKS returns the first candidate that is Tor's SOCKS port.
func (t *Tor) findSOCKS(ctx context.Context, candidates []netx.Addr) (netx.Addr, error) {
	var none NotFoundError
	for _, a := range candidates {
		err := t.probeSOCKS(ctx, a)
		if ctx.Err() != nil {
			return a, ctx.Err()
		}
		if err == nil {
			return a, nil
		}
		t.log.Debug("no SOCKS port", "at", a.String(), "err", err)
		none.Looked = append(none.Looked, Looked{a, err})
	}
	return netx.Addr{}, &none
}

func (t *Tor) probeSOCKS(ctx context.Context, a netx.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := t.dialLocal(ctx, a)
	if err != nil {
		return err
	}
	defer c.Close()
	return socks.Probe(ctx, c)
}

// socksOf asks a tor for its SOCKS listeners on this machine, sockets first. A
// filter before tor may refuse to say.
func socksOf(ctx context.Context, c *control.Conn) []netx.Addr {
	info, err := c.GetInfo(ctx, "net/listeners/socks")
	if err != nil {
		return nil
	}
	var found []netx.Addr
	for _, s := range control.Quoted(info["net/listeners/socks"]) {
		if a, ok := parseListener(s); ok {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b netx.Addr) int {
		return boolCompare(b.Kind == netx.Unix, a.Kind == netx.Unix)
	})
	return found
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
