package netx

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A socket that was handed over is no way round the policy.
func TestAdopt(t *testing.T) {
	dir, err := os.MkdirTemp("", "ad") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const open = "direct direct-bare out"
	const all = open + " hidden hidden-off hidden-bare private loopback"
	opener := must(t, Policy{TCP: Direct}, Routes{})
	networks := allNetworks(t)
	networks["loopback"] = Loopback{}
	for _, tt := range []struct {
		at Addr
		by string
	}{
		{Addr{Kind: TCP, Host: "127.0.0.1"}, all},
		{Addr{Kind: Unix, Host: filepath.Join(dir, "s")}, all},
		{Addr{Kind: TCP, Host: "0.0.0.0"}, open},
	} {
		given, err := opener.Listen(t.Context(), tt.at)
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range networks {
			f, err := given.(interface{ File() (*os.File, error) }).File()
			if err != nil {
				t.Fatal(err)
			}
			l, err := Adopt(n, f)
			if want := slices.Contains(strings.Fields(tt.by), name); (err == nil) != want {
				t.Errorf("%s adopts %v: %v, want it allowed: %t", name, tt.at, err, want)
			} else if err != nil && !isPolicy(err) {
				t.Errorf("%s: %v is no PolicyError", name, err)
			}
			if err == nil {
				if l.Addr().String() != given.Addr().String() {
					t.Errorf("%s: at %v, want %v", name, l.Addr(), given.Addr())
				}
				if u, ok := l.(*net.UnixListener); ok {
					u.SetUnlinkOnClose(false)
				}
				l.Close()
			}
			if f.Close() == nil {
				t.Errorf("%s left the file open", name)
			}
		}
		given.Close()
	}
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(opener, file); err == nil {
		t.Error("adopted a file")
	}
}

// What was handed over is found by number or by name, once, and only by the
// process that it is for.
func TestInherited(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		getenv func(string) string
		want   string
	}{
		{env(), "no LISTEN_FDS"},
		{env("LISTEN_FDS", "many", "LISTEN_PID", "7"), `LISTEN_FDS is "many"`},
		{env("LISTEN_FDS", "-1", "LISTEN_PID", "7"), `LISTEN_FDS is "-1"`},
		{env("LISTEN_FDS", "1000000", "LISTEN_PID", "7"), "from 0 to 256"},
		{env("LISTEN_FDS", "1", "LISTEN_PID", "8"), "for another process"},
		{env("LISTEN_FDS", "0", "LISTEN_PID", "7"), "0 were handed over"},
	} {
		if f, err := Inherit(tt.getenv, 7).Take(0, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Take = %v, %v; want an error with %q", f, err, tt.want)
		}
	}
	var files []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		files = append(files, r)
	}
	h := &Inherited{files: slices.Clone(files), names: []string{"tub", "web"}}
	for _, tt := range []struct {
		index int
		name  string
		want  *os.File
		err   string
	}{
		{0, "web", files[1], ""},
		{1, "", nil, "in use already"},
		{2, "", files[2], ""},
		{0, "wab", nil, `name "wab"`},
		{3, "", nil, "no socket 3"},
		{0, "tub", files[0], ""},
		{0, "tub", nil, "in use already"},
	} {
		f, err := h.Take(tt.index, tt.name)
		if f != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Take(%d, %q) = %v, %v; want %v, %q", tt.index, tt.name, f, err, tt.want, tt.err)
		}
	}
}
