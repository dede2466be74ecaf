package netx

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fakeTor records what it is asked for and connects nothing.
type fakeTor struct{ asked []Addr }

var errFakeTor = errors.New("asked tor")

func (f *fakeTor) DialTor(_ context.Context, a Addr) (net.Conn, error) {
	f.asked = append(f.asked, a)
	return nil, errFakeTor
}

const onion = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"

func must(t *testing.T, p Policy, r Routes) Network {
	t.Helper()
	n, err := New(p, r)
	if err != nil {
		t.Fatalf("New(%+v): %v", p, err)
	}
	return n
}

// networks under test, all over one fakeTor.
func networks(t *testing.T, tor TorDialer) map[string]Network {
	r := Routes{Tor: tor}
	return map[string]Network{
		"direct":      must(t, Policy{TCP: Direct}, r),
		"direct-bare": must(t, Policy{TCP: Direct}, Routes{}),
		"hidden":      must(t, Policy{TCP: ViaTor, HideAddress: true}, r),
		"hidden-off":  must(t, Policy{TCP: Disabled, HideAddress: true}, r),
		"hidden-bare": must(t, Policy{TCP: Disabled, HideAddress: true}, Routes{}),
		"out":         must(t, Policy{TCP: ViaTor}, r),
		"private":     must(t, Policy{TCP: ViaTor, HideAddress: true, AllowPrivate: true}, r),
		"denied":      Denied{},
	}
}

func TestNewRejects(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    Policy
		r    Routes
		want string
	}{
		{"nothing said", Policy{}, Routes{Tor: &fakeTor{}}, "unknown way"},
		{"unknown", Policy{TCP: "i2p"}, Routes{}, `"i2p"`},
		{"hidden but direct", Policy{TCP: Direct, HideAddress: true}, Routes{Tor: &fakeTor{}}, "reveal-IP-address"},
		{"tor without tor", Policy{TCP: ViaTor}, Routes{}, "[tor]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := New(tt.p, tt.r)
			if err == nil || n != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, %v; want an error with %q", n, err, tt.want)
			}
		})
	}
}

// Where each address goes under each policy. Only addresses that must not
// reach the clear network are dialled here, so nothing leaves the machine.
func TestDialGoesWhere(t *testing.T) {
	const torSaid, refused = "tor", "refused"
	for _, tt := range []struct {
		kind  Kind
		host  string
		toTor string // the host that Tor is given, "" when nobody may give it
		by    string // the networks that ask Tor; all others refuse
	}{
		{Tor, onion, onion, "direct hidden hidden-off out private"},
		{TCP, onion, onion, "direct hidden hidden-off out private"},
		{TCP, strings.ToUpper(onion), onion, "direct hidden hidden-off out private"},
		{TCP, onion + ".", onion, "direct hidden hidden-off out private"},
		{TCP, "www." + onion, "www." + onion, "direct hidden hidden-off out private"},
		{TCP, "x.OnIoN.", "x.onion", "direct hidden hidden-off out private"},
		{TCP, onion + "..", "", ""},
		{TCP, "onion", "onion", "direct hidden hidden-off out private"},
		{TCP, ".onion", "", ""},
		{TCP, "x.onion\x00.com", "", ""},
		{TCP, "x.onion.com@y", "", ""},
		{TCP, "x\u3002onion", "", ""},
		{TCP, "x.\uff4fnion", "", ""},
		{Tor, "Example.COM", "example.com", "direct hidden hidden-off out private"},
		{Tor, "9.9.9.9", "9.9.9.9", "direct hidden hidden-off out private"},
		{Tor, "2620:fe::fe", "2620:fe::fe", "direct hidden hidden-off out private"},
		{Tor, "127.0.0.1", "127.0.0.1", "private"},
		{Tor, "10.1.2.3", "10.1.2.3", "private"},
		{Tor, "::ffff:10.1.2.3", "::ffff:10.1.2.3", "private"},
		{Tor, "fe80::1%eth0", "fe80::1%eth0", "private"},
		{Tor, "localhost", "localhost", "private"},
		{Tor, "nas.local", "nas.local", "private"},
		{Tor, "router.home.arpa", "router.home.arpa", "private"},
		{Tor, "nas", "nas", "private"},
		{TCP, "x.i2p", "", ""},
		{TCP, "x.I2P.", "", ""},
		{Tor, "x.b32.i2p", "", ""},
		{TCP, "x.exit", "", ""},
		{TCP, "x.invalid", "", ""},
		{TCP, "127.1", "", ""},
		{TCP, "2130706433", "", ""},
		{TCP, "0x7f000001", "", ""},
		{TCP, "[::1]", "", ""},
		{TCP, "a b", "", ""},
		{TCP, "", "", ""},
		{TCP, ".", "", ""},
		{TCP, strings.Repeat("a.", 130) + "com", "", ""},
		{TCP, strings.Repeat("a", 64) + ".com", "", ""},
		{Unix, "/run/socket", "", ""},
		{"udp", "example.com", "", ""},
	} {
		t.Run(string(tt.kind)+" "+tt.host, func(t *testing.T) {
			tor := &fakeTor{}
			for name, n := range networks(t, tor) {
				tor.asked = nil
				_, err := n.Dial(t.Context(), Addr{Kind: tt.kind, Host: tt.host, Port: 80, Isolation: "s1"})
				want, got := refused, refused
				if slices.Contains(strings.Fields(tt.by), name) {
					want = torSaid
				}
				if errors.Is(err, errFakeTor) {
					got = torSaid
				} else if _, ok := errors.AsType[*PolicyError](err); !ok {
					t.Errorf("%s: %v; want a PolicyError or Tor", name, err)
				}
				if got != want {
					t.Errorf("%s: %s (%v), want %s", name, got, err, want)
				}
				if got == torSaid && (len(tor.asked) != 1 || tor.asked[0] != Addr{Kind: Tor, Host: tt.toTor, Port: 80, Isolation: "s1"}) {
					t.Errorf("%s: tor was asked for %+v", name, tor.asked)
				}
			}
		})
	}
}

