// Package netx is the one door to the network: dialling, listening, names and
// HTTP clients. Everything that talks to another machine does so through a
// Network that it was handed; node builds exactly one, from a Policy, with
// New. What a Policy forbids is not a flag checked on the way out: New returns
// a value that has no means to do it.
//
// It does not speak to Tor (package tor is handed in through Routes) and knows
// nothing of what is said over a connection. Start with Network, New, Loopback
// and HTTPClient.
package netx

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Kind says how an address is reached.
type Kind string

// The kinds of address.
const (
	TCP  Kind = "tcp"  // host name or IP literal and port, over the clear network (or Tor where policy says so)
	Tor  Kind = "tor"  // onion name, host name or IP literal and port, always through Tor
	Unix Kind = "unix" // path of a unix socket on this machine
)

// Addr names a place. Host is never resolved here: it is handed to whatever
// carries the connection.
type Addr struct {
	Kind Kind
	Host string // host name, IP literal without brackets, onion name; path for Unix
	Port int
	// Isolation: connections with different labels never share a Tor
	// circuit. Ignored by networks without circuits.
	Isolation string
}

// String returns kind:host:port, or unix:path. It names the place in full:
// whether a log may hold it is for the caller to decide.
func (a Addr) String() string {
	if a.Kind == Unix {
		return "unix:" + a.Host
	}
	return string(a.Kind) + ":" + a.hostPort()
}

func (a Addr) hostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Network carries connections. Implementations: the clear and the Tor-only
// network of this package, Loopback, Denied and memnet's hosts. All may be
// used concurrently.
type Network interface {
	// Dial connects to a. The context's deadline covers everything up to a
	// usable connection, proxy handshakes included.
	Dial(ctx context.Context, a Addr) (net.Conn, error)
	// Listen accepts connections at a. Port 0 picks a free one. The context
	// covers only the call, not the listener's life.
	Listen(ctx context.Context, a Addr) (net.Listener, error)
}

// PolicyError is a connection that was not tried because the node's policy, or
// the address itself, forbids it. No packet has left and no name was looked up.
type PolicyError struct {
	Addr Addr
	Why  string // a sentence for the operator
}

// Error names the address and the reason.
func (e *PolicyError) Error() string {
	return fmt.Sprintf("refused by network policy: %s: %s", e.Addr, e.Why)
}

func refuse(a Addr, why string) error { return &PolicyError{Addr: a, Why: why} }

// Hints says what to expect of connections to one place, so that timeouts need
// no numbers of their own.
type Hints struct {
	RTT   time.Duration // a usual round trip
	Dial  time.Duration // give up connecting after this long
	Stall time.Duration // give up on a peer that makes no progress for this long
}

// What the two kinds of path are like. An onion connection builds two circuits
// and fetches a descriptor first, with retries of its own.
var (
	clearHints = Hints{RTT: 100 * time.Millisecond, Dial: 15 * time.Second, Stall: 15 * time.Second}
	torHints   = Hints{RTT: 1500 * time.Millisecond, Dial: 120 * time.Second, Stall: 60 * time.Second}
)

// Hinter is what a Network may also be.
type Hinter interface {
	Hints(a Addr) Hints
}

// HintsFor returns n's hints for a. A network that gives none is taken to be
// slow for onion names and for Kind Tor, and quick otherwise.
func HintsFor(n Network, a Addr) Hints {
	if h, ok := n.(Hinter); ok {
		return h.Hints(a)
	}
	if a.Kind == Tor || isOnion(a.Host) {
		return torHints
	}
	return clearHints
}

// Denied is the network of a node that may talk to nobody.
type Denied struct{}

var _ Network = Denied{}

// Dial refuses.
func (Denied) Dial(_ context.Context, a Addr) (net.Conn, error) {
	return nil, refuse(a, "this node has no network")
}

// Listen refuses.
func (Denied) Listen(_ context.Context, a Addr) (net.Listener, error) {
	return nil, refuse(a, "this node has no network")
}

// AddrOf returns the address at which l is reached from where it listens. For
// a listener of every address of a machine that is its loopback address. It
// knows the listeners of this package and those of memnet.
func AddrOf(l net.Listener) (Addr, error) {
	switch a := l.Addr().(type) {
	case interface{ Netx() Addr }:
		return a.Netx(), nil
	case *net.UnixAddr:
		return Addr{Kind: Unix, Host: a.Name}, nil
	case *net.TCPAddr:
		host := a.IP.String()
		if a.IP.IsUnspecified() {
			host = "127.0.0.1"
		}
		return Addr{Kind: TCP, Host: host, Port: a.Port}, nil
	}
	return Addr{}, fmt.Errorf("listener of unknown kind %T", l.Addr())
}
