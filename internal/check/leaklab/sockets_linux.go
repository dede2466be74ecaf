package leaklab

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// socketWatch knows the sockets of a namespace that were not of loopback. The
// kernel tells of each TCP and UDP socket when it ends (sock_diag); those that
// still live are read from /proc.
type socketWatch struct {
	ns   *netns
	file *os.File
	done chan struct{}

	mu      sync.Mutex // guards below
	ended   map[string]bool
	lost    error                    // the kernel had more to tell than we read
	waiting map[uint16]chan struct{} // by local port: closed when a socket of it ends
}

// The multicast groups of destroyed sockets, TCP and UDP over IPv4 and IPv6.
const (
	firstGroup, lastGroup = 1, 4
	attrProtocol          = 10 // INET_DIAG_PROTOCOL
)

func watchSockets(ns *netns) (*socketWatch, error) {
	w := &socketWatch{ns: ns, done: make(chan struct{}), ended: map[string]bool{}, waiting: map[uint16]chan struct{}{}}
	err := ns.do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
		if err != nil {
			return err
		}
		w.file = os.NewFile(uintptr(fd), "sock_diag")
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) // first, since it clears the groups
		for group := firstGroup; group <= lastGroup && err == nil; group++ {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watching sockets: %w", err)
	}
	go w.run()
	return w, nil
}

func (w *socketWatch) close() { w.file.Close(); <-w.done }

func (w *socketWatch) run() {
	defer close(w.done)
	buf := make([]byte, 1<<16)
	for {
		n, err := w.file.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			w.mu.Lock()
			w.lost = err
			w.mu.Unlock()
			continue
		case err != nil:
			return
		}
		for msg := buf[:n]; len(msg) >= 16; {
			size := int(binary.NativeEndian.Uint32(msg))
			if size < 16 || size > len(msg) {
				break
			}
			w.told(msg[16:size])
			msg = msg[min(len(msg), (size+3)&^3):]
		}
	}
}

// told takes a struct inet_diag_msg and its attributes.
func (w *socketWatch) told(m []byte) {
	const fixed = 72
	if len(m) < fixed {
		return
	}
	addr := func(at int) netip.Addr {
		if m[0] == unix.AF_INET {
			return netip.AddrFrom4([4]byte(m[at : at+4]))
		}
		return netip.AddrFrom16([16]byte(m[at : at+16]))
	}
	s := socket{protocol: "socket",
		local:  netip.AddrPortFrom(addr(8), binary.BigEndian.Uint16(m[4:])),
		remote: netip.AddrPortFrom(addr(24), binary.BigEndian.Uint16(m[6:]))}
	for a := m[fixed:]; len(a) >= 5; {
		size := int(binary.NativeEndian.Uint16(a))
		if size < 4 || size > len(a) {
			break
		}
		if binary.NativeEndian.Uint16(a[2:]) == attrProtocol {
			s.protocol = map[byte]string{unix.IPPROTO_TCP: "TCP", unix.IPPROTO_UDP: "UDP"}[a[4]]
		}
		a = a[min(len(a), (size+3)&^3):]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.outside() {
		w.ended[s.String()] = true
	}
	if c := w.waiting[s.local.Port()]; c != nil {
		close(c)
		delete(w.waiting, s.local.Port())
	}
}

// living returns what there is now that is not of loopback.
func (w *socketWatch) living() (list []string, err error) {
	err = w.ns.do(func() error {
		for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
			table, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			for _, s := range parseTable(strings.ToUpper(strings.TrimSuffix(name, "6")), table) {
				if s.outside() {
					list = append(list, s.String())
				}
			}
		}
		return nil
	})
	return list, err
}

// list returns the living and the ended, each once.
func (w *socketWatch) list(living []string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Concat(living, slices.Collect(maps.Keys(w.ended)))
	slices.Sort(list)
	return slices.Compact(list), w.lost
}

// socket is one of TCP or UDP.
type socket struct {
	protocol      string
	local, remote netip.AddrPort
}

// outside reports whether the socket was meant for, or open to, anything but
// this machine. One that was never bound is not.
func (s socket) outside() bool {
	if remote := s.remote.Addr().Unmap(); !remote.IsUnspecified() {
		return !remote.IsLoopback()
	}
	return s.local.Port() != 0 && !s.local.Addr().Unmap().IsLoopback()
}

func (s socket) String() string {
	if s.remote.Addr().IsUnspecified() {
		return fmt.Sprintf("%s bound to %v", s.protocol, s.local.Addr().Unmap())
	}
	return fmt.Sprintf("%s connected to %v", s.protocol, netip.AddrPortFrom(s.remote.Addr().Unmap(), s.remote.Port()))
}

// parseTable reads /proc/net/tcp and its like.
func parseTable(protocol string, table []byte) []socket {
	var list []socket
	for sc := bufio.NewScanner(bytes.NewReader(table)); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) < 3 {
			continue
		}
		local, ok1 := parseHex(fields[1])
		remote, ok2 := parseHex(fields[2])
		if ok1 && ok2 {
			list = append(list, socket{protocol, local, remote})
		}
	}
	return list
}

// parseHex reads 0100007F:1F90: words in the machine's order.
func parseHex(s string) (netip.AddrPort, bool) {
	a, p, _ := strings.Cut(s, ":")
	ip, err := hex.DecodeString(a)
	port, err2 := hex.DecodeString(p)
	if err != nil || err2 != nil || len(ip)%4 != 0 || len(port) != 2 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(ip); i += 4 {
		binary.BigEndian.PutUint32(ip[i:], binary.NativeEndian.Uint32(ip[i:]))
	}
	addr, ok := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port)), ok
}
