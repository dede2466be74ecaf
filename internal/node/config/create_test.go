package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/node/config"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const introducer = "pb://upxcvcgnomhunstekcj7dstmm665jkki@tcp:example.org:4567/ydcwfczbk3bdgfjax2vxvzgverntvcln"

// ports returns a FreePort that names each port twice.
func ports() func() (int, error) {
	n := 2*4567 - 1
	return func() (int, error) { n++; return n / 2, nil }
}

func anOnion() config.Onion {
	return config.Onion{Host: onion, Key: redact.New("ED25519-V3:" + strings.Repeat("A", 86) + "==")}
}

// What a new node's tahoe.cfg and introducers.yaml hold, by options, is in
// testdata/create.txtar.
func TestCreate(t *testing.T) {
	const file = "testdata/create.txtar"
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := &txtar.Archive{Comment: a.Comment}
	for _, tt := range []struct {
		name   string
		o      config.CreateOptions
		server bool // knows what to announce
		later  int
	}{
		{"node", config.CreateOptions{Nickname: "näme 100%", Hostname: "example.org"}, true, 0},
		{"node-ipv6", config.CreateOptions{Hostname: "2001:db8::1", WebPort: "none", Needed: 1, Happy: 1, Total: 1, StorageDir: "/srv/shares"}, true, 0},
		{"node-port", config.CreateOptions{Port: "tcp:1234:interface=127.0.0.1", Location: "tcp:example.org:80,tor:" + onion + ":80", NoStorage: true}, false, 0},
		{"node-none", config.CreateOptions{Listen: []string{"none"}, NoStorage: true}, false, 0},
		{"node-tor-hidden", config.CreateOptions{Listen: []string{"tor"}, HideIP: true, Onion: anOnion()}, true, 0},
		{"node-tcp-tor", config.CreateOptions{Listen: []string{"tcp", "tor"}, Hostname: "example.org", Onion: anOnion(), TorControlPort: "tcp:127.0.0.1:9051"}, true, 0},
		{"node-tor-launch", config.CreateOptions{Listen: []string{"tor"}, TorLaunch: true, TorExecutable: "/usr/bin/tor", Onion: anOnion(), HideIP: true}, true, 0},
		{"node-hidden-torrc", config.CreateOptions{Port: "tcp:8098:interface=127.0.0.1", Location: onion + ":29212", HideIP: true}, true, 0},
		{"node-later", config.CreateOptions{Hostname: "example.org", Helper: true}, true, 1},
		{"node-grid", config.CreateOptions{Hostname: "example.org", Introducer: redact.New(introducer)}, true, 0},
		{"client", config.CreateOptions{Listen: []string{"none"}, NoStorage: true, HideIP: true, WebPort: "unix:private/web"}, false, 0},
		{"client-tor-launch", config.CreateOptions{Listen: []string{"none"}, NoStorage: true, HideIP: true, TorLaunch: true, TorExecutable: "/usr/bin/tor"}, false, 0},
		{"client-tor-control", config.CreateOptions{Listen: []string{"none"}, NoStorage: true, TorControlPort: "tcp:127.0.0.1:9151"}, false, 0},
		{"introducer", config.CreateOptions{Kind: config.IntroducerNode, Hostname: "example.org"}, false, 0},
		{"introducer-hidden", config.CreateOptions{Kind: config.IntroducerNode, Listen: []string{"tor"}, HideIP: true, Onion: anOnion(), WebPort: "tcp:3459:interface=127.0.0.1"}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.FreePort = ports()
			dir := filepath.Join(t.TempDir(), "above", "node")
			made, err := config.Create(dir, tt.o, now)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"tahoe.cfg", "private/introducers.yaml"} {
				if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
					got.Files = append(got.Files, txtar.File{Name: tt.name + "/" + name, Data: text})
				}
			}
			checkDirectory(t, dir, tt.o)
			c, err := config.Load(dir)
			later, _ := errors.AsType[config.Problems](err)
			if len(later) != tt.later || len(made.Later) != tt.later || len(c.Warnings) > 0 {
				t.Errorf("Load: %v, %v; want %d of later", err, c.Warnings, tt.later)
			}
			if (made.Server.ID != "") != (tt.o.Kind == "" && !tt.o.NoStorage) {
				t.Errorf("Server = %v", made.Server)
			}
			checkEntry(t, dir, made, tt.server)
		})
	}
	if *update {
		golden(t, file, string(txtar.Format(got)))
	} else if d := cmp.Diff(string(txtar.Format(a)), string(txtar.Format(got))); d != "" {
		t.Errorf("%s: -want +got\n%s", file, d)
	}
}

