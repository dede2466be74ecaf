package tor_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
)

// others are the services that somebody else has in torrc, with what tor's
// quoting has to carry through.
var others = []string{
	`HiddenServiceDir=/srv/a # "b\c`,
	`HiddenServicePort=80 127.0.0.1:8098`,
	`HiddenServicePort=81 unix:"/run/so ck"`,
	`HiddenServiceMaxStreams=10`,
	`HiddenServiceDir=/srv/two/`,
	`HiddenServicePort=443`,
}

// machine is a machine whose tor has others' services.
func machine(edit func(*torcontrolmock.Config)) torcontrolmock.Config {
	cfg := torcontrolmock.Config{
		Host:  torcontrolmock.NewHost(),
		Net:   torcontrolmock.NewNet(),
		Disk:  &torcontrolmock.Disk{Parents: []string{"/srv", "/var/lib/tor"}},
		Torrc: others,
		Conf:  map[string]string{"DataDirectory": "/var/lib/tor", "Sandbox": "0", "HiddenServiceNonAnonymousMode": "0"},
		UID:   -1,
	}
	if edit != nil {
		edit(&cfg)
	}
	return cfg
}

// node is a node with one service in a folder.
type node struct {
	*tor.Tor
	cfg tor.DirConfig
}

// startDir runs a node that greets whoever connects with its name, by which it
// knows itself.
func startDir(t *testing.T, host netx.Network, name string, cfg tor.DirConfig) *node {
	t.Helper()
	n := &node{Tor: start(t, tor.Config{Local: host, Log: logTo(t.Output())})}
	if cfg.Dir == "" {
		cfg.Dir = "/var/lib/tor/my_service"
	}
	if cfg.Port == 0 {
		cfg.Port = 80
	}
	cfg.Prove = func(ctx context.Context, at netx.Addr) error {
		c, err := n.DialTor(ctx, at)
		if err != nil {
			return err
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		got, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && got != name+"\n" {
			err = tor.ErrStranger
		}
		return err
	}
	n.cfg = cfg
	l, err := n.ListenHiddenDir(cfg)
	if err != nil {
		t.Fatal(err)
	}
	greet(t, l, name)
	return n
}

func greet(t *testing.T, l net.Listener, name string) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.WriteString(c, name+"\n")
				c.Close()
			}()
		}
	}()
}

func reached(l tor.Ladder) bool { return len(l.Services) == 1 && !l.Services[0].Reached.IsZero() }

func refused(l tor.Ladder) bool { return len(l.Services) == 1 && l.Services[0].Problem != "" }

// mine are the settings of the test's own service.
func mine(port string) []string {
	return []string{"HiddenServiceDir=/var/lib/tor/my_service", "HiddenServicePort=80 127.0.0.1:" + port}
}

func setConfs(m *torcontrolmock.Tor) (n int) {
	for _, c := range m.Commands() {
		if strings.HasPrefix(c, "SETCONF") {
			n++
		}
	}
	return n
}

