// Package netx is the one door to the network: dialling, listening, names and
// HTTP clients. Everything that talks to another machine does so through a
// Network that it was handed; node builds exactly one.
package netx

import (
	"context"
	"net"
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

// Network carries connections. Implementations: the clear and the Tor-only
// network of this package, memnet, Denied.
type Network interface {
	// Dial connects to a. The context's deadline covers everything up to a
	// usable connection, proxy handshakes included.
	Dial(ctx context.Context, a Addr) (net.Conn, error)
	// Listen accepts connections at a.
	Listen(ctx context.Context, a Addr) (net.Listener, error)
}
