// Package lockdown has the Linux kernel take the network away from this
// process, so that a mistake anywhere in it, or in a library, cannot reach the
// clear network: it can speak to Tor or to nobody. It is the last of three
// walls: netx.Network has no dialer to leak with, archtest finds code that goes
// around it, and this holds what both missed.
//
// Two means, each with the other's holes closed: a seccomp filter decides which
// kinds of socket can be made, Landlock where a TCP socket may connect. What
// each stops and leaves open was measured, probe by probe; the tests repeat it.
//
// It does not hide files, and is no prison for a program that wants out: unix
// sockets of other programs stay usable. Report.Open says what remains.
//
// Everything that needs the network opened must be opened before Apply: ports
// to listen at, and programs to launch, which inherit all of it. A tor started
// afterwards is a tor without a network; Launcher starts it from outside.
//
// Decision: docs/decisions/08-lockdown.md. Start with Apply, Level and Report.
package lockdown

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tahoe-go/internal/network/netx"
)

// ErrUnsupported is found in the error of a system that cannot lock down; the
// process is then as it was. See MissingError for a Linux that lacks something.
var ErrUnsupported = fmt.Errorf("lock-down by the kernel needs Linux on amd64 or arm64: %w", errors.ErrUnsupported)

// MissingError says what a Linux kernel lacks for a lock-down. The process is
// as it was. errors.Is finds ErrUnsupported in it.
type MissingError struct {
	Missing []string // what, and what would cure it
}

// Error lists what is missing.
func (e *MissingError) Error() string {
	return "this kernel cannot lock the process down: " + strings.Join(e.Missing, "; ")
}

// Unwrap returns ErrUnsupported.
func (e *MissingError) Unwrap() error { return ErrUnsupported }

// Level says what a locked-down process may still connect to. The zero Level
// is UnixOnly.
type Level struct {
	tor []netip.AddrPort
}

// UnixOnly leaves unix sockets, and nothing that has an address. For a node
// that reaches tor's SOCKS and control ports by unix sockets.
func UnixOnly() Level { return Level{} }

// TorPorts leaves unix sockets and TCP connections to tor's ports. It is
// weaker: the kernel can tell ports apart, not addresses, so the same ports of
// any machine stay open. No ports at all is UnixOnly.
func TorPorts(at ...netip.AddrPort) Level { return Level{slices.Clone(at)} }

// For is the strongest Level at which places, tor's SOCKS and control ports,
// can still be reached. The zero Addr stands for a port that is not used.
func For(places ...netx.Addr) (Level, error) {
	var l Level
	for _, a := range places {
		host := a.Host
		switch {
		case a == netx.Addr{} || a.Kind == netx.Unix:
			continue
		case a.Kind != netx.TCP:
			return l, fmt.Errorf("no lock-down leaves a way to %s", a)
		case host == "localhost": // as netx.Loopback spells it
			l.tor = append(l.tor, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(a.Port)))
			host = "127.0.0.1"
		}
		ip, err := netip.ParseAddr(host)
		if err != nil || a.Port < 1 || a.Port > 65535 {
			return l, fmt.Errorf("no lock-down leaves a way to %s: it needs an IP address and a port", a)
		}
		l.tor = append(l.tor, netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)))
	}
	return l, nil
}

// Strict reports whether nothing but unix sockets is left.
func (l Level) Strict() bool { return len(l.tor) == 0 }

// String names the level: "unix sockets only", or "unix sockets and TCP to
// ports 9050 and 9051".
func (l Level) String() string {
	if l.Strict() {
		return "unix sockets only"
	}
	return "unix sockets and TCP to " + l.portsText()
}

// ports are the numbers, sorted.
func (l Level) ports() []uint16 {
	var ps []uint16
	for _, a := range l.tor {
		ps = append(ps, a.Port())
	}
	slices.Sort(ps)
	return slices.Compact(ps)
}

func (l Level) portsText() string {
	ps := l.ports()
	if len(ps) == 1 {
		return fmt.Sprintf("port %d", ps[0])
	}
	text := fmt.Sprintf("ports %d", ps[0])
	for _, p := range ps[1 : len(ps)-1] {
		text += fmt.Sprintf(", %d", p)
	}
	return text + fmt.Sprintf(" and %d", ps[len(ps)-1])
}

// families reports which kinds of TCP socket the level needs.
func (l Level) families() (v4, v6 bool) {
	for _, a := range l.tor {
		v4 = v4 || a.Addr().Unmap().Is4()
		v6 = v6 || !a.Addr().Unmap().Is4()
	}
	return v4, v6
}

func (l Level) check() error {
	for _, a := range l.tor {
		if !a.IsValid() || a.Port() == 0 {
			return fmt.Errorf("locking down: %s is no address and port", a)
		}
	}
	return nil
}

// Apply locks the whole process down, every thread of it and whatever it
// starts later, until it ends; there is no way back, and a second call can only
// tighten. Listeners opened before go on accepting. It tries what it forbids
// before it returns, so a nil error means that the kernel does hold.
//
// ErrUnsupported, which a *MissingError is too, means that nothing was changed.
// After any other error the process may be locked down in part: do not run on
// with it in the belief that it is.
//
// Apply is for the main program alone: it locks everything that shares the
// process. Concurrent calls take turns.
func Apply(l Level) (Report, error) {
	if err := l.check(); err != nil {
		return Report{}, err
	}
	return apply(l)
}
