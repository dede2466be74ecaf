package tor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
)

func tcp(port int) netx.Addr     { return netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: port} }
func unix(path string) netx.Addr { return netx.Addr{Kind: netx.Unix, Host: path} }

func startMock(t *testing.T, cfg torcontrolmock.Config) *torcontrolmock.Tor {
	t.Helper()
	m, err := torcontrolmock.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func start(t *testing.T, cfg tor.Config) *tor.Tor {
	t.Helper()
	tr, err := tor.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// await waits for a ladder that f likes; a minute of virtual time at most.
func await(t *testing.T, tr *tor.Tor, what string, f func(tor.Ladder) bool) tor.Ladder {
	t.Helper()
	limit := time.After(3 * time.Minute)
	for {
		l, changed := tr.Watch()
		if f(l) {
			return l
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited in vain for: %s; ladder: %+v", what, l.Rungs())
		}
	}
}

func connected(l tor.Ladder) bool { return l.Control != netx.Addr{} }

func published(l tor.Ladder) bool {
	return !slices.ContainsFunc(l.Services, func(s tor.ServiceStatus) bool { return s.Uploaded == 0 })
}

func TestFindsTor(t *testing.T) {
	for _, tt := range []struct {
		name     string
		mock     torcontrolmock.Config
		cfg      tor.Config
		socks    netx.Addr
		control  netx.Addr
		prepare  func(*testing.T, *torcontrolmock.Host)
		services int
	}{
		{name: "debian's sockets", mock: torcontrolmock.Config{
			Control: []netx.Addr{unix("/run/tor/control")}, SOCKS: []netx.Addr{tcp(9050), unix("/run/tor/socks")}},
			control: unix("/run/tor/control"), socks: unix("/run/tor/socks")},
		{name: "system ports", control: tcp(9051), socks: tcp(9050)},
		{name: "tor browser, SOCKS at an odd port", mock: torcontrolmock.Config{
			Control: []netx.Addr{tcp(9151)}, SOCKS: []netx.Addr{tcp(19150)}}, control: tcp(9151), socks: tcp(19150)},
		{name: "SOCKS only at 9150", mock: torcontrolmock.Config{
			Control: []netx.Addr{}, SOCKS: []netx.Addr{tcp(9150)}}, socks: tcp(9150)},
		{name: "control needs a password we lack", mock: torcontrolmock.Config{
			Methods: []string{"HASHEDPASSWORD"}, Password: "x"}, socks: tcp(9050)},
		{name: "something else at 9050 and 9051", prepare: strangers(tcp(9050), tcp(9051)), mock: torcontrolmock.Config{
			Control: []netx.Addr{tcp(9151)}, SOCKS: []netx.Addr{tcp(9150)}}, control: tcp(9151), socks: tcp(9150)},
		{name: "something silent at 9051", prepare: silent(tcp(9051)), mock: torcontrolmock.Config{
			Control: []netx.Addr{tcp(9151)}, SOCKS: []netx.Addr{tcp(9150)}}, control: tcp(9151), socks: tcp(9150)},
		{name: "socket closed to us", prepare: func(_ *testing.T, h *torcontrolmock.Host) { h.Deny(unix("/run/tor/control")) },
			mock: torcontrolmock.Config{Control: []netx.Addr{unix("/run/tor/control")}}, socks: tcp(9050)},
		{name: "a filter that hides listeners", mock: torcontrolmock.Config{
			Refuse: map[string]string{"net/listeners/socks": "510 Command filtered", "STATUS_CLIENT": "510 Command filtered", "status/bootstrap-phase": "510 Command filtered"}},
			control: tcp(9051), socks: tcp(9050)},
		{name: "SOCKS at 9151", mock: torcontrolmock.Config{
			Control: []netx.Addr{}, SOCKS: []netx.Addr{tcp(9151)}}, socks: tcp(9151)},
		{name: "a system tor without control port before Tor Browser", mock: torcontrolmock.Config{
			Control: []netx.Addr{}, SOCKS: []netx.Addr{tcp(9050)}}, prepare: browser, socks: tcp(9050)},
		{name: "as configured", mock: torcontrolmock.Config{
			Control: []netx.Addr{tcp(1)}, SOCKS: []netx.Addr{unix("/s")}}, cfg: tor.Config{SOCKS: unix("/s"), Control: tcp(1)}, control: tcp(1), socks: unix("/s")},
		{name: "SOCKS as configured, no control", mock: torcontrolmock.Config{
			SOCKS: []netx.Addr{unix("/s")}}, cfg: tor.Config{SOCKS: unix("/s")}, socks: unix("/s")},
		{name: "environment", mock: torcontrolmock.Config{
			Control: []netx.Addr{unix("/c")}, SOCKS: []netx.Addr{tcp(2)}, Methods: []string{"HASHEDPASSWORD"}, Password: "pw"},
			cfg: tor.Config{Launch: true, Env: tor.EnvironmentFrom(func(k string) string {
				return map[string]string{"TOR_SOCKS_PORT": "2", "TOR_CONTROL_IPC_PATH": "/c", "TOR_CONTROL_PASSWD": `"pw"`, "TOR_SKIP_LAUNCH": "1"}[k]
			})}, control: unix("/c"), socks: tcp(2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := torcontrolmock.NewHost()
				tt.mock.Host, tt.cfg.Local = host, host
				if tt.prepare != nil {
					tt.prepare(t, host)
				}
				startMock(t, tt.mock)
				tr := start(t, tt.cfg)
				l := await(t, tr, "SOCKS port", func(l tor.Ladder) bool {
					return l.SOCKS != (netx.Addr{}) && (connected(l) || tt.control == netx.Addr{})
				})
				if l.SOCKS != tt.socks || l.Control != tt.control {
					t.Errorf("found SOCKS %v, control %v; want %v, %v", l.SOCKS, l.Control, tt.socks, tt.control)
				}
				if !l.Ready() {
					t.Errorf("not ready: %+v", l.Rungs())
				}
				c, err := tr.DialTor(t.Context(), netx.Addr{Host: "example.org", Port: 80})
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			})
		})
	}
}

