//go:build unix

package netx

import (
	"net"
	"syscall"
	"testing"
)

// Both ends send small writes at once, and neither tells the other of more
// addresses of its machine.
func TestSocketOptions(t *testing.T) {
	n := must(t, Policy{TCP: Direct}, Routes{})
	l, err := n.Listen(t.Context(), Addr{Kind: TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.Dial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, end := range map[string]net.Conn{"dialled": c, "accepted": s} {
		tcp := end.(*net.TCPConn)
		raw, err := tcp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if v, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY); v == 0 || err != nil {
				t.Errorf("%s: TCP_NODELAY = %d, %v", name, v, err)
			}
		})
		if multi, err := tcp.MultipathTCP(); multi || err != nil {
			t.Errorf("%s: multipath = %v, %v", name, multi, err)
		}
	}
}
