package lockdown

import (
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"tahoe-go/internal/network/netx"
)

func TestFor(t *testing.T) {
	sock := netx.Addr{Kind: netx.Unix, Host: "/run/tor/socks"}
	tcp := func(host string, port int) netx.Addr { return netx.Addr{Kind: netx.TCP, Host: host, Port: port} }
	for _, tt := range []struct {
		name   string
		places []netx.Addr
		want   string // "": an error
		v4, v6 bool
	}{
		{"both by unix socket", []netx.Addr{sock, sock}, "unix sockets only", false, false},
		{"no control port", []netx.Addr{sock, {}}, "unix sockets only", false, false},
		{"nothing", nil, "unix sockets only", false, false},
		{"one port", []netx.Addr{tcp("127.0.0.1", 9050), sock}, "unix sockets and TCP to port 9050", true, false},
		{"two ports", []netx.Addr{tcp("127.0.0.1", 9051), tcp("127.0.0.1", 9050)}, "unix sockets and TCP to ports 9050 and 9051", true, false},
		{"the same twice", []netx.Addr{tcp("127.0.0.1", 9050), tcp("::1", 9050)}, "unix sockets and TCP to port 9050", true, true},
		{"three", []netx.Addr{tcp("::1", 3), tcp("::1", 1), tcp("::1", 2)}, "unix sockets and TCP to ports 1, 2 and 3", false, true},
		{"mapped", []netx.Addr{tcp("::ffff:127.0.0.1", 9050)}, "unix sockets and TCP to port 9050", true, false},
		{"localhost", []netx.Addr{tcp("localhost", 9050)}, "unix sockets and TCP to port 9050", true, true},
		{"a name", []netx.Addr{tcp("tor.example", 9050)}, "", false, false},
		{"no port", []netx.Addr{tcp("127.0.0.1", 0)}, "", false, false},
		{"an onion", []netx.Addr{{Kind: netx.Tor, Host: "127.0.0.1", Port: 80}}, "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := For(tt.places...)
			if (err != nil) != (tt.want == "") {
				t.Fatalf("For: %v", err)
			}
			if err != nil {
				return
			}
			v4, v6 := l.families()
			if l.String() != tt.want || v4 != tt.v4 || v6 != tt.v6 || l.Strict() != (tt.want == "unix sockets only") {
				t.Errorf("%v, %v, %v, %v; want %v, %v, %v", l, v4, v6, l.Strict(), tt.want, tt.v4, tt.v6)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	// Never reaches the kernel: this process goes on unlocked.
	for _, at := range []netip.AddrPort{{}, netip.AddrPortFrom(netip.IPv6Loopback(), 0)} {
		if _, err := Apply(TorPorts(at)); err == nil {
			t.Fatalf("Apply took %v", at)
		}
	}
	if runtime.GOOS != "linux" {
		if _, err := Apply(UnixOnly()); !errors.Is(err, ErrUnsupported) || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Apply on %s: %v", runtime.GOOS, err)
		}
	}
	if err := error(&MissingError{[]string{"a", "b"}}); !errors.Is(err, ErrUnsupported) || !strings.HasSuffix(err.Error(), "a; b") {
		t.Errorf("%v", err)
	}
}

// What is weaker, or left over, is named.
func TestReport(t *testing.T) {
	if got := (Report{}).String(); got != "not locked down" {
		t.Errorf("the zero Report is %q", got)
	}
	weak := TorPorts(netip.MustParseAddrPort("127.0.0.1:9050"))
	for _, tt := range []struct {
		name  string
		level Level
		facts facts
		open  []string
		holds string
	}{
		{"strict", UnixOnly(), facts{abstract: true}, []string{"D-Bus", "network drives"}, "no TCP"},
		{"old kernel", UnixOnly(), facts{}, []string{"abstract ones too", "network drives"}, "turned round"},
		{"ports", weak, facts{abstract: true}, []string{"port 9050 of any machine", "D-Bus", "network drives"}, "TCP leads to port 9050 only"},
		{"root, and much before", UnixOnly(), facts{true, true, sockets{listeners: []string{"127.0.0.1:1"}, multipath: 1, tcp: 2, other: 1, unknown: true}},
			[]string{"D-Bus", "network drives", "127.0.0.1:1", "1 listener of multipath", "2 TCP connections", "1 network socket that", "cannot be listed", "root"}, "no UDP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := report(tt.level, tt.facts)
			ok := len(r.Open) == len(tt.open) && strings.Contains(strings.Join(r.Holds, "\n"), tt.holds) &&
				strings.HasPrefix(r.String(), "locked down by the kernel: ") && r.Strict == tt.level.Strict()
			for i := range r.Open {
				ok = ok && strings.Contains(r.Open[i], tt.open[i])
			}
			if !ok {
				t.Errorf("%v\nwant open: %q; holds: %q", r, tt.open, tt.holds)
			}
		})
	}
}