// browser runs Tor Browser's tor, with a control port that is open to us.
func browser(t *testing.T, h *torcontrolmock.Host) {
	startMock(t, torcontrolmock.Config{Host: h, Control: []netx.Addr{tcp(9151)}, SOCKS: []netx.Addr{tcp(9150)}})
}

// strangers answers at the given addresses as a web server would.
func strangers(at ...netx.Addr) func(*testing.T, *torcontrolmock.Host) {
	return func(t *testing.T, h *torcontrolmock.Host) {
		for _, a := range at {
			l, err := h.Listen(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						c.Read(make([]byte, 100))
						io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
					}()
				}
			}()
		}
	}
}

// silent accepts and says nothing.
func silent(a netx.Addr) func(*testing.T, *torcontrolmock.Host) {
	return func(t *testing.T, h *torcontrolmock.Host) {
		l, err := h.Listen(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					io.Copy(io.Discard, c)
					c.Close()
				}()
			}
		}()
	}
}

func TestNoTor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		strangers(tcp(9050))(t, host)
		tr := start(t, tor.Config{Local: host})
		began := time.Now()
		_, err := tr.DialTor(t.Context(), netx.Addr{Host: "example.org", Port: 80})
		if _, ok := errors.AsType[*tor.AwayError](err); !ok {
			t.Fatalf("error = %v, want an AwayError", err)
		}
		for _, want := range []string{"Tor is not running", "unix:/run/tor/control", "127.0.0.1:9150", "Something that is not Tor answers at tcp:127.0.0.1:9050", "launch = true"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the answer took %v", took)
		}
		if r := tr.Status().Rungs()[0]; r.Name != "found" || r.State != tor.Failed {
			t.Errorf("first rung = %+v", r)
		}
		for _, a := range host.Dials() {
			if a.Kind == netx.TCP && a.Host != "127.0.0.1" {
				t.Errorf("dialled %v", a)
			}
		}
		// And as soon as Tor is there, all is well.
		startMock(t, torcontrolmock.Config{Host: host, SOCKS: []netx.Addr{tcp(9150)}})
		began = time.Now()
		await(t, tr, "tor", connected)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("found after %v, want within 5s", took)
		}
	})
}

