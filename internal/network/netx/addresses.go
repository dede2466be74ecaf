package netx

import (
	"net"
	"net/netip"
	"slices"
)

// LocalAddresses returns the IPv4 addresses of this machine, for a node that
// announces them (tub.location = AUTO). Loopback addresses are there only if
// there is nothing else.
func LocalAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		if ip.Is4() && !ip.IsLinkLocalUnicast() && !slices.Contains(found, ip) {
			found = append(found, ip)
		}
	}
	if others := slices.DeleteFunc(slices.Clone(found), netip.Addr.IsLoopback); len(others) > 0 {
		return others, nil
	}
	return found, nil
}
