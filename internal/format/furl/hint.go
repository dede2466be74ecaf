package furl

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Kind says how a hint's host is reached.
type Kind string

// The kinds of hint. Opaque ones are kept for others to read: unknown kinds,
// and malformed hints of known ones.
const (
	TCP    Kind = "tcp"
	Tor    Kind = "tor"
	I2P    Kind = "i2p"
	Opaque Kind = "opaque"
)

// Hint says where a Tub may listen. It is comparable. Host is a DNS name, an
// IP address without brackets (perhaps with a zone), an onion name in lower
// case, or an i2p destination; it and Port are empty for Opaque.
type Hint struct {
	Kind   Kind
	Host   string
	Port   int    // 1..65535; 0 if an i2p hint has none
	Legacy bool   // the old spelling HOST:PORT, which means tcp
	text   string // as it came, for Opaque
}

// ParseHint reads one hint. Only an empty hint, or one with characters that
// end a hint, is an error.
func ParseHint(s string) (Hint, error) {
	if s == "" {
		return Hint{}, bad("fURL", "empty hint")
	}
	for i := range len(s) {
		if !isGraphic(s[i]) || s[i] == ',' || s[i] == '/' {
			return Hint{}, bad("fURL", "strange character in a hint")
		}
	}
	kind, place, _ := strings.Cut(s, ":")
	switch Kind(kind) {
	case TCP, Tor:
		if host, port, ok := hostPort(place); ok {
			return Hint{Kind: Kind(kind), Host: host, Port: port}, nil
		}
	case I2P:
		if h, ok := i2pHint(place); ok {
			return h, nil
		}
	}
	// Checked last, as "tcp:80" may be a host called tcp.
	if host, port, ok := hostPort(s); ok && !strings.HasPrefix(s, "[") {
		return Hint{Kind: TCP, Host: host, Port: port, Legacy: true}, nil
	}
	return Hint{Kind: Opaque, text: s}, nil
}

// String returns the hint as it stands in a fURL.
func (h Hint) String() string {
	switch {
	case h.Kind == Opaque:
		return h.text
	case h.Kind == I2P && h.Port == 0:
		return "i2p:" + h.Host
	case h.Legacy:
		return joinHostPort(h.Host, h.Port)
	default:
		return string(h.Kind) + ":" + joinHostPort(h.Host, h.Port)
	}
}

func i2pHint(place string) (Hint, bool) {
	dest, port, found := strings.Cut(place, ":")
	h := Hint{Kind: I2P, Host: dest}
	if !IsHostName(dest) {
		return Hint{}, false
	}
	if found {
		n, ok := parsePort(port)
		if !ok {
			return Hint{}, false
		}
		h.Port = n
	}
	return h, true
}

// hostPort splits HOST:PORT, with brackets around IPv6, and checks both.
// Onion names come back in lower case.
func hostPort(s string) (host string, port int, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, false
	}
	host = s[:i]
	port, ok = parsePort(s[i+1:])
	if !ok {
		return "", 0, false
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return inner, port, found && err == nil && a.Is6()
	}
	if IsOnion(host) {
		host = strings.ToLower(host)
	}
	return host, port, IsHostName(host)
}

func joinHostPort(host string, port int) string {
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// parsePort reads 1..65535 in plain decimal.
func parsePort(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}

// IsHostName accepts DNS names and IPv4 addresses: what may be handed to a
// resolver or a proxy without surprises.
func IsHostName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}
