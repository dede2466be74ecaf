package netx

import (
	"net/netip"
	"strings"
)

// checkDial judges an address by its spelling alone, for any network that
// dials hosts. It returns a with the host in the spelling to hand on (lower
// case, no trailing dot).
func checkDial(a Addr) (Addr, error) {
	if a.Kind != TCP && a.Kind != Tor {
		return a, refuse(a, "only tcp and tor addresses are reached over the network; a socket of this machine is reached through netx.Loopback")
	}
	if a.Port < 1 || a.Port > 65535 {
		return a, refuse(a, "the port must be between 1 and 65535")
	}
	if _, err := netip.ParseAddr(a.Host); err == nil {
		return a, nil
	}
	host, why := normalName(a.Host)
	if why != "" {
		return a, refuse(a, why)
	}
	if why := otherNetworks[lastLabel(host)]; why != "" {
		return a, refuse(a, why)
	}
	a.Host = host
	return a, nil
}

// otherNetworks are the top-level names that no resolver may see, not even to
// answer that there is no such name: asking tells it who is asking.
var otherNetworks = map[string]string{
	"i2p":     "I2P names are not supported, and must not reach a name server",
	"alt":     ".alt names are not in the DNS (RFC 9476)",
	"bit":     ".bit names are not in the DNS",
	"exit":    ".exit names would choose a Tor exit; they are not supported",
	"gnu":     ".gnu names are not in the DNS",
	"loki":    ".loki names are not in the DNS",
	"zkey":    ".zkey names are not in the DNS",
	"invalid": ".invalid names exist nowhere (RFC 6761)",
}

// localNames are the top-level names with a meaning inside one site only. The
// clear network may ask for them; a Tor exit has no answer, and would learn
// what this site calls its machines.
var localNames = map[string]bool{
	"example": true, "home": true, "internal": true, "intranet": true, "lan": true, "local": true,
	"localdomain": true, "localhost": true, "private": true, "test": true, "corp": true,
}

// isOnion reports whether host is an onion name however it is spelled. Such a
// host goes to Tor or nowhere.
func isOnion(host string) bool {
	return lastLabel(strings.ToLower(strings.TrimRight(host, "."))) == "onion"
}

func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func lastLabel(host string) string { return host[strings.LastIndexByte(host, '.')+1:] }

// normalName lower-cases a host name and drops one trailing dot; why is not
// empty when it is no host name. It is strict so that no two parties on the way
// (us, tor, a resolver) can read one spelling differently: a full-width letter
// or dot, a NUL or a shorthand such as 127.1 is no name.
func normalName(host string) (name, why string) {
	name = strings.TrimSuffix(host, ".")
	if name == "" {
		return "", "there is no host"
	}
	if len(name) > 253 {
		return "", "the host name is longer than 253 bytes"
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		case c >= 0x80:
			return "", "host names are plain ASCII; write an international name in its xn-- form"
		default:
			return "", "the host name holds a character that host names do not have"
		}
	}
	name = strings.ToLower(name)
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return "", "the host name has an empty part between its dots"
		}
		if len(label) > 63 {
			return "", "a part of the host name is longer than 63 bytes"
		}
	}
	if last := lastLabel(name); strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return "", "this is neither a host name nor a complete IP address"
	}
	return name, ""
}

// checkThroughTor says why Tor must not be asked for host (already passed by
// checkDial), or "". An exit refuses such addresses at best; at worst they name
// a machine beside the exit, or tell it about the machines beside us.
func checkThroughTor(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		if isPublic(ip) {
			return ""
		}
		return "Tor reaches only public addresses; this one is private, loopback, multicast or reserved"
	}
	switch {
	case isOnion(host):
		return ""
	case localNames[lastLabel(host)], strings.HasSuffix(host, ".home.arpa"), host == "home.arpa":
		return "this name has a meaning only inside one site, and Tor leads outside of it"
	case !strings.Contains(host, "."):
		return "a name without a dot has a meaning only inside one site, and Tor leads outside of it"
	}
	return ""
}

// reserved holds the special blocks that netip has no method for, from the
// IANA special-purpose registries. IPv6 outside 2000::/3 is refused as a whole.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), // documentation
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"),     // Teredo, ORCHID and other protocol assignments
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4: any IPv4 address hides inside
	netip.MustParsePrefix("3fff::/20"),     // documentation
}

var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// isPublic reports whether ip can belong to a machine on the internet.
func isPublic(ip netip.Addr) bool {
	if ip.Zone() != "" {
		return false
	}
	ip = ip.Unmap()
	if ip.Is6() && !globalUnicast6.Contains(ip) {
		return false
	}
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