// Kind TCP under ViaTor is Tor's too; under Disabled it is nobody's.
func TestTCPViaTor(t *testing.T) {
	tor := &fakeTor{}
	a := Addr{Kind: TCP, Host: "example.com", Port: 443}
	for name, n := range networks(t, tor) {
		if strings.HasPrefix(name, "direct") {
			continue // would leave the machine
		}
		_, err := n.Dial(t.Context(), a)
		want := name == "hidden" || name == "out" || name == "private"
		if errors.Is(err, errFakeTor) != want {
			t.Errorf("%s: %v; asking tor: want %v", name, err, want)
		}
	}
	for _, port := range []int{0, -1, 65536} {
		a.Port = port
		for name, n := range networks(t, tor) {
			if _, err := n.Dial(t.Context(), a); !isPolicy(err) {
				t.Errorf("%s: port %d: %v", name, port, err)
			}
		}
	}
}

func isPolicy(err error) bool { _, ok := errors.AsType[*PolicyError](err); return ok }

// The networks of nodes that do not go out directly have nothing inside that
// could: no dialer, resolver or function of package net, at any depth.
func TestTorNetworksHoldNoDialer(t *testing.T) {
	var visit func(t *testing.T, ty reflect.Type, seen map[reflect.Type]bool) string
	visit = func(t *testing.T, ty reflect.Type, seen map[reflect.Type]bool) string {
		if seen[ty] {
			return ""
		}
		seen[ty] = true
		if ty.PkgPath() == "net" || ty.PkgPath() == "net/http" || ty.Kind() == reflect.Func {
			return ty.String()
		}
		switch ty.Kind() {
		case reflect.Struct:
			for i := range ty.NumField() {
				if bad := visit(t, ty.Field(i).Type, seen); bad != "" {
					return ty.Field(i).Name + "." + bad
				}
			}
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Chan:
			return visit(t, ty.Elem(), seen)
		}
		return ""
	}
	for name, n := range allNetworks(t) {
		bad := visit(t, reflect.TypeOf(n), map[reflect.Type]bool{})
		if wantDialer := strings.HasPrefix(name, "direct"); (bad != "") != wantDialer {
			t.Errorf("%s: %T holds %q", name, n, bad)
		}
	}
}

func allNetworks(t *testing.T) map[string]Network { return networks(t, &fakeTor{}) }

