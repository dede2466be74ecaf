package node

import (
	"fmt"
	"net"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config/endpoint"
)

// adopt takes over a socket that the service manager has opened for this node,
// and says where it is bound. One that others can reach is refused to a node
// that hides.
func (n *Node) adopt(s endpoint.Systemd) (net.Listener, netx.Addr, error) {
	f, err := n.opts.Sockets.Take(s.Index, s.Name)
	if err != nil {
		return nil, netx.Addr{}, err
	}
	l, err := netx.Adopt(n.network, f)
	if err != nil {
		return nil, netx.Addr{}, err
	}
	domain, a := "UNIX", netx.Addr{Kind: netx.Unix, Host: l.Addr().String()}
	if t, ok := l.Addr().(*net.TCPAddr); ok {
		domain, a = "INET6", netx.Addr{Kind: netx.TCP, Host: t.IP.String(), Port: t.Port}
		if len(t.IP) == net.IPv4len {
			domain = "INET"
		}
	}
	if domain != s.Domain {
		l.Close()
		return nil, a, fmt.Errorf("the socket that was handed over is one of %s, at %s; write domain=%s, or change ListenStream in the socket unit", domain, a, domain)
	}
	return l, a, nil
}

// openToOthers reports whether other machines can reach what listens at a.
func openToOthers(a netx.Addr) bool {
	ip := net.ParseIP(a.Host)
	return a.Kind == netx.TCP && ip != nil && !ip.IsLoopback()
}