func checkDirectory(t *testing.T, dir string, o config.CreateOptions) {
	t.Helper()
	want := []string{"my_nodeid", "private", "private/README", "private/node.pem", "tahoe.cfg"}
	if o.Kind == config.IntroducerNode {
		want = append(want, "tahoe-introducer.tac", "private/introducer.furl")
		if o.WebPort != "" {
			want = append(want, "node.url")
		}
	} else {
		want = append(want, "node.pubkey", "private/convergence", "private/node.privkey", "private/secret", "tahoe-client.tac", "private/servers.yaml", "private/api_auth_token")
		if !o.NoStorage {
			want = append(want, "permutation-seed", "private/storage.furl", "private/server-entry.yaml")
		}
		if o.WebPort == "" {
			want = append(want, "node.url")
		}
	}
	if slices.Contains(o.Listen, "tor") {
		want = append(want, "private/tor_onion.privkey")
	}
	if !o.Introducer.IsZero() {
		want = append(want, "private/introducers.yaml")
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		rel = filepath.ToSlash(rel)
		got = append(got, rel)
		info, err := e.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if e.IsDir() {
			mode = 0o700
		}
		if strings.HasPrefix(rel, "private") && info.Mode().Perm() != mode && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %v", rel, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("files: -want +got\n%s", d)
	}
}

// checkEntry: the entry is one that clients can read and use.
func checkEntry(t *testing.T, dir string, made config.Created, want bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, config.EntryFile))
	if (err == nil) != want {
		t.Fatalf("entry: %v", err)
	}
	if !want {
		return
	}
	servers, warnings, err := config.ParseServers(text)
	if err != nil || len(warnings) > 0 || len(servers) != 1 {
		t.Fatalf("ParseServers = %v, %v, %v", servers, warnings, err)
	}
	if d := cmp.Diff(made.Server, servers[0], cmp.Comparer(func(a, b furl.FURL) bool { return a.Reveal() == b.Reveal() }),
		cmp.Comparer(func(a, b furl.NURL) bool { return a == b }), cmpopts.IgnoreFields(announce.Server{}, "Version")); d != "" {
		t.Errorf("-made +entry\n%s", d)
	}
	if len(servers[0].AllNURLs()) == 0 || servers[0].FURL.TubID != made.TubID || servers[0].ID != made.Identity.ServerID {
		t.Errorf("entry %v", servers[0])
	}
}