// A service that tor does not have is added to the others, which stay as they
// are; a reload, which drops it, brings it back, and a new tor has it again.
func TestHiddenDirIsSetUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	synctest.Test(t, func(t *testing.T) {
		mc := machine(nil)
		m := startMock(t, mc)
		// Somebody else's services: the search for ours knocks there too.
		for _, at := range []netx.Addr{tcp(8098), tcp(443)} {
			l, err := mc.Host.Listen(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			greet(t, l, "a stranger")
		}
		n := startDir(t, mc.Host, "ann", tor.DirConfig{Memory: file})
		l := await(t, n.Tor, "own service", reached)
		id := mc.Disk.ID(n.cfg.Dir)
		s := l.Services[0]
		if s.Address.ServiceID() != id || s.Uploaded != 8 || s.Asked != 8 || s.Target != "tcp:127.0.0.1:40001" {
			t.Errorf("service = %+v, want address %s, 8 of 8", s, id)
		}
		want := slices.Concat(others, mine("40001"))
		if d := cmp.Diff(want, m.Hidden()); d != "" {
			t.Errorf("tor's services: -want +got\n%s", d)
		}
		time.Sleep(5 * time.Minute)
		if setConfs(m) != 1 {
			t.Errorf("%d SETCONF commands, want 1", setConfs(m))
		}

		m.Reload()
		began := time.Now()
		await(t, n.Tor, "the service after a reload", func(l tor.Ladder) bool {
			return slices.Equal(m.Hidden(), want) && reached(l) && l.Services[0].Reached.After(began)
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("back %v after a reload, want within 10s", took)
		}

		m.Stop()
		await(t, n.Tor, "tor's end", func(l tor.Ladder) bool { return !connected(l) && !reached(l) })
		m = startMock(t, mc)
		await(t, n.Tor, "the service with a new tor", reached)
		if d := cmp.Diff(want, m.Hidden()); d != "" {
			t.Errorf("services of the new tor: -want +got\n%s", d)
		}

		// The next run of the node knows its address, and keeps the service.
		n.Close()
		n = startDir(t, mc.Host, "ann", tor.DirConfig{Memory: file})
		if a := n.Status().Services[0].Address; a.ServiceID() != id {
			t.Errorf("after a restart of the node the address is %q, want %s", a, id)
		}
		await(t, n.Tor, "the service after a restart of the node", reached)
		if setConfs(m) != 1 {
			t.Errorf("%d SETCONF commands, want the 1 of before", setConfs(m))
		}
	})
}

// A service that is in torrc is taken as it is, though tor publishes nothing
// while we look, and hides its folder: its circuits tell the address.
func TestHiddenDirIsJoined(t *testing.T) {
	for _, tt := range []struct {
		name   string
		refuse map[string]string
		again  bool // tor publishes a second time
		cfg    tor.DirConfig
	}{
		{name: "by its circuits"},
		{name: "by a descriptor", refuse: map[string]string{"circuit-status": "510 Command filtered"}, again: true},
		{name: "by its circuits, without events", refuse: map[string]string{"SETEVENTS": "510 Command filtered"}},
		{name: "with a listener that is there", cfg: tor.DirConfig{Bound: []netx.Addr{tcp(8099)}}},
		{name: "localPort agrees", cfg: tor.DirConfig{LocalPort: 8099}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mc := machine(func(c *torcontrolmock.Config) {
					c.Torrc = slices.Concat(others, mine("8099"))
					c.Torrc[len(others)] += "/" // as people write it
					c.Refuse = tt.refuse
				})
				m := startMock(t, mc)
				time.Sleep(time.Hour)
				if tt.cfg.Bound != nil {
					l, err := mc.Host.Listen(t.Context(), tcp(8099))
					if err != nil {
						t.Fatal(err)
					}
					greet(t, l, "ann")
				}
				n := startDir(t, mc.Host, "ann", tt.cfg)
				if tt.again {
					time.Sleep(10 * time.Minute)
					if r := n.Status().Rungs()[3]; r.State != tor.Waiting || !strings.Contains(r.Text, "sudo cat /var/lib/tor/my_service/hostname, then tub.port = tcp:8099:interface=127.0.0.1") {
						t.Errorf("while the address is not known: %+v", r)
					}
					m.Emit("HS_DESC", "UPLOADED "+mc.Disk.ID("/var/lib/tor/my_service/")+" UNKNOWN $AA~relay")
				}
				l := await(t, n.Tor, "own service", reached)
				if got, want := l.Services[0].Address.ServiceID(), mc.Disk.ID("/var/lib/tor/my_service"); got != want {
					t.Errorf("address %s, want %s", got, want)
				}
				if setConfs(m) != 0 {
					t.Errorf("the settings were changed: %q", m.Commands())
				}
			})
		})
	}
}

