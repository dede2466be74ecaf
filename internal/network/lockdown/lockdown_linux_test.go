//go:build amd64 || arm64

package lockdown

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// levels are the columns of the table of probes.
var levels = []struct {
	name string
	tor  func(o order) []netip.AddrPort // nil: no lock-down
}{
	{"free", nil},
	{"unix only", func(order) []netip.AddrPort { return nil }},
	{"tor port", func(o order) []netip.AddrPort { return []netip.AddrPort{o.Tor4} }},
	{"tor ports", func(o order) []netip.AddrPort { return []netip.AddrPort{o.Tor4, o.Tor6} }},
}

// Every way out, at every level, and without a lock-down, so that a probe that
// always fails cannot pass for a wall that holds.
func TestProbes(t *testing.T) {
	users := []bool{false}
	if os.Geteuid() == 0 {
		users = append(users, true)
	}
	for _, nobody := range users {
		name := "as this user"
		if nobody {
			name = "as nobody"
		}
		t.Run(name, func(t *testing.T) {
			var free result
			for i, level := range levels {
				t.Run(level.name, func(t *testing.T) {
					o := places(t, nobody)
					if o.Free = level.tor == nil; !o.Free {
						o.Tor = level.tor(o)
					}
					r := o.start(t, nobody)
					needKernel(t, r)
					if r.Failed != "" {
						t.Fatalf("Apply: %s", r.Failed)
					}
					if o.Free {
						free = r
					}
					judge(t, i, r, free)
				})
			}
		})
	}
}

// needKernel ends the test where the kernel cannot lock down.
func needKernel(t *testing.T, r result) {
	t.Helper()
	if r.Missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI must run this test", r.Missing)
	}
	t.Skipf("SKIPPED, NOTHING TESTED: %s", r.Missing)
}

func judge(t *testing.T, level int, r, free result) {
	t.Helper()
	abi, _ := landlockABI()
	for _, p := range probes {
		want, got := p.want[level], r.Verdicts[p.name]
		switch {
		case want == "":
			continue
		case p.name == "abstract unix socket" && abi < abiScopes:
			want = "open"
		case level == 0 && got != want && slices.Contains(lacking, p.name):
			// A refusal later proves nothing then.
			t.Logf("NOT PROVEN HERE: %s is not open without a lock-down either: %s", p.name, got)
			continue
		case want == "open" && got == free.Verdicts[p.name]: // it lacks as before
			continue
		}
		if got != want {
			t.Errorf("%s: %s; want %s", p.name, got, want)
		}
	}
	t.Log(r.Report)
}

// places opens what the probes try to reach.
func places(t *testing.T, nobody bool) order {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "lockdown") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if nobody {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	o := order{Dir: dir, Socket: dir + "/there", Abstract: "@" + strings.TrimPrefix(dir, "/tmp/")}
	o.Elsewhere4 = listen(t, "tcp4", "127.0.0.1:0")
	o.Elsewhere6 = listen(t, "tcp6", "[::1]:0")
	o.Tor4 = listen(t, "tcp4", "127.0.0.1:0")
	o.TorOther = listen(t, "tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), o.Tor4.Port()).String())
	o.Tor6 = listen(t, "tcp6", "[::1]:0")
	listen(t, "unix", o.Socket)
	listen(t, "unix", o.Abstract)
	if nobody {
		if err := os.Chown(o.Socket, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	o.UDP = netip.MustParseAddrPort(u.LocalAddr().String())
	return o
}

// listen takes connections and lets them be.
func listen(t *testing.T, network, addr string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		if network == "tcp6" { // its probes are then not proven, and say so
			return netip.MustParseAddrPort("[::1]:1")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	at, _ := netip.ParseAddrPort(l.Addr().String()) // a unix socket has none
	return at
}

// A kernel that cannot, or says that it did and has not, is found out.
func TestLies(t *testing.T) {
	for _, tt := range []struct{ lie, missing, failed string }{
		{"no landlock", "has no Landlock", ""},
		{"landlock off", "Landlock is switched off", ""},
		{"no seccomp", "no seccomp filters", ""},
		{"false success", "", "can still connect by TCP"},
		{"no rules", "", "locking down TCP"},
	} {
		t.Run(tt.lie, func(t *testing.T) {
			o := places(t, false)
			o.Lie = tt.lie
			if r := order.start(o, t, false); !strings.Contains(r.Missing, tt.missing) || !strings.Contains(r.Failed, tt.failed) || r.Missing+r.Failed == "" {
				needKernel(t, r)
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	for _, tt := range []struct {
		abi      int
		landlock unix.Errno
		seccomp  bool
		want     []string
	}{
		{4, 0, true, nil},
		{9, 0, true, nil},
		{3, 0, true, []string{"version 3"}},
		{-1, unix.ENOSYS, true, []string{"no Landlock"}},
		{-1, unix.EOPNOTSUPP, true, []string{"lsm="}},
		{-1, unix.EPERM, false, []string{"no Landlock", "seccomp"}}, // in a container
	} {
		got := missing(tt.abi, tt.landlock, tt.seccomp)
		if !slices.EqualFunc(got, tt.want, strings.Contains) {
			t.Errorf("missing(%d, %v, %v) = %q; want %q", tt.abi, tt.landlock, tt.seccomp, got, tt.want)
		}
	}
}