func TestImpossibleConfigs(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  tor.Config
		want string
	}{
		{"proxy by name", tor.Config{SOCKS: netx.Addr{Kind: netx.TCP, Host: "tor.example", Port: 9050}}, "names are not looked up"},
		{"control by name", tor.Config{Control: netx.Addr{Kind: netx.TCP, Host: "gateway", Port: 9051}}, "names are not looked up"},
		{"relative socket", tor.Config{SOCKS: unix("socks")}, "absolute path"},
		{"no port", tor.Config{SOCKS: tcp(0)}, "must be tcp:ADDRESS:PORT"},
		{"launch and use", tor.Config{Launch: true, Dir: "/x", SOCKS: tcp(9050)}, "exclude each other"},
		{"launch nowhere", tor.Config{Launch: true}, "private folder"},
		{"torrc injection", tor.Config{Launch: true, Dir: "/x", ExtraTorrc: []string{"A 1\nB 2"}}, "line break"},
	} {
		if tr, err := tor.Start(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want one that says %q", tt.name, err, tt.want)
			if tr != nil {
				tr.Close()
			}
		}
	}
}

func TestIsolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		broken := ""
		m := startMock(t, torcontrolmock.Config{Host: host, SOCKSReply: func(h, user string) (byte, bool) {
			return 0x04, h == broken
		}})
		tr := start(t, tor.Config{Local: host})
		dial := func(label, host string) torcontrolmock.Stream {
			c, err := tr.DialTor(t.Context(), netx.Addr{Host: host, Port: 80, Isolation: label})
			if err == nil {
				c.Close()
			}
			all := m.Streams()
			return all[len(all)-1]
		}
		a1, a2, b, none := dial("storage:a", "x.example"), dial("storage:a", "y.example"), dial("storage:b", "x.example"), dial("", "x.example")
		if a1.User != "tahoe-storage" || a1.Password != a2.Password {
			t.Errorf("one label, two connections: %+v, %+v", a1, a2)
		}
		if a1.Password == b.Password || none.Password == a1.Password || none.Password == "" || none.User != "tahoe-any" {
			t.Errorf("different labels: %+v, %+v, %+v", a1, b, none)
		}
		if strings.Contains(a1.Password, "storage") || len(a1.Password) < 32 {
			t.Errorf("password %q tells of the label, or can be guessed", a1.Password)
		}
		broken = "x.example"
		dial("storage:a", "x.example")
		broken = ""
		if again := dial("storage:a", "x.example"); again.Password == a1.Password || again.User != a1.User {
			t.Errorf("after a failed circuit the credentials are the same")
		}
		other := start(t, tor.Config{Local: host, SOCKSUser: "ann", SOCKSPassword: redact.New("of ann")})
		c, err := other.DialTor(t.Context(), netx.Addr{Host: "x.example", Port: 80, Isolation: "storage:a"})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		all := m.Streams()
		if got := all[len(all)-1]; got.Password == a1.Password || got.User != "ann-tahoe-storage" || strings.Contains(got.Password, "ann") {
			t.Errorf("another run, with a user of its own: %+v", got)
		}
	})
}

func TestDialErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		m := startMock(t, torcontrolmock.Config{Host: host, Bootstrap: 45})
		m.Bootstrap(45, "requesting_descriptors", "Asking for relay descriptors")
		tr := start(t, tor.Config{Local: host})
		await(t, tr, "tor", connected)
		before := len(m.Streams())
		for name, want := range map[string]string{
			"expyuzz4wqqyqhjn.onion": "version 2",
			"3s4yqjx5ul6okpp3f2gaunr2syex5jgbfpfvhxxbbjwnrsvbk5v3qbid.onion": "checksum",
		} {
			_, err := tr.DialTor(t.Context(), netx.Addr{Host: name, Port: 80})
			if _, ok := errors.AsType[*onion.AddressError](err); !ok || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error = %v, want an AddressError that says %q", name, err, want)
			}
		}
		if len(m.Streams()) != before {
			t.Error("an impossible address was sent to Tor")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := tr.DialTor(ctx, netx.Addr{Host: "example.org", Port: 80})
		if _, ok := errors.AsType[*tor.AwayError](err); !ok || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "Tor is connecting: 45 % Asking for relay descriptors") {
			t.Errorf("while tor is connecting: %v", err)
		}
		m.Bootstrap(100, "done", "Done")
		_, err = tr.DialTor(t.Context(), netx.Addr{Host: onion.FromSeed([32]byte{5}).Address().String(), Port: 80})
		if refused, ok := errors.AsType[*tor.SOCKSError](err); !ok || refused.Code != 0xF0 || !strings.Contains(err.Error(), "not published") {
			t.Errorf("unknown onion: %v", err)
		}
	})
}

