package memnet

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"tahoe-go/internal/network/netx"
)

// The suite that net.Pipe and net.TCPConn themselves pass.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n := New(nil)
		c1, c2 = connect(t, n, "a", "b")
		return c1, c2, n.Close, nil
	})
}

// connect dials from a to a new listener at b.
func connect(t *testing.T, n *Net, a, b string) (client, server *Conn) {
	t.Helper()
	l, err := n.Host(b).Listen(t.Context(), netx.Addr{Kind: netx.TCP})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to, err := netx.AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.Host(a).Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Conn), s.(*Conn)
}