func TestCreateInPlace(t *testing.T) {
	o := config.CreateOptions{Hostname: "example.org", FreePort: ports()}
	dir := t.TempDir() // there, and empty
	if _, err := config.Create(dir, o, now); err != nil {
		t.Fatal(err)
	}
	checkDirectory(t, dir, o)
	before := list(t, dir)
	if _, err := config.Create(dir, o, now); !errors.Is(err, config.ErrNotEmpty) {
		t.Errorf("second Create: %v", err)
	}
	if d := cmp.Diff(before, list(t, dir)); d != "" {
		t.Errorf("second Create changed the directory: %s", d)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error { names = append(names, path); return err })
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A failure leaves nothing behind.
func TestCreateFails(t *testing.T) {
	above := t.TempDir()
	empty := filepath.Join(above, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	before := list(t, above)
	noPort := errors.New("no port")
	for _, tt := range []struct {
		name string
		o    config.CreateOptions
		want string
	}{
		{"no port", config.CreateOptions{Hostname: "example.org", FreePort: func() (int, error) { return 0, noPort }}, "no port"},
		{"none given", config.CreateOptions{Hostname: "example.org"}, "FreePort"},
		{"told by its location", config.CreateOptions{Port: "tcp:1", Location: "tcp:example.org:1", HideIP: true}, "asks to hide"},
		{"told by its port", config.CreateOptions{Port: "tcp:1:interface=0.0.0.0", Location: onion + ":1", HideIP: true}, "asks to hide"},
		{"web port open", config.CreateOptions{Listen: []string{"tor"}, Onion: anOnion(), FreePort: ports(), WebPort: "tcp:1:interface=0.0.0.0", HideIP: true}, "asks to hide"},
		{"storage that nobody reaches", config.CreateOptions{Listen: []string{"none"}}, "nobody can reach"},
		{"one port for two", config.CreateOptions{Listen: []string{"tcp", "tor"}, Onion: anOnion(), Hostname: "h", FreePort: func() (int, error) { return 1, nil }}, "again and again"},
		{"options", config.CreateOptions{}, "--hostname"},
	} {
		for _, dir := range []string{filepath.Join(above, "new"), empty} {
			if _, err := config.Create(dir, tt.o, now); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
			}
			if d := cmp.Diff(before, list(t, above)); d != "" {
				t.Errorf("%s: left behind: %s", tt.name, d)
			}
		}
	}
}

func TestCreateOptions(t *testing.T) {
	tor := []string{"tor"}
	for _, tt := range []struct {
		o    config.CreateOptions
		want []string // part of each line
	}{
		{config.CreateOptions{Hostname: "h"}, nil},
		{config.CreateOptions{}, []string{"needs --hostname"}},
		{config.CreateOptions{HideIP: true}, []string{"--hide-ip does not go with --listen=tcp"}},
		{config.CreateOptions{HideIP: true, Hostname: "h"}, []string{"--hide-ip does not go with --hostname"}},
		{config.CreateOptions{Listen: []string{"udp"}}, []string{`not "udp"`}},
		{config.CreateOptions{Listen: []string{"none", "tcp"}, Hostname: "h"}, []string{"stands alone", "--hostname makes no sense"}},
		{config.CreateOptions{Listen: []string{"none"}, Port: "1", Location: "AUTO"}, []string{"make no sense with --listen=none"}},
		{config.CreateOptions{Port: "1"}, []string{"--port needs --location"}},
		{config.CreateOptions{Location: "AUTO"}, []string{"--location needs --port"}},
		{config.CreateOptions{Port: "1", Location: "AUTO", Hostname: "h"}, []string{"short form"}},
		{config.CreateOptions{Port: "tcp:x", Location: "tcp:x"}, []string{`--port: "tcp:x", character 5`, `--location: "tcp:x", character 1`}},
		{config.CreateOptions{Listen: tor, Onion: anOnion(), Hostname: "h"}, []string{"--hostname belongs to"}},
		{config.CreateOptions{Listen: tor, Onion: anOnion(), Port: "1", Location: "AUTO"}, []string{"belong to --listen=tcp"}},
		{config.CreateOptions{Listen: tor}, []string{"no onion address"}},
		{config.CreateOptions{Listen: tor, Onion: anOnion(), TorLaunch: true, TorControlPort: "unix:/x"}, []string{"give one of the two"}},
		{config.CreateOptions{Listen: tor, Onion: anOnion(), TorControlPort: "9051"}, []string{"did you mean tcp:127.0.0.1:9051?"}},
		{config.CreateOptions{Listen: tor, Onion: anOnion(), TorExecutable: "/tor"}, []string{"--tor-executable needs"}},
		{config.CreateOptions{Hostname: "h", TorLaunch: true, TorExecutable: "/tor"}, []string{"--tor-launch needs"}},
		{config.CreateOptions{Hostname: "h", TorControlPort: "unix:/x"}, []string{"--tor-control-port needs"}},
		{config.CreateOptions{Listen: []string{"i2p"}}, []string{"I2P is not supported"}},
		{config.CreateOptions{Hostname: "a b"}, []string{"not a host name"}},
		{config.CreateOptions{Hostname: onion}, []string{"not a host name"}},
		{config.CreateOptions{Hostname: "h", Needed: 4, Happy: 3}, []string{"must not go down"}},
		{config.CreateOptions{Hostname: "h", Total: 257}, []string{"between 1 and 256"}},
		{config.CreateOptions{Hostname: "h", Needed: -1}, []string{"between 1 and 256"}},
		{config.CreateOptions{Hostname: "h", Introducer: redact.New("pb://x")}, []string{"--introducer"}},
		{config.CreateOptions{Hostname: "h", WebPort: "http://localhost"}, []string{"--webport"}},
		{config.CreateOptions{Hostname: "h", Nickname: "a\n[storage]", StorageDir: " x"}, []string{"--nickname", "--storage-dir"}},
	} {
		err := tt.o.Check()
		errs, _ := errors.AsType[config.OptionErrors](err)
		ok := len(errs) == len(tt.want) && (err == nil) == (len(tt.want) == 0)
		for i := range tt.want {
			ok = ok && strings.Contains(errs[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%+v: %v; want %q", tt.o, err, tt.want)
		}
	}
}

func TestCreatedSecretsDoNotPrint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n")
	o := config.CreateOptions{Listen: []string{"tor"}, Onion: anOnion(), FreePort: ports(), Introducer: redact.New(introducer)}
	made, err := config.Create(dir, o, now)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s", made, made, o, made.Later)
	for _, name := range []string{"secret", "convergence", "node.privkey", "tor_onion.privkey"} {
		text, err := os.ReadFile(filepath.Join(dir, "private", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, strings.TrimSpace(string(text))) {
			t.Errorf("%s prints", name)
		}
	}
	if strings.Contains(out, made.Server.FURL.Swissnum.Reveal()) || strings.Contains(out, "ydcwfczbk3bdgfjax2vxvzgverntvcln") {
		t.Error("a swissnum prints")
	}
}