func TestOnionService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		key := onion.FromSeed([32]byte{1})
		m := startMock(t, torcontrolmock.Config{Host: host, FailUploads: 3, HSDirs: 8})
		tr := start(t, tor.Config{Local: host})
		l, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457})
		if err != nil {
			t.Fatal(err)
		}
		go echo(l)
		if got, want := l.Addr().String(), key.Address().String()+":3457"; got != want {
			t.Errorf("Addr() = %s, want %s", got, want)
		}
		lad := await(t, tr, "self-dial", func(l tor.Ladder) bool {
			return len(l.Services) == 1 && !l.Services[0].Reached.IsZero() && l.Services[0].Uploaded == 5
		})
		if s := lad.Services[0]; s.Uploaded != 5 || s.Asked != 8 || !s.Added || s.Problem != "" || !strings.HasPrefix(s.Target, "127.0.0.1:") {
			t.Errorf("status = %+v", s)
		}
		for _, r := range lad.Rungs() {
			if r.State != tor.OK {
				t.Errorf("rung %+v", r)
			}
		}
		checkEcho(t, tr, key)
		commands := m.Commands()
		events := slices.IndexFunc(commands, func(c string) bool { return strings.HasPrefix(c, "SETEVENTS") })
		add := slices.IndexFunc(commands, func(c string) bool { return strings.HasPrefix(c, "ADD_ONION") })
		if events < 0 || events > add {
			t.Errorf("SETEVENTS is command %d, ADD_ONION %d", events, add)
		}
		if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 80}); err == nil {
			t.Error("the same key twice: no error")
		}
		l.Close()
		synctest.Wait()
		if got := m.Services(); len(got) != 0 {
			t.Errorf("after Close tor publishes %+v", got)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	})
}

// echo serves until l is closed.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(c, c)
			c.Close()
		}()
	}
}

func checkEcho(t *testing.T, tr *tor.Tor, key onion.Key) {
	t.Helper()
	c, err := tr.DialTor(t.Context(), netx.Addr{Kind: netx.Tor, Host: key.Address().String(), Port: 3457, Isolation: "storage:x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 5)
	io.WriteString(c, "hello")
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("through the onion: %q, %v", got, err)
	}
}

func TestOptionalWordsAreDropped(t *testing.T) {
	const refusal = "512 Bad arguments to ADD_ONION: Unrecognized keyword argument"
	for _, tt := range []struct {
		name   string
		refuse map[string]string
		want   string // the words that remain
	}{
		{"all known", nil, "PoWDefensesEnabled=1 MaxStreams=64"},
		{"no PoW", map[string]string{"PoWDefensesEnabled": refusal}, "MaxStreams=64"},
		{"no MaxStreams", map[string]string{"MaxStreams": "513 x"}, "PoWDefensesEnabled=1"},
		{"neither", map[string]string{"MaxStreams": "510 filtered", "PoWDefensesEnabled": "510 filtered"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := torcontrolmock.NewHost()
				m := startMock(t, torcontrolmock.Config{Host: host, Refuse: tt.refuse})
				tr := start(t, tor.Config{Local: host})
				_, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: onion.FromSeed([32]byte{1}), Port: 80, ProofOfWork: true, MaxStreams: 64, ClientAuth: []string{"XYZ"}})
				if err != nil {
					t.Fatal(err)
				}
				await(t, tr, "publication", published)
				words := strings.Join(m.Services()[0].Words, " ")
				if !strings.Contains(words, "Flags=DiscardPK,V3Auth "+tt.want) || !strings.Contains(words, "ClientAuthV3=XYZ") {
					t.Errorf("published with %q, want %q", words, tt.want)
				}
				if tt.want == "" && (strings.Contains(words, "MaxStreams") || strings.Contains(words, "PoW")) {
					t.Errorf("published with %q", words)
				}
			})
		})
	}
}

// TestClientAuthIsNeverDropped: a service for few must not become one for all.
func TestClientAuthIsNeverDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		m := startMock(t, torcontrolmock.Config{Host: host, Refuse: map[string]string{"ClientAuthV3": "512 no"}})
		tr := start(t, tor.Config{Local: host})
		if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: onion.FromSeed([32]byte{1}), Port: 80, ProofOfWork: true, ClientAuth: []string{"XYZ"}}); err != nil {
			t.Fatal(err)
		}
		await(t, tr, "the refusal", func(l tor.Ladder) bool { return strings.Contains(l.Services[0].Problem, "512 no") })
		if got := m.Services(); len(got) != 0 {
			t.Errorf("published: %+v", got)
		}
	})
}

func TestCollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		m := startMock(t, torcontrolmock.Config{Host: host})
		m.Collide(5) // our former connection, noticed late
		tr := start(t, tor.Config{Local: host})
		if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: onion.FromSeed([32]byte{1}), Port: 80}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		l := await(t, tr, "publication", func(l tor.Ladder) bool { return l.Services[0].Problem != "" || published(l) })
		if l.Services[0].Problem != "" || time.Since(began) > 20*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), l.Services[0])
		}
		m.Collide(1 << 30) // another node, for good
		m.CutControl()
		began = time.Now()
		await(t, tr, "the problem", func(l tor.Ladder) bool {
			return strings.Contains(l.Services[0].Problem, "another running node already serves")
		})
		if took := time.Since(began); took < 55*time.Second || took > 80*time.Second {
			t.Errorf("said so after %v, want about a minute", took)
		}
		m.Collide(0)
		await(t, tr, "publication once it has gone", published)
	})
}

// TestListenAgain closes a service and serves the same address at once.
func TestListenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		key := onion.FromSeed([32]byte{1})
		m := startMock(t, torcontrolmock.Config{Host: host})
		tr := start(t, tor.Config{Local: host})
		for i := range 20 {
			if i%2 == 1 {
				m.Collide(3) // so that the first is closed before tor has it
			}
			l, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457})
			if err != nil {
				t.Fatal(err)
			}
			if i%4 < 2 {
				await(t, tr, "publication", published)
			}
			l.Close()
			m.Collide(0)
			if l, err = tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457}); err != nil {
				t.Fatal(err)
			}
			go echo(l)
			await(t, tr, "publication", published)
			time.Sleep(10 * time.Second) // virtual: whatever the first does late is done
			checkEcho(t, tr, key)
			l.Close()
		}
	})
}

func TestSocketTarget(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sandbox bool
		want    string
	}{
		{"reached", false, "unix:/run/tahoe/onion"},
		{"shut out", true, "127.0.0.1:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := torcontrolmock.NewHost()
				key := onion.FromSeed([32]byte{1})
				m := startMock(t, torcontrolmock.Config{Host: host, NoUnix: tt.sandbox})
				tr := start(t, tor.Config{Local: host})
				l, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457, Socket: "/run/tahoe/onion"})
				if err != nil {
					t.Fatal(err)
				}
				go echo(l)
				first := await(t, tr, "publication", published).Services[0].Target
				if !strings.HasPrefix(first, "127.0.0.1:") {
					t.Errorf("before there is proof tor delivers to %s", first)
				}
				lad := await(t, tr, "self-dial", func(l tor.Ladder) bool { return !l.Services[0].Reached.IsZero() })
				if got := lad.Services[0].Target; !strings.HasPrefix(got, tt.want) {
					t.Errorf("tor delivers to %s, want %s", got, tt.want)
				}
				if got := m.Services(); len(got) != 1 || got[0].Target != lad.Services[0].Target {
					t.Errorf("tor publishes %+v", got)
				}
				checkEcho(t, tr, key)
				var port int
				fmt.Sscanf(first, "127.0.0.1:%d", &port)
				c, err := host.Dial(t.Context(), tcp(port))
				if (err == nil) != tt.sandbox {
					t.Errorf("port still open = %v, want %v", err == nil, tt.sandbox)
				}
				if err == nil {
					c.Close()
				}
			})
		})
	}
}

