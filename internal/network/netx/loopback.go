package netx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// Loopback reaches this machine and nothing else: 127.0.0.0/8, ::1,
// "localhost" (which is 127.0.0.1, then ::1, without asking a resolver) and
// unix sockets. It is for the web port, for Tor's SOCKS and control ports, and
// for the command line talking to its gateway.
type Loopback struct{}

var _ Network = Loopback{}

const notLoopback = "only loopback addresses (127.0.0.1, ::1, localhost) and unix sockets are allowed here"

// Dial connects to a port or socket of this machine.
func (Loopback) Dial(ctx context.Context, a Addr) (net.Conn, error) {
	var d net.Dialer
	if a.Kind == Unix {
		if err := checkUnix(a); err != nil {
			return nil, err
		}
		return d.DialContext(ctx, "unix", a.Host)
	}
	if a.Kind != TCP || !isLoopbackHost(a.Host) {
		return nil, refuse(a, notLoopback)
	}
	if a.Port < 1 || a.Port > 65535 {
		return nil, refuse(a, "the port must be between 1 and 65535")
	}
	d.SetMultipathTCP(false)
	if !isLocalhost(a.Host) {
		return d.DialContext(ctx, "tcp", a.hostPort())
	}
	a.Host = "127.0.0.1"
	c, err := d.DialContext(ctx, "tcp", a.hostPort())
	if err != nil && ctx.Err() == nil {
		a.Host = "::1"
		if c6, err6 := d.DialContext(ctx, "tcp", a.hostPort()); err6 == nil {
			return c6, nil
		}
	}
	return c, err
}

// Listen binds a port or socket of this machine; "localhost" is 127.0.0.1. A
// socket file that a dead process left is replaced. Who may connect to a unix
// socket is decided by its folder's permissions: keep it in a private one.
func (Loopback) Listen(ctx context.Context, a Addr) (net.Listener, error) {
	switch {
	case a.Kind == Unix:
		return listenUnix(ctx, a)
	case a.Kind == Tor:
		return nil, refuse(a, "an onion service is made by Tor; listen where it delivers: a unix socket or a loopback port")
	case a.Kind != TCP || !isLoopbackHost(a.Host):
		return nil, refuse(a, notLoopback)
	}
	if isLocalhost(a.Host) {
		a.Host = "127.0.0.1"
	}
	return listenTCP(ctx, a)
}

// Hints are those of the clear network: a gateway on loopback may be busy.
func (Loopback) Hints(Addr) Hints { return clearHints }

// isLoopbackHost reports whether host can only be this machine.
func isLoopbackHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback() && ip.Zone() == ""
	}
	return isLocalhost(host)
}

// listenTCP binds an IP literal or "".
func listenTCP(ctx context.Context, a Addr) (net.Listener, error) {
	if a.Port < 0 || a.Port > 65535 {
		return nil, refuse(a, "the port must be between 0 (any) and 65535")
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // it would tell peers this machine's other addresses
	return lc.Listen(ctx, "tcp", a.hostPort())
}

func listenUnix(ctx context.Context, a Addr) (net.Listener, error) {
	if err := checkUnix(a); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", a.Host)
	if err == nil || !isStaleSocket(ctx, a) {
		return l, err
	}
	if err := os.Remove(a.Host); err != nil {
		return nil, fmt.Errorf("removing a socket that a dead process left: %w", err)
	}
	return lc.Listen(ctx, "unix", a.Host)
}

// isStaleSocket reports whether a is a socket file that nobody listens at.
func isStaleSocket(ctx context.Context, a Addr) bool {
	if fi, err := os.Lstat(a.Host); err != nil || fi.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := Loopback{}.Dial(ctx, a)
	if err == nil {
		c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// checkUnix refuses what is not a socket in the file system: an abstract
// socket (a leading @) has no permissions at all.
func checkUnix(a Addr) error {
	most := len(syscall.RawSockaddrUnix{}.Path) - 1
	switch {
	case a.Host == "":
		return refuse(a, "a unix socket needs a path")
	case a.Host[0] == '@', strings.IndexByte(a.Host, 0) >= 0:
		return refuse(a, "abstract unix sockets are open to every process of the machine; use a path")
	case len(a.Host) > most:
		return refuse(a, fmt.Sprintf("the path has %d bytes and this system takes at most %d; choose a shorter folder", len(a.Host), most))
	}
	return nil
}
