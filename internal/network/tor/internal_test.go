package tor

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
)

func TestDescriptors(t *testing.T) {
	var d descriptors
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	event := func(text string) {
		d.event(control.Event{Name: "HS_DESC", Words: strings.Fields(text)}, now)
	}
	check := func(what string, uploaded, asked int) {
		t.Helper()
		if u, a := d.count(); u != uploaded || a != asked {
			t.Errorf("%s: %d of %d, want %d of %d", what, u, a, uploaded, asked)
		}
	}
	event("CREATED x UNKNOWN UNKNOWN d REPLICA=0")
	check("created", 0, 0)
	event("UPLOAD x UNKNOWN $A~one d1")
	event("UPLOAD x UNKNOWN $A~one d2") // two descriptors, one directory
	event("UPLOAD x UNKNOWN $B d1")
	check("asked", 0, 2)
	event("UPLOADED x UNKNOWN $A~one")
	event("FAILED x UNKNOWN $B~two REASON=UPLOAD_REJECTED")
	check("one failed", 1, 2)
	event("FAILED x NO_AUTH $A~one d1 REASON=NOT_FOUND") // somebody's download
	check("download failed", 1, 2)
	event("UPLOAD x UNKNOWN $A~one d3") // an update is under way; the old one still serves
	check("again", 1, 2)
	now = now.Add(4 * time.Hour)
	event("UPLOAD x UNKNOWN $C~three d9")
	check("the next day's directories", 0, 1)
	for i := range 1000 {
		event(fmt.Sprintf("UPLOAD x UNKNOWN $%d d", i))
	}
	check("bounded", 0, directoriesMost)
	event("UPLOAD x")
	event("")
}

func TestParseListener(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:9050": "tcp:127.0.0.1:9050", "[::1]:9050": "tcp:[::1]:9050", "0.0.0.0:9050": "tcp:127.0.0.1:9050", "unix:/a b": "unix:/a b",
		"192.0.2.1:9050": "", "127.0.0.1:0": "", "unix:a": "", "localhost:1": "", "": "", "9050": "",
	} {
		a, ok := parseListener(in)
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("parseListener(%q) = %v, %v; want %q", in, a, ok, want)
		}
	}
}

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(s string) { got = append(got, s) }}
	long := strings.Repeat("x", 5000)
	for _, part := range []string{"one\ntw", "o\n", long, long + "\nlast\nunfinished"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	want := []string{"one", "two", long[:longestLog], "last"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("lines = %.40q, want %.40q", got, want)
	}
}

func TestParseLog(t *testing.T) {
	for _, tt := range []struct{ in, severity, text string }{
		{"Nov 22 15:09:22.604 [warn] You are [not] safe", "warn", "You are [not] safe"},
		{"Nov 22 15:09:22.604 [err] \x1b[31mBad", "err", "[31mBad"},
		{"no log line", "notice", "no log line"},
		{"", "notice", ""},
	} {
		if severity, text := parseLog(tt.in); severity != tt.severity || text != tt.text {
			t.Errorf("parseLog(%q) = %q, %q; want %q, %q", tt.in, severity, text, tt.severity, tt.text)
		}
	}
}

func TestRoundsAreBounded(t *testing.T) {
	i := newIsolation(Config{})
	for n := range 3 * roundsMost {
		_, again := i.auth(fmt.Sprint("x:", n))
		again()
	}
	if len(i.round) > roundsMost {
		t.Errorf("%d labels are remembered, want %d at most", len(i.round), roundsMost)
	}
}

func TestTorrcHoldsNothingElse(t *testing.T) {
	r := runDir{data: `/p/a "b" \c`, sockets: "/p/s", unix: true}
	text := r.torrc([]string{"UseBridges 1"})
	for _, want := range []string{`DataDirectory "/p/a \"b\" \\c"`, `SocksPort unix:"/p/s/socks" IsolateSOCKSAuth ExtendedErrors`, `ControlPort unix:"/p/s/control"`, "UseBridges 1\n", "CookieAuthentication 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("torrc lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "127.0.0.1") {
		t.Errorf("torrc opens a port:\n%s", text)
	}
	r.unix = false
	if text := r.torrc(nil); !strings.Contains(text, "ControlPortWriteToFile") || strings.Contains(text, "unix:") {
		t.Errorf("torrc without unix sockets:\n%s", text)
	}
}

func TestLocalOrNot(t *testing.T) {
	for _, tt := range []struct {
		a     netx.Addr
		local bool
	}{
		{netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"}, true},
		{netx.Addr{Kind: netx.TCP, Host: "::1"}, true},
		{netx.Addr{Kind: netx.TCP, Host: "localhost"}, true},
		{netx.Addr{Kind: netx.Unix, Host: "/x"}, true},
		{netx.Addr{Kind: netx.TCP, Host: "10.152.152.10"}, false},
	} {
		if got := isLocal(tt.a); got != tt.local {
			t.Errorf("isLocal(%v) = %v", tt.a, got)
		}
	}
}

// Ports have no permissions: what keeps a process from one is its lock-down.
func TestNotFoundAndWhy(t *testing.T) {
	closed := fmt.Errorf("socket: %w", fs.ErrPermission)
	at := netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 9051}
	socket := netx.Addr{Kind: netx.Unix, Host: "/run/tor/control"}
	for _, tt := range []struct {
		looked []Looked
		want   string
	}{
		{[]Looked{{socket, closed}, {at, closed}}, "unix:/run/tor/control is closed to you"},
		{[]Looked{{socket, fs.ErrNotExist}, {at, closed}}, "lock-down keeps this process from tcp:127.0.0.1:9051"},
		{[]Looked{{socket, fs.ErrNotExist}}, "Tor is not running. Looked at unix:/run/tor/control. Start tor"},
	} {
		if got := (&NotFoundError{Looked: tt.looked}).Error(); !strings.Contains(got, tt.want) {
			t.Errorf("%q does not say %q", got, tt.want)
		}
	}
}