// TestHundredRestarts: whatever happens to tor, the service is back within
// seconds of tor, and nothing is left over.
func TestHundredRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		key := onion.FromSeed([32]byte{1})
		m := startMock(t, torcontrolmock.Config{Host: host})
		tr := start(t, tor.Config{Local: host})
		l, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457})
		if err != nil {
			t.Fatal(err)
		}
		go echo(l)
		await(t, tr, "publication", published)
		var worst time.Duration
		for i := range 100 {
			switch i % 4 {
			case 0: // control connection broken
				m.CutControl()
			case 1: // restarted at once
				m.Stop()
				m = startMock(t, torcontrolmock.Config{Host: host})
			case 2: // away for a while
				m.Stop()
				time.Sleep(time.Duration(i) * time.Second)
				m = startMock(t, torcontrolmock.Config{Host: host})
			case 3: // half open, then back
				m.Hang(true)
				time.Sleep(2 * time.Minute)
				m.CutControl()
				m.Hang(false)
			}
			back := time.Now()
			synctest.Wait()
			await(t, tr, "publication", func(l tor.Ladder) bool { return connected(l) && l.Services[0].Added })
			worst = max(worst, time.Since(back))
			await(t, tr, "upload", published)
			checkEcho(t, tr, key)
			if got := m.Services(); len(got) != 1 || got[0].ID != key.Address().ServiceID() {
				t.Fatalf("restart %d: tor publishes %+v", i, got)
			}
		}
		if worst > 5*time.Second {
			t.Errorf("ADD_ONION came up to %v after tor was back, want within 5s", worst)
		}
		t.Logf("ADD_ONION at most %v after tor was back", worst)
	})
}

// TestSOCKSLost: the SOCKS port is away, or behind a filter, and the control
// port is not. Connections wait and fail with words, by no other way; the
// service stands, and needs no second ADD_ONION.
func TestSOCKSLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		key := onion.FromSeed([32]byte{1})
		m := startMock(t, torcontrolmock.Config{Host: host})
		tr := start(t, tor.Config{Local: host})
		l, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457})
		if err != nil {
			t.Fatal(err)
		}
		go echo(l)
		before := await(t, tr, "publication", published)
		cut := func(how torcontrolmock.Cut) {
			for _, at := range []netx.Addr{tcp(9050), tcp(9150), tcp(9151)} {
				host.Cut(at, how)
			}
		}
		for _, how := range []torcontrolmock.Cut{torcontrolmock.Refused, torcontrolmock.Filtered} {
			cut(how)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := tr.DialTor(ctx, netx.Addr{Kind: netx.TCP, Host: "example.org", Port: 80})
			cancel()
			if _, ok := errors.AsType[*tor.AwayError](err); !ok || !strings.Contains(err.Error(), "SOCKS") {
				t.Errorf("cut %d: error = %v, want an AwayError that speaks of SOCKS", how, err)
			}
			time.Sleep(5 * time.Minute)
			now := tr.Status()
			if r := now.Rungs()[0]; r.State != tor.Failed || !strings.Contains(r.Text, "SocksPort") {
				t.Errorf("cut %d: rung %+v", how, r)
			}
			if now.Connects != before.Connects || !connected(now) || !published(now) || now.Ready() {
				t.Errorf("cut %d: after a while the ladder is %+v", how, now)
			}
			cut(torcontrolmock.Whole)
			await(t, tr, "the SOCKS port", tor.Ladder.Ready) // without anybody to connect
			checkEcho(t, tr, key)
			if r := tr.Status().Rungs()[0]; r.State != tor.OK {
				t.Errorf("cut %d: when it is back, rung %+v", how, r)
			}
		}
		adds := 0
		for _, c := range m.Commands() {
			if strings.HasPrefix(c, "ADD_ONION") {
				adds++
			}
		}
		if adds != 1 {
			t.Errorf("%d times ADD_ONION", adds)
		}
		for _, a := range host.Dials() {
			if a.Kind == netx.TCP && a.Host != "127.0.0.1" {
				t.Errorf("dialled %s", a)
			}
		}
	})
}

// TestServesWithoutSOCKS: a tor that is there for its services only.
func TestServesWithoutSOCKS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		startMock(t, torcontrolmock.Config{Host: host, SOCKS: []netx.Addr{}})
		tr := start(t, tor.Config{Local: host})
		if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: onion.FromSeed([32]byte{1}), Port: 80}); err != nil {
			t.Fatal(err)
		}
		l := await(t, tr, "publication", published)
		if r := l.Rungs()[0]; r.State != tor.Failed || !strings.Contains(r.Text, "tor's control port answers, but no SOCKS port does") {
			t.Errorf("rung %+v", r)
		}
	})
}

// TestHalfOpen: a control connection that is silent is given up.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		m := startMock(t, torcontrolmock.Config{Host: host})
		tr := start(t, tor.Config{Local: host})
		await(t, tr, "tor", connected)
		m.Hang(true)
		began := time.Now()
		l := await(t, tr, "the loss", func(l tor.Ladder) bool { return !connected(l) })
		if took := time.Since(began); took > time.Minute || l.Problem == "" {
			t.Errorf("noticed after %v, problem %q", took, l.Problem)
		}
		m.Hang(false)
		await(t, tr, "tor", connected)
	})
}

func TestLadderWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		m := startMock(t, torcontrolmock.Config{Host: host, Bootstrap: 5})
		tr := start(t, tor.Config{Local: host})
		await(t, tr, "tor", connected)
		m.Bootstrap(45, "requesting_descriptors", "Asking for relay descriptors")
		synctest.Wait()
		if r := tr.Status().Rungs()[2]; r.State != tor.Waiting || r.Text != "Tor is connecting: 45 % Asking for relay descriptors" {
			t.Errorf("rung = %+v", r)
		}
		m.Emit("STATUS_CLIENT", `WARN BOOTSTRAP PROGRESS=45 TAG=x SUMMARY="Asking for relay descriptors" WARNING="Connection refused" REASON=CONNECTREFUSED`)
		time.Sleep(61 * time.Second)
		if r := tr.Status().Rungs()[2]; r.State != tor.Failed || !strings.Contains(r.Text, "Connection refused") || !strings.Contains(r.Text, "bridges") {
			t.Errorf("rung = %+v", r)
		}
		m.Emit("STATUS_GENERAL", "WARN CLOCK_SKEW SKEW=-10800 SOURCE=DIRSERV:127.0.0.1:80")
		synctest.Wait()
		if r := tr.Status().Rungs()[2]; !strings.Contains(r.Text, "clock is 3h0m0s behind") {
			t.Errorf("rung = %+v", r)
		}
		m.Bootstrap(100, "done", "Done")
		synctest.Wait()
		if l := tr.Status(); !l.Ready() || l.String() != "Tor is ready" {
			t.Errorf("ladder = %s", l)
		}
		m.Emit("STATUS_CLIENT", "NOTICE CIRCUIT_NOT_ESTABLISHED REASON=DIR_ALL_UNREACHABLE")
		synctest.Wait()
		if l := tr.Status(); l.Ready() || !strings.Contains(l.String(), "is this machine online?") {
			t.Errorf("ladder = %s", l)
		}
	})
}

func TestNoPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		host.Deny(unix("/run/tor/control"))
		startMock(t, torcontrolmock.Config{Host: host, Control: []netx.Addr{unix("/run/tor/control")}})
		tr := start(t, tor.Config{Local: host})
		if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: onion.FromSeed([32]byte{1}), Port: 80}); err != nil {
			t.Fatal(err)
		}
		l := await(t, tr, "the problem", func(l tor.Ladder) bool { return l.Problem != "" })
		if r := l.Rungs()[1]; r.State != tor.Failed || !strings.Contains(r.Text, "adduser $USER debian-tor") {
			t.Errorf("rung = %+v", r)
		}
		if r := l.Rungs()[0]; r.State != tor.OK {
			t.Errorf("rung = %+v: clients need just SOCKS", r)
		}
	})
}

// TestNoSecretIsPrinted looks at everything a node says of Tor.
func TestNoSecretIsPrinted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		key := onion.FromSeed([32]byte{77})
		startMock(t, torcontrolmock.Config{Host: host, Methods: []string{"HASHEDPASSWORD", "SAFECOOKIE"}, Password: "open sesame",
			CookieFile: filepath.Join(dir, "cookie"), Refuse: map[string]string{"ADD_ONION": "512 bad " + key.Reveal()[:4]}})
		var log strings.Builder
		tr := start(t, tor.Config{Local: host, Password: redact.New("open sesame"), Log: logTo(&log)})
		if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 80, ProofOfWork: true}); err != nil {
			t.Fatal(err)
		}
		l := await(t, tr, "the refusal", func(l tor.Ladder) bool { return l.Services[0].Problem != "" })
		tr.Close()
		said := fmt.Sprintf("%+v %#v %v %s", l, l, l.Rungs(), log.String())
		for _, secret := range []string{"open sesame", strings.TrimPrefix(key.Reveal(), "ED25519-V3:"), "6f70656e"} {
			if strings.Contains(said, secret) {
				t.Errorf("%q was printed", secret)
			}
		}
		if !strings.Contains(log.String(), "onion service not added") {
			t.Errorf("log is %q", log.String())
		}
	})
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
}
