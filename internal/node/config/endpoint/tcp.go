package endpoint

import (
	"fmt"
	"net/netip"
	"strings"

	"tahoe-go/internal/format/furl"
)

// TCP is a port to listen on. Interface is an IP address; "" is every
// address of the machine (IPv4, or IPv6 for tcp6). For Web it may be a host
// name in lower case.
type TCP struct {
	Port      int // 0: the system chooses one
	Interface string
	IPv6      bool
	Backlog   int // 0: not said
}

var tcpListen = kind{"tcp", "tcp:PORT[:interface=IP]", []string{"port", "interface", "backlog"}, func(f *fields) Value {
	return buildTCP(f, false)
}}

// tcpWeb takes a name: that by which the gateway is called.
var tcpWeb = kind{"tcp", "tcp:PORT[:interface=IP-OR-NAME]", tcpListen.fields, func(f *fields) Value {
	name := f.opt("interface")
	_, err := netip.ParseAddr(name)
	if err == nil || name == "" || name == "localhost" || !furl.IsHostName(name) {
		return buildTCP(f, false)
	}
	return TCP{Port: f.port("port", 0), Interface: strings.ToLower(name), Backlog: f.number("backlog", 1, 65535, 0)}
}}

var tcp6Listen = kind{"tcp6", "tcp6:PORT[:interface=IP]", []string{"port", "backlog", "interface"}, func(f *fields) Value {
	return buildTCP(f, true)
}}

func buildTCP(f *fields, six bool) Value {
	t := TCP{Port: f.port("port", 0), Interface: f.ip("interface"), IPv6: six, Backlog: f.number("backlog", 1, 65535, 0)}
	if six && t.Interface != "" && !isIPv6(t.Interface) {
		f.fail(f.args["interface"].pos, "tcp6: listens on IPv6 addresses, %s is none", t.Interface)
	}
	t.IPv6 = six || isIPv6(t.Interface) // Twisted does so too
	return t
}

// Loopback reports whether only this machine reaches the port.
func (t TCP) Loopback() bool {
	a, err := netip.ParseAddr(t.Interface)
	return err == nil && a.Unmap().IsLoopback()
}

func (t TCP) String() string {
	name := "tcp"
	if t.IPv6 {
		name = "tcp6"
	}
	return text(name, "", fmt.Sprint(t.Port), "interface", t.Interface, "backlog", number(t.Backlog))
}

// SSL is a port to listen on with TLS, for the web gateway. Certificate and
// key are PEM files; CertKey "" means the certificate is in PrivateKey.
type SSL struct {
	Port           int
	Interface      string
	PrivateKey     string // "server.pem" if not said
	CertKey        string
	ExtraCertChain string
}

var sslListen = kind{"ssl", "ssl:PORT:privateKey=FILE:certKey=FILE",
	[]string{"port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"},
	func(f *fields) Value {
		key := "server.pem"
		if f.has("privateKey") {
			key = f.need("privateKey")
		}
		f.number("backlog", 1, 65535, 0)
		return SSL{f.port("port", 0), f.ip("interface"), key, f.opt("certKey"), f.opt("extraCertChain")}
	}}

// Loopback reports whether only this machine reaches the port.
func (s SSL) Loopback() bool { return TCP{Interface: s.Interface}.Loopback() }

func (s SSL) String() string {
	return text("ssl", "", fmt.Sprint(s.Port), "privateKey", s.PrivateKey, "certKey", s.CertKey,
		"interface", s.Interface, "extraCertChain", s.ExtraCertChain)
}

// DialTCP is a TCP address to connect to: a host name or an IP address.
type DialTCP struct {
	Host string
	Port int
}

var tcpDial = kind{"tcp", "tcp:HOST:PORT", []string{"host", "port", "timeout", "bindAddress"}, func(f *fields) Value {
	f.number("timeout", 0, 86400, 0)
	return DialTCP{f.need("host"), f.port("port", 1)}
}}

func (d DialTCP) String() string {
	return text("tcp", "", d.Host, "", fmt.Sprint(d.Port))
}

// Local reports whether the host is this machine, without asking a resolver.
func (d DialTCP) Local() bool { return d.Host == "localhost" || TCP{Interface: d.Host}.Loopback() }

// IsIP reports whether the host is an IP address.
func (d DialTCP) IsIP() bool { _, err := netip.ParseAddr(d.Host); return err == nil }
