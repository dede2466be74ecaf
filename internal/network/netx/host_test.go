package netx

import (
	"net/netip"
	"testing"
)

// First, last and neighbouring addresses of the blocks.
func TestIsPublic(t *testing.T) {
	for _, tt := range []struct {
		want bool
		ips  []string
	}{
		{false, []string{
			"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
			"169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255",
			"198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
			"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "100::1", "2001::1", "2001:1ff:ffff::1", "2001:db8::1",
			"2002:a00:1::1", "3fff::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1", "2620:fe::fe%eth0",
		}},
		{true, []string{
			"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255",
			"172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:9.9.9.9",
			"2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "2620:fe::fe", "2a00::1", "3ffe::1",
		}},
	} {
		for _, s := range tt.ips {
			if got := isPublic(netip.MustParseAddr(s)); got != tt.want {
				t.Errorf("isPublic(%s) = %v", s, got)
			}
		}
	}
}

// Whatever a stranger's announcement says: an onion spelling never passes as
// another name, and what passes keeps its own spelling rules.
func FuzzNormalName(f *testing.F) {
	for _, s := range []string{onion, "EXAMPLE.com.", "x.onion\x00", "127.1", "a..b", "x.\uff4fnion", "", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, why := normalName(s)
		if why != "" {
			return
		}
		if again, why := normalName(name); again != name || why != "" {
			t.Errorf("%q became %q, which becomes %q, %s", s, name, again, why)
		}
		if isOnion(s) != isOnion(name) {
			t.Errorf("%q is an onion name: %v; %q: %v", s, isOnion(s), name, isOnion(name))
		}
		if _, err := netip.ParseAddr(name); err == nil {
			t.Errorf("%q passes for a name", s)
		}
	})
}