// Where tor might exit, or somebody else's service would change, tor is left
// alone, and the operator is told what to write.
func TestHiddenDirIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		edit func(*torcontrolmock.Config)
		cfg  tor.DirConfig
		want []string
		sent int // SETCONF commands
	}{
		{name: "elsewhere", cfg: tor.DirConfig{Dir: "/srv/x"},
			want: []string{"directly below its DataDirectory /var/lib/tor", `"HiddenServiceDir /srv/x" and "HiddenServicePort 80 127.0.0.1:40001" into torrc`}},
		{name: "two levels down", cfg: tor.DirConfig{Dir: "/var/lib/tor/a/b"}, want: []string{"directly below"}},
		{name: "beside by dots", cfg: tor.DirConfig{Dir: "/var/lib/tor/../x"}, want: []string{"HiddenServiceDir /var/lib/x"}},
		{name: "the DataDirectory itself", cfg: tor.DirConfig{Dir: "/var/lib/tor"}, want: []string{"directly below"}},
		{name: "a folder of ours, tor is another user", cfg: tor.DirConfig{Dir: dir + "/x"}, want: []string{"directly below"}},
		{name: "a folder with a blank", cfg: tor.DirConfig{Dir: "/srv/a b"}, want: []string{`"HiddenServiceDir \"/srv/a b\""`}},
		{name: "tor's own things", cfg: tor.DirConfig{Dir: "/var/lib/tor/keys"}, want: []string{"under that name"}},
		{name: "tor's own caches", cfg: tor.DirConfig{Dir: "/var/lib/tor/cached-certs"}, want: []string{"under that name"}},
		{name: "sandbox", edit: func(c *torcontrolmock.Config) { c.Conf["Sandbox"] = "1" }, want: []string{"Sandbox 1", "into torrc"}},
		{name: "single hop", edit: func(c *torcontrolmock.Config) { c.Conf["HiddenServiceNonAnonymousMode"] = "1" }, want: []string{"single hop"}},
		{name: "an unknown DataDirectory", edit: func(c *torcontrolmock.Config) { c.Conf["DataDirectory"] = "" }, want: []string{"in a folder that tor owns"}},
		{name: "a folder that tor does not like", edit: func(c *torcontrolmock.Config) { c.Disk.Bad = []string{"/var/lib/tor/my_service"} },
			want: []string{"does not accept /var/lib/tor/my_service", "0700"}, sent: 1},
		{name: "a filter", edit: func(c *torcontrolmock.Config) { c.Refuse = map[string]string{"GETCONF": "510 Command filtered"} },
			want: []string{"leave hiddenServiceDir out"}},
		{name: "somebody's service without our port", cfg: tor.DirConfig{Dir: "/srv/two"},
			want: []string{"not ours to change", `"HiddenServicePort 80 127.0.0.1:40001" below`}},
		{name: "another local port", cfg: tor.DirConfig{Dir: "/srv/two", Port: 443, LocalPort: 9}, want: []string{"delivers to tcp:127.0.0.1:443", "localPort=9"}},
		{name: "a socket that we cannot open for tor", cfg: tor.DirConfig{Dir: `/srv/a # "b\c`, Port: 81}, want: []string{"tub.port = unix:/run/so ck:mode=660"}},
		{name: "another machine", edit: func(c *torcontrolmock.Config) {
			c.Torrc = []string{"HiddenServiceDir=/srv/z", "HiddenServicePort=80 192.0.2.1:80"}
		}, cfg: tor.DirConfig{Dir: "/srv/z"}, want: []string{"not this machine"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mc := machine(tt.edit)
				m := startMock(t, mc)
				before := m.Hidden()
				n := startDir(t, mc.Host, "ann", tt.cfg)
				l := await(t, n.Tor, "the refusal", refused)
				for _, want := range tt.want {
					if !strings.Contains(l.Services[0].Problem, want) {
						t.Errorf("problem %q does not say %q", l.Services[0].Problem, want)
					}
				}
				if r := l.Rungs()[3]; r.State != tor.Failed || r.Text != l.Services[0].Problem {
					t.Errorf("rung = %+v", r)
				}
				if setConfs(m) != tt.sent || !slices.Equal(before, m.Hidden()) {
					t.Errorf("tor's services were touched: %q, now %q", m.Commands(), m.Hidden())
				}
				if !connected(n.Status()) {
					t.Error("tor is gone")
				}
			})
		})
	}
}

