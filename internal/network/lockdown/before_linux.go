//go:build amd64 || arm64

package lockdown

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openSockets looks at every descriptor of the process. What no rule takes
// back must be in the report.
func openSockets() sockets {
	var s sockets
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.unknown = true
		return s
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			s.add(fd)
		}
	}
	return s
}

// add counts fd. An error means that it is no socket, or closed by now.
func (s *sockets) add(fd int) {
	option := func(name int) int {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
		if err != nil {
			return -1
		}
		return v
	}
	family, protocol := option(unix.SO_DOMAIN), option(unix.SO_PROTOCOL)
	if family < 0 || family == unix.AF_UNIX {
		return
	}
	isTCP := protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP
	switch listens := option(unix.SO_ACCEPTCONN) == 1; {
	case !isTCP:
		s.other++
	case !listens:
		s.tcp++
	default:
		s.listeners = append(s.listeners, localAddress(fd))
		if protocol == unix.IPPROTO_MPTCP {
			s.multipath++
		}
	}
}

func localAddress(fd int) string {
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
	}
	return fmt.Sprintf("an unknown port (%v)", err)
}