// Who may bind what.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	const open = "direct direct-bare out"
	const all = open + " hidden hidden-off hidden-bare private loopback"
	for _, tt := range []struct {
		a  Addr
		by string
	}{
		{Addr{Kind: TCP, Host: "127.0.0.1"}, all},
		{Addr{Kind: TCP, Host: "localhost"}, all},
		{Addr{Kind: TCP, Host: "LOCALHOST."}, all},
		{Addr{Kind: Unix, Host: filepath.Join(dir, "s")}, all},
		{Addr{Kind: TCP, Host: ""}, open},
		{Addr{Kind: TCP, Host: "0.0.0.0"}, open},
		{Addr{Kind: TCP, Host: "example.com"}, ""},
		{Addr{Kind: TCP, Host: "127.0.0.1", Port: 65536}, ""},
		{Addr{Kind: TCP, Host: "127.0.0.1", Port: -1}, ""},
		{Addr{Kind: Tor, Host: onion}, ""},
		{Addr{Kind: Unix, Host: ""}, ""},
		{Addr{Kind: Unix, Host: "@abstract"}, ""},
		{Addr{Kind: Unix, Host: "\x00abstract"}, ""},
		{Addr{Kind: Unix, Host: "/" + strings.Repeat("a", 200)}, ""},
	} {
		t.Run(tt.a.String(), func(t *testing.T) {
			ns := allNetworks(t)
			ns["loopback"] = Loopback{}
			for name, n := range ns {
				l, err := n.Listen(t.Context(), tt.a)
				if want := slices.Contains(strings.Fields(tt.by), name); want != (err == nil) {
					t.Errorf("%s: listening: %v; want it allowed: %v", name, err, want)
				} else if !want && !isPolicy(err) {
					t.Errorf("%s: %v; want a PolicyError", name, err)
				}
				if err == nil {
					l.Close()
				}
			}
		})
	}
}

func TestLoopbackDialRefuses(t *testing.T) {
	for _, a := range []Addr{
		{Kind: TCP, Host: "192.0.2.1", Port: 80},
		{Kind: TCP, Host: "0.0.0.0", Port: 80}, // the kernel would take it to loopback, but it is not spelled so
		{Kind: TCP, Host: "", Port: 80},
		{Kind: TCP, Host: "example.com", Port: 80},
		{Kind: TCP, Host: "localhost.example.com", Port: 80},
		{Kind: TCP, Host: "::1%lo", Port: 80},
		{Kind: TCP, Host: "127.0.0.1", Port: 0},
		{Kind: Tor, Host: onion, Port: 80},
		{Kind: Unix, Host: "@x"},
	} {
		if _, err := (Loopback{}).Dial(t.Context(), a); !isPolicy(err) {
			t.Errorf("Dial(%v): %v; want a PolicyError", a, err)
		}
	}
}

// Real bytes over loopback, by every spelling, directly and by the clear
// network.
func TestLoopbackCarries(t *testing.T) {
	for _, n := range []Network{Loopback{}, must(t, Policy{TCP: Direct}, Routes{})} {
		l, err := n.Listen(t.Context(), Addr{Kind: TCP, Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, host := range []string{"127.0.0.1", "localhost", "x.localhost.", "::ffff:127.0.0.1"} {
			c, err := n.Dial(t.Context(), Addr{Kind: TCP, Host: host, Port: l.Addr().(*net.TCPAddr).Port})
			if err != nil {
				t.Errorf("%T: dialling %s: %v", n, host, err)
				continue
			}
			echo(t, l, c)
		}
	}
}

func echo(t *testing.T, l net.Listener, c net.Conn) {
	t.Helper()
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "hello")
	c.(interface{ CloseWrite() error }).CloseWrite()
	got, err := io.ReadAll(s)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	s.Close()
}

func TestUnixSocket(t *testing.T) {
	a := Addr{Kind: Unix, Host: filepath.Join(t.TempDir(), "s")}
	l, err := Loopback{}.Listen(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Loopback{}.Dial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, l, c)
	if _, err := (Loopback{}).Listen(t.Context(), a); err == nil {
		t.Error("a socket in use was taken over")
	}
	if runtime.GOOS != "windows" {
		l.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed process leaves it
	}
	l.Close()
	l, err = Loopback{}.Listen(t.Context(), a)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	l.Close()
	os.WriteFile(a.Host, []byte("precious"), 0o600)
	if _, err := (Loopback{}).Listen(t.Context(), a); err == nil {
		t.Error("listening replaced a file")
	}
	if b, _ := os.ReadFile(a.Host); string(b) != "precious" {
		t.Error("the file is gone")
	}
}

func TestHints(t *testing.T) {
	tor := &fakeTor{}
	for name, n := range networks(t, tor) {
		slow := HintsFor(n, Addr{Kind: TCP, Host: "x.onion", Port: 1})
		if slow != torHints {
			t.Errorf("%s: onion: %+v", name, slow)
		}
	}
	if h := HintsFor(must(t, Policy{TCP: Direct}, Routes{}), Addr{Kind: TCP, Host: "example.com"}); h != clearHints {
		t.Errorf("clear: %+v", h)
	}
	if h := HintsFor(must(t, Policy{TCP: ViaTor}, Routes{Tor: tor}), Addr{Kind: TCP, Host: "example.com"}); h != torHints {
		t.Errorf("tcp through tor: %+v", h)
	}
}