// Lines that the operator adds after a refusal, with a reload, are all that is
// needed.
func TestHiddenDirAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mc := machine(nil)
		m := startMock(t, mc)
		n := startDir(t, mc.Host, "ann", tor.DirConfig{Dir: "/srv/x"})
		await(t, n.Tor, "the refusal", refused)
		m.Stop()
		mc.Torrc = []string{"HiddenServiceDir=/srv/x", "HiddenServicePort=80 127.0.0.1:40001"}
		startMock(t, mc)
		await(t, n.Tor, "the service", reached)
	})
}

// A folder that was deleted comes back with another key, and so address.
func TestHiddenDirWithNewKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	synctest.Test(t, func(t *testing.T) {
		mc := machine(nil)
		m := startMock(t, mc)
		n := startDir(t, mc.Host, "ann", tor.DirConfig{Memory: file})
		old := await(t, n.Tor, "own service", reached).Services[0].Address
		m.Stop()
		mc.Disk.Lose("/var/lib/tor/my_service")
		startMock(t, mc)
		await(t, n.Tor, "the new address", func(l tor.Ladder) bool { return reached(l) && l.Services[0].Address != old })
		text, err := os.ReadFile(file)
		if want := mc.Disk.ID("/var/lib/tor/my_service") + ".onion\t40001\t/var/lib/tor/my_service\n"; string(text) != want {
			t.Errorf("memory = %q, %v; want %q", text, err, want)
		}
	})
}

// Two nodes with one tor do not undo each other's work when a reload wakes
// both.
func TestHiddenDirsOfTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mc := machine(nil)
		m := startMock(t, mc)
		ann := startDir(t, mc.Host, "ann", tor.DirConfig{Dir: "/var/lib/tor/ann"})
		bob := startDir(t, mc.Host, "bob", tor.DirConfig{Dir: "/var/lib/tor/bob"})
		for range 20 {
			a, b := await(t, ann.Tor, "ann", reached), await(t, bob.Tor, "bob", reached)
			if x, y := a.Services[0].Address.ServiceID(), b.Services[0].Address.ServiceID(); x != mc.Disk.ID("/var/lib/tor/ann") || y != mc.Disk.ID("/var/lib/tor/bob") {
				t.Fatalf("addresses %s and %s", x, y)
			}
			m.Reload()
			time.Sleep(15 * time.Second)
			if got := m.Hidden(); len(got) != len(others)+4 || !slices.Equal(got[:len(others)], others) {
				t.Fatalf("after a reload tor has %q", got)
			}
		}
	})
}

func TestImpossibleHiddenDirs(t *testing.T) {
	tr := start(t, tor.Config{Local: torcontrolmock.NewHost()})
	prove := func(context.Context, netx.Addr) error { return nil }
	for name, cfg := range map[string]tor.DirConfig{
		"relative": {Dir: "x", Port: 80, Prove: prove},
		"port":     {Dir: "/x", Port: 0, Prove: prove},
		"no proof": {Dir: "/x", Port: 80},
	} {
		if _, err := tr.ListenHiddenDir(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	l, err := tr.ListenHiddenDir(tor.DirConfig{Dir: "/x", Port: 80, Prove: prove})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ListenHiddenDir(tor.DirConfig{Dir: "/x/", Port: 81, Prove: prove}); err == nil {
		t.Error("one folder is used twice")
	}
	if got := l.Addr().String(); got != "/x:80" {
		t.Errorf("Addr = %s", got)
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if n := len(tr.Status().Services); n != 0 {
		t.Errorf("%d services after Close", n)
	}
}

// A hostname file that can be read is believed at once.
func TestHiddenDirWithReadableHostname(t *testing.T) {
	dir := t.TempDir()
	address := onion.FromSeed([32]byte{1}).Address()
	if err := os.WriteFile(filepath.Join(dir, "hostname"), []byte(address.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		mc := machine(func(c *torcontrolmock.Config) {
			c.Torrc = []string{"HiddenServiceDir=" + dir, "HiddenServicePort=80 127.0.0.1:8099"}
		})
		startMock(t, mc)
		n := startDir(t, mc.Host, "ann", tor.DirConfig{Dir: dir})
		began := time.Now()
		await(t, n.Tor, "the address", func(l tor.Ladder) bool { return l.Services[0].Address == address })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("known after %v", took)
		}
	})
}
