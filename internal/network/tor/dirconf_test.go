package tor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

func TestParseTarget(t *testing.T) {
	at := func(host string, port int) netx.Addr { return netx.Addr{Kind: netx.TCP, Host: host, Port: port} }
	for _, tt := range []struct {
		in   string
		want netx.Addr
		bad  bool
	}{
		{in: "", want: at("127.0.0.1", 80)},
		{in: "8080", want: at("127.0.0.1", 8080)},
		{in: "127.0.0.1:8080", want: at("127.0.0.1", 8080)},
		{in: "[::1]:8080", want: at("::1", 8080)},
		{in: "unix:/run/x", want: netx.Addr{Kind: netx.Unix, Host: "/run/x"}},
		{in: `unix:"/run/so \"ck"`, want: netx.Addr{Kind: netx.Unix, Host: `/run/so "ck`}},
		{in: "192.0.2.1:80", bad: true},
		{in: "localhost:80", bad: true},
		{in: "unix:x", bad: true},
		{in: "0", bad: true},
		{in: "99999", bad: true},
		{in: "127.0.0.1:0", bad: true},
	} {
		got, err := parseTarget(80, tt.in)
		if bad := err != nil; bad != tt.bad || !bad && got != tt.want {
			t.Errorf("parseTarget(%q) = %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
}

// What a service leads to is read from its own lines only, and what is written
// reads back.
func TestTargetOf(t *testing.T) {
	h := hiddenServices{
		{Key: "HiddenServiceDir", Value: "/a/"},
		{Key: "HiddenServicePort", Value: "80  127.0.0.1:1"},
		{Key: "hiddenservicedir", Value: "/b"},
		{Key: "HiddenServicePort", Value: "443 127.0.0.1:2"},
		{Key: "HiddenServiceMaxStreams", Value: "80"},
	}
	for _, tt := range []struct {
		dir  string
		port int
		want string
	}{
		{"/a", 80, "tcp:127.0.0.1:1"}, {"/a", 443, "tcp::0"}, {"/b", 443, "tcp:127.0.0.1:2"}, {"/b/", 80, "tcp::0"},
	} {
		service, ok := h.find(tt.dir)
		got, err := targetOf(service, tt.port)
		if want := (netx.Addr{}); tt.want == "tcp::0" && got != want || tt.want != "tcp::0" && got.String() != tt.want || err != nil || !ok {
			t.Errorf("%s port %d leads to %v, %t, %v; want %s", tt.dir, tt.port, got, ok, err, tt.want)
		}
	}
	if _, ok := h.find("/c"); ok {
		t.Error("found a service that is not there")
	}
	for _, target := range []netx.Addr{{Kind: netx.TCP, Host: "127.0.0.1", Port: 5}, {Kind: netx.Unix, Host: "/x/y"}} {
		all := hiddenServices(h.with("/c", 7, target))
		service, _ := all.find("/c")
		if got, err := targetOf(service, 7); got != target || err != nil || len(all) != len(h)+2 {
			t.Errorf("written %v, read %v, %v", target, got, err)
		}
	}
}

func FuzzTargetOf(f *testing.F) {
	for _, s := range []string{"80", "80 8080", "80 127.0.0.1:1", `80 unix:"/a b"`, "80 unix:", `80 unix:"`, "80 [::1]:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := targetOf([]control.Setting{{Key: "HiddenServicePort", Value: s}}, 80)
		if err == nil && got != (netx.Addr{}) && got.Kind == netx.TCP && (!isLocal(got) || got.Port == 0) {
			t.Errorf("%q leads to %v", s, got)
		}
	})
}

func TestLeadsTo(t *testing.T) {
	tcp := func(host string, port int) netx.Addr { return netx.Addr{Kind: netx.TCP, Host: host, Port: port} }
	for _, tt := range []struct {
		target, bound netx.Addr
		want          bool
	}{
		{tcp("127.0.0.1", 1), tcp("127.0.0.1", 1), true},
		{tcp("127.0.0.1", 1), tcp("0.0.0.0", 1), true},
		{tcp("127.0.0.1", 1), tcp("0.0.0.0", 2), false},
		{tcp("127.0.0.1", 1), tcp("192.0.2.1", 1), false},
		{tcp("127.0.0.1", 1), tcp("::", 1), false},
		{tcp("::1", 1), tcp("::", 1), true},
		{netx.Addr{Kind: netx.Unix, Host: "/x"}, netx.Addr{Kind: netx.Unix, Host: "/x"}, true},
		{netx.Addr{Kind: netx.Unix, Host: "/x"}, tcp("0.0.0.0", 1), false},
	} {
		if got := leadsTo(tt.target, tt.bound); got != tt.want {
			t.Errorf("leadsTo(%v, %v) = %t", tt.target, tt.bound, got)
		}
	}
}

func TestMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	a := memory{"/a b", onion.FromSeed([32]byte{1}).Address(), 1}
	b := memory{"/b", "", 2}
	if got := recall(file, "/a b"); got != (memory{dir: "/a b"}) {
		t.Errorf("recall without a file = %+v", got)
	}
	for _, m := range []memory{{"/a b", "", 7}, b, a} {
		if err := remember(file, m); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readMemory(file)
	if d := cmp.Diff([]memory{b, a}, all, cmp.AllowUnexported(memory{})); d != "" || err != nil {
		t.Errorf("%v; -want +got\n%s", err, d)
	}
	if got := recall(file, "/a b"); got != a {
		t.Errorf("recall = %+v, want %+v", got, a)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
}

func FuzzParseMemory(f *testing.F) {
	f.Add("-\t1\t/a\nx\t99999\t/b\tc\n\t\t\n")
	f.Add(onion.FromSeed([32]byte{1}).Address().String() + "\t1\t/a b")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMemory(text) {
			if !filepath.IsAbs(m.dir) || strings.Contains(m.dir, "\n") || m.port < 0 || m.port > 65535 {
				t.Errorf("%+v", m)
			}
			if m.addr != "" {
				if _, err := onion.ParseAddress(m.addr.String()); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// Tor is shown to own a folder only where it and we see the same one.
func TestOwns(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	closed := filepath.Join(dir, "closed")
	os.WriteFile(file, nil, 0o600)
	os.Mkdir(closed, 0o500)
	uid, pid := os.Getuid(), os.Getpid()
	for _, tt := range []struct {
		name     string
		uid, pid int
		dir      string
		want     bool
	}{
		{"our tor's", uid, pid, dir, uid >= 0},
		{"another user's", uid + 1, pid, dir, false},
		{"a file", uid, pid, file, false},
		{"not writable", uid, pid, closed, false},
		{"not there", uid, pid, dir + "/no", false},
	} {
		if got := owns(tt.uid, tt.pid, tt.dir); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
