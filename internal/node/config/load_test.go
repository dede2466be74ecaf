package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/config/endpoint"
)

const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

// client makes a client's directory with this tahoe.cfg.
func client(t *testing.T, cfg string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "tahoe.cfg", cfg)
	write(t, dir, "tahoe-client.tac", "")
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lines returns what Load says, warnings marked.
func lines(c *config.Config, err error) string {
	var out []string
	if err != nil {
		out = append(out, err.Error())
	}
	for _, w := range c.Warnings {
		out = append(out, "warning: "+w.String())
	}
	return strings.Join(out, "\n")
}

func mustLoad(t *testing.T, cfg string) *config.Config {
	t.Helper()
	c, err := config.Load(client(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A name in web.port is one to be called by, and never looked up or listened
// at; so a node that hides may have one.
func TestWebHost(t *testing.T) {
	c := mustLoad(t, "[node]\nweb.port = tcp:3456:interface=Files.Example\nreveal-IP-address = false\n[connections]\ntcp = tor\n[storage]\nenabled = false\n")
	if want := (endpoint.TCP{Port: 3456, Interface: "127.0.0.1"}); c.Node.WebPort != want || c.Node.WebHost != "files.example" {
		t.Errorf("web.port %v, called %q", c.Node.WebPort, c.Node.WebHost)
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, "")
	in := func(name string) string { return filepath.Join(c.Dir, name) }
	want := config.Config{
		Dir:         c.Dir,
		Kind:        config.ClientNode,
		Node:        config.Node{Nickname: "<unspecified>", WebStatic: in("public_html"), Listens: true, RevealIP: true, LockDown: true, TempDir: in("tmp")},
		Connections: config.Connections{TCP: "tcp"},
		Tor:         config.Tor{Enabled: true},
		I2P:         config.I2P{Enabled: true},
		Client:      config.Client{Needed: 3, Happy: 7, Total: 10, MaxSegment: 1 << 20, MutableFormat: "SDMF"},
		Storage: config.Storage{Enabled: true, Anonymous: true, Dir: in("storage"),
			Expire: config.Expire{Immutable: true, Mutable: true}},
		SFTPD: config.SFTPD{Port: endpoint.TCP{Port: 8022}},
	}
	if d := cmp.Diff(want, *c, cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateComparable(redact.Secret{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if c.TorOnly() || c.IsSet("node", "nickname") {
		t.Errorf("TorOnly %v, nickname set %v", c.TorOnly(), c.IsSet("node", "nickname"))
	}
}

// Every key is set to something else than its default and must arrive.
func TestEveryKey(t *testing.T) {
	const f = "pb://upxcvcgnomhunstekcj7dstmm665jkki@/swiss"
	dir := client(t, `
[node]
NickName = näme
web.port = ssl:1:privateKey=k:certKey=~/c
web.static: ~/static
tub.port = 7,unix:private/s
tub.location = AUTO , tcp:example.org:7
reveal-ip-address = yes
tor_only.enabled = no
lockdown.enabled = no
log_gatherer.furl = `+f+`
timeout.keepalive = 1
timeout.disconnect = 2
tempdir = /tmp/../t
[connections]
tcp = Disabled
[tor]
enabled = no
launch = on
tor.executable = tor
socks.port = unix:s
control.port = tcp:localhost:1
onion = 1
onion.local_port = 1
onion.external_port = 2
onion.private_key_file = k
[i2p]
enabled = no
sam.port = tcp:127.0.0.1:2
launch = yes
i2p.configdir = d
i2p.executable = ./e
dest = yes
dest.port = 3
dest.private_key_file = p
[client]
introducer.furl = `+f+`
helper.furl = `+f+`
key_generator.furl = `+f+`
shares.needed = 1
shares.happy = 2
shares.total = 3
shares._max_immutable_segment_size_for_testing = 4
mutable.format = mdmf
peers.preferred = v0-a, v0-b
storage.plugins = x,,y
force_foolscap = yes
[storage]
enabled = yes
anonymous = no
readonly = yes
reserved_space = 1KiB
storage_dir = s
debug_discard = yes
expire.enabled = yes
expire.mode = age
expire.override_lease_duration = 2 days
expire.cutoff_date = 2026-02-03
expire.immutable = no
expire.mutable = no
plugins = p
grid_management = yes
force_foolscap = yes
announce-onion-nurls = yes
[helper]
enabled = yes
[sftpd]
enabled = yes
port = 22
accounts.file = a
host_pubkey_file = b
host_privkey_file = c
[grid_managers]
Fred = pub-v0-x
[grid_manager_certificates]
a = b
[storageclient.plugins.z]
k = v
`)
	c, err := config.Options{Home: "/home/me"}.Load(dir)
	if _, ok := errors.AsType[config.Problems](err); !ok {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(c.Dir, name) }
	secret := redact.New(f)
	want := config.Config{
		Dir:  c.Dir,
		Kind: config.ClientNode,
		Node: config.Node{Nickname: "näme", WebPort: endpoint.SSL{Port: 1, PrivateKey: in("k"), CertKey: "/home/me/c"}, WebStatic: "/home/me/static",
			TubPort:     []endpoint.Value{endpoint.TCP{Port: 7}, endpoint.Unix{Path: in("private/s")}},
			TubLocation: []endpoint.Value{endpoint.Auto{}, endpoint.Hint{Hint: furl.Hint{Kind: furl.TCP, Host: "example.org", Port: 7}}},
			Listens:     true, RevealIP: true, LogGatherer: secret, KeepAlive: time.Second, Disconnect: 2 * time.Second, TempDir: "/t"},
		Connections: config.Connections{TCP: "disabled"},
		Tor: config.Tor{Launch: true, Executable: "tor", SocksPort: endpoint.DialUnix{Path: in("s")}, Control: endpoint.DialTCP{Host: "localhost", Port: 1},
			Onion: true, LocalPort: 1, Port: 2, KeyFile: in("k")},
		I2P: config.I2P{SAMPort: endpoint.DialTCP{Host: "127.0.0.1", Port: 2}, Launch: true, ConfigDir: in("d"), Executable: in("e"),
			Dest: true, DestPort: 3, KeyFile: in("p")},
		Client: config.Client{Introducer: secret, Helper: secret, KeyGenerator: secret, Needed: 1, Happy: 2, Total: 3, MaxSegment: 4, MDMF: true,
			MutableFormat: "mdmf", Preferred: []string{"v0-a", "v0-b"}, Plugins: []string{"x", "y"}, ForceFoolscap: true},
		Storage: config.Storage{Enabled: true, ReadOnly: true, Reserved: 1024, Dir: in("s"), Discard: true,
			Expire:  config.Expire{Enabled: true, Mode: "age", Duration: 48 * time.Hour, Cutoff: time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)},
			Plugins: []string{"p"}, GridManaged: true, ForceFoolscap: true, OnionNURLs: true},
		Helper:           config.Helper{Enabled: true},
		SFTPD:            config.SFTPD{Enabled: true, Port: endpoint.TCP{Port: 22}, Accounts: in("a"), PubKey: in("b"), PrivKey: in("c")},
		GridManagers:     map[string]string{"fred": "pub-v0-x"},
		GridCertificates: map[string]string{"a": "b"},
		Plugins:          map[string]map[string]string{"storageclient.plugins.z": {"k": "v"}},
	}
	if d := cmp.Diff(want, *c, cmpopts.IgnoreUnexported(config.Config{}), cmpopts.IgnoreFields(config.Config{}, "Warnings", "Introducers"),
		cmpopts.EquateComparable(redact.Secret{}, endpoint.Hint{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if len(c.Introducers) != 1 || c.Introducers[0].Petname != "default" || c.Introducers[0].FURL.Swissnum.Reveal() != "swiss" {
		t.Errorf("Introducers = %v", c.Introducers)
	}
	for _, section := range []string{"node", "connections", "tor", "i2p", "client", "storage", "helper", "sftpd"} {
		for _, k := range config.Keys() {
			if k.Section == section && !c.IsSet(section, k.Name) {
				t.Errorf("the test does not set [%s] %s", section, k.Name)
			}
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", *c, *c, err); strings.Contains(text, "swiss") {
		t.Error("a swissnum prints")
	}
}

func TestSettled(t *testing.T) {
	const hidden = "[connections]\ntcp=tor\n[node]\nreveal-IP-address = no\n"
	hint := endpoint.Hint{Hint: furl.Hint{Kind: furl.Tor, Host: onion, Port: 80}}
	for _, tt := range []struct {
		name, cfg string
		torsocks  bool
		port      []endpoint.Value
		location  []endpoint.Value
		listens   bool
		torOnly   bool
		carrier   string
	}{
		{"absent", "", false, nil, nil, true, false, "tcp"},
		{"disabled", "[storage]\nenabled=no\n[node]\ntub.port=disabled\ntub.location=disabled\n", false, nil, nil, false, false, "tcp"},
		{"fakelocation", "[node]\ntub.port=8098\ntub.location=client.fakelocation:0\n", false,
			[]endpoint.Value{endpoint.TCP{Port: 8098}}, []endpoint.Value{endpoint.FakeLocation{}}, true, false, "tcp"},
		{"fakelocation under torsocks", "[storage]\nenabled=no\n[node]\ntub.port=8098\ntub.location=client.fakelocation:0\n", true, nil, nil, false, true, "tor"},
		{"hidden ports", hidden + "tub.port = 1,tcp6:2,unix:/s,tcp:3:interface=127.0.0.2\ntub.location=" + onion + ":80\n", false,
			[]endpoint.Value{endpoint.TCP{Port: 1, Interface: "127.0.0.1"}, endpoint.TCP{Port: 2, Interface: "::1", IPv6: true}, endpoint.Unix{Path: "/s"}, endpoint.TCP{Port: 3, Interface: "127.0.0.2"}},
			[]endpoint.Value{hint}, true, true, "tor"},
		{"tor_only", "[node]\ntor_only.enabled=yes\ntub.location=tor:" + onion + ":80\n", false, nil, []endpoint.Value{hint}, true, true, "tor"},
		{"tor_only, no clear servers", "[connections]\ntcp=disabled\n[node]\ntor_only.enabled=yes\ntub.location=tor:" + onion + ":80\n", false, nil, []endpoint.Value{hint}, true, true, "disabled"},
		{"unreachable", "[storage]\nenabled=no\n[node]\ntub.port=1\ntub.location=UNREACHABLE\n", false, nil, nil, false, false, "tcp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Options{Torsocks: tt.torsocks}.Load(client(t, tt.cfg))
			if err != nil {
				t.Fatal(err)
			}
			opt := cmpopts.EquateComparable(endpoint.Hint{})
			if d := cmp.Diff(tt.port, c.Node.TubPort, opt); d != "" {
				t.Errorf("port: -want +got\n%s", d)
			}
			if d := cmp.Diff(tt.location, c.Node.TubLocation, opt); d != "" {
				t.Errorf("location: -want +got\n%s", d)
			}
			if c.Node.Listens != tt.listens || c.TorOnly() != tt.torOnly || c.Connections.TCP != tt.carrier {
				t.Errorf("listens %v, tor-only %v, tcp %s", c.Node.Listens, c.TorOnly(), c.Connections.TCP)
			}
		})
	}
}

func TestHiddenWeb(t *testing.T) {
	const cfg = "[storage]\nenabled=no\n[node]\ntor_only.enabled=yes\nweb.port="
	if got := mustLoad(t, cfg+"3456").Node.WebPort; got != (endpoint.TCP{Port: 3456, Interface: "127.0.0.1"}) {
		t.Errorf("web.port = %v", got)
	}
	if got := mustLoad(t, cfg+"ssl:3456:privateKey=/k").Node.WebPort; got != (endpoint.SSL{Port: 3456, Interface: "127.0.0.1", PrivateKey: "/k"}) {
		t.Errorf("web.port = %v", got)
	}
}

func TestClientPort(t *testing.T) {
	dir := client(t, "")
	if err := config.WritePort(dir, "tcp:4567"); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(dir)
	if err != nil || len(c.Node.TubPort) != 1 || c.Node.TubPort[0] != (endpoint.TCP{Port: 4567}) {
		t.Errorf("%v, %v", c.Node.TubPort, err)
	}
	write(t, dir, "tahoe.cfg", "[node]\ntub.port = 1\n")
	if c, err = config.Load(dir); err != nil || c.Node.TubPort[0] != (endpoint.TCP{Port: 1}) {
		t.Errorf("%v, %v", c.Node.TubPort, err)
	}
}

func TestNoDirectory(t *testing.T) {
	if c, err := config.Load(filepath.Join(t.TempDir(), "x")); c != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %v, %v", c, err)
	}
	dir := t.TempDir()
	if _, err := config.KindOf(dir); !errors.Is(err, config.ErrNoNode) {
		t.Errorf("KindOf = %v", err)
	}
	if c, err := config.Load(dir); err != nil || c.Kind != config.ClientNode {
		t.Errorf("Load of an empty folder: %v", err)
	}
	write(t, dir, "tahoe-introducer.tac", "")
	if k, err := config.KindOf(dir); k != config.IntroducerNode || err != nil {
		t.Errorf("KindOf = %v, %v", k, err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("[node]\ntub.port = 1\ntub.location = AUTO\n", "storage: {v0-a: {ann: {}}}", "introducers: {a: {furl: x}}")
	f.Add("[node]\nreveal-IP-address = false\n[tor]\nonion = yes\n", "", "")
	f.Add("[DEFAULT]\nx=%(x)s\n[storage]\nreserved_space = 9999999999999E\n", "&a [*a]", "{")
	f.Fuzz(func(t *testing.T, cfg, servers, intros string) {
		dir := t.TempDir()
		write(t, dir, "tahoe.cfg", cfg)
		write(t, dir, "private/servers.yaml", servers)
		write(t, dir, "private/introducers.yaml", intros)
		c, err := config.Load(dir)
		if c == nil {
			t.Fatal(err)
		}
		for _, p := range append(c.Validate(), c.Warnings...) {
			if strings.Contains(p.String(), "\n") || p.Why == "" {
				t.Errorf("problem %#v", p)
			}
		}
	})
}
