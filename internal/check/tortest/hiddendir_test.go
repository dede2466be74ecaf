//go:build unix

package tortest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/control"
)

// neverProven is for tors without a network.
func neverProven(context.Context, netx.Addr) error { return errors.New("no network") }

// hiddenServices asks a tor for its services in folders, as KEY=VALUE.
func hiddenServices(t *testing.T, c *control.Conn) []string {
	t.Helper()
	conf, err := c.GetConf(t.Context(), "HiddenServiceOptions")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range conf {
		lines = append(lines, s.Key+"="+s.Value)
	}
	return lines
}

// awaitControl opens a control connection to a tor that starts.
func awaitControl(t *testing.T, dir string) *control.Conn {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := tortest.DialControl(t.Context(), netx.Addr{Kind: netx.Unix, Host: dir + "/control"}, dir+"/control_auth_cookie", nil)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// TestHiddenDirs sets up a service beside those of others in a tor without a
// network, which is all that SETCONF, GETCONF and the files need.
func TestHiddenDirs(t *testing.T) {
	tortest.Need(t)
	t.Parallel()
	dir := shortDir(t)
	torrc := []string{
		"SocksPort unix:" + dir + "/socks", "ControlPort unix:" + dir + "/control", "CookieAuthentication 1",
		`HiddenServiceDir "` + dir + `/their # service"`, "HiddenServicePort 80 127.0.0.1:1", `HiddenServicePort 81 unix:"` + dir + `/so ck"`, "HiddenServiceMaxStreams 10",
		"HiddenServiceDir " + dir + "/plain/", "HiddenServicePort 443",
	}
	theirs := []string{
		"HiddenServiceDir=" + dir + "/their # service", "HiddenServicePort=80 127.0.0.1:1", `HiddenServicePort=81 unix:"` + dir + `/so ck"`, "HiddenServiceMaxStreams=10",
		"HiddenServiceDir=" + dir + "/plain/", "HiddenServicePort=443",
	}
	stop := runTor(t, dir, torrc...)
	c := awaitControl(t, dir)
	if _, err := c.Do(t.Context(), "ADD_ONION NEW:ED25519-V3 Flags=DiscardPK,Detach Port=80,127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	detached, _ := c.GetInfo(t.Context(), "onions/detached")
	address := func(d string) string {
		text, _ := os.ReadFile(filepath.Join(d, "hostname"))
		return strings.TrimSpace(string(text))
	}
	theirAddress := address(dir + "/plain")

	memory := filepath.Join(t.TempDir(), "memory")
	mine := dir + "/mine"
	cfg := tor.DirConfig{Dir: mine, Port: 80, Memory: memory, Prove: neverProven}
	node := start(t, tor.Config{Control: netx.Addr{Kind: netx.Unix, Host: dir + "/control"}})
	if _, err := node.ListenHiddenDir(cfg); err != nil {
		t.Fatal(err)
	}
	known := func(l tor.Ladder) bool { return added(l) && l.Services[0].Address != "" }
	l := await(t, node, 20*time.Second, "the service", known)
	if got := l.Services[0].Address.String(); got != address(mine) {
		t.Errorf("address %s, in the folder %s", got, address(mine))
	}
	want := append(slices.Clone(theirs), "HiddenServiceDir="+mine, "HiddenServicePort=80 "+strings.TrimPrefix(l.Services[0].Target, "tcp:"))
	if got := hiddenServices(t, c); !slices.Equal(got, want) {
		t.Errorf("tor's services are %q, want %q", got, want)
	}
	if now, _ := c.GetInfo(t.Context(), "onions/detached"); now["onions/detached"] != detached["onions/detached"] || address(dir+"/plain") != theirAddress {
		t.Errorf("others' services have changed: %v, were %v", now, detached)
	}

	if err := c.Signal(t.Context(), "RELOAD"); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(15 * time.Second); !slices.Equal(hiddenServices(t, c), want); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("after a reload tor's services are %q, want %q", hiddenServices(t, c), want)
		}
	}

	stop()
	await(t, node, 20*time.Second, "tor's end", func(l tor.Ladder) bool { return !connected(l) })
	runTor(t, dir, torrc...)
	c = awaitControl(t, dir)
	await(t, node, 20*time.Second, "the service in another run of tor", known)
	if got := hiddenServices(t, c); !slices.Equal(got, want) {
		t.Errorf("tor's services are %q, want %q", got, want)
	}

	// The next run of the node joins what is there.
	node.Close()
	node = start(t, tor.Config{Control: netx.Addr{Kind: netx.Unix, Host: dir + "/control"}})
	if _, err := node.ListenHiddenDir(cfg); err != nil {
		t.Fatal(err)
	}
	if again := node.Status().Services[0]; again.Address.String() != address(mine) {
		t.Errorf("before tor is found the address is %q, want %s", again.Address, address(mine))
	}
	again := await(t, node, 20*time.Second, "the service", known).Services[0]
	if got := hiddenServices(t, c); !slices.Equal(got, want) || again.Target != l.Services[0].Target {
		t.Errorf("tor's services are %q, want %q", got, want)
	}
	node.Close()

	t.Run("places", func(t *testing.T) { checkPlaces(t, dir, c, want) })
}

// checkPlaces: tor is asked for what it can do, and survives all else.
func checkPlaces(t *testing.T, dir string, c *control.Conn, before []string) {
	own, bad := t.TempDir(), filepath.Join(dir, "a file")
	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, refusal string }{
		{"no such folder", "/nonexistent/x", "directly below its DataDirectory " + dir},
		{"two levels", own + "/a/b", "directly below"},
		{"a file", bad, "does not accept"},
		{"tor's keys", dir + "/keys", "under that name"},
		{"the DataDirectory", filepath.Dir(dir), "directly below"},
		{"a folder of tor's user", own + "/x", ""},
	} {
		if os.Getuid() == 0 && tt.dir == filepath.Dir(dir) {
			continue // root's tor owns that, too
		}
		node := start(t, tor.Config{Control: netx.Addr{Kind: netx.Unix, Host: dir + "/control"}})
		if _, err := node.ListenHiddenDir(tor.DirConfig{Dir: tt.dir, Port: 80, Prove: neverProven}); err != nil {
			t.Fatal(err)
		}
		l := await(t, node, 20*time.Second, tt.name, func(l tor.Ladder) bool {
			return connected(l) && (l.Services[0].Added || l.Services[0].Problem != "")
		})
		if got := l.Services[0].Problem; tt.refusal == "" && got != "" || !strings.Contains(got, tt.refusal) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.refusal)
		}
		now := hiddenServices(t, c) // and tor lives
		if tt.refusal != "" && !slices.Equal(now, before) || tt.refusal == "" && len(now) != len(before)+2 {
			t.Errorf("%s: tor's services are %q", tt.name, now)
		}
		node.Close()
	}
}

// TestHiddenDirsByTor learns addresses from nothing but what a real tor tells
// and connections through its network: the folders do not show them.
func TestHiddenDirsByTor(t *testing.T) {
	n := tortest.Shared(t)
	defer func() {
		if t.Failed() {
			t.Log(n.Logs())
		}
	}()
	torrc := shortDir(t)
	running, err := n.Client("dirs", tortest.ClientConfig{Extra: []string{
		"HiddenServiceDir " + torrc + "/one", "HiddenServicePort 80 127.0.0.1:" + freePortText(t),
		"HiddenServiceDir " + torrc + "/other", "HiddenServicePort 80 127.0.0.1:1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := running.Dial(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := os.ReadFile(torrc + "/one/hostname")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(text))
	if err := os.Remove(torrc + "/one/hostname"); err != nil {
		t.Fatal(err)
	}
	// The first comes while tor publishes, the second long after.
	for _, when := range []string{"while tor publishes", "after it has"} {
		node := startGreeter(t, running, torrc+"/one")
		began := time.Now()
		got := await(t, node, 150*time.Second, "the address, "+when, func(l tor.Ladder) bool {
			return len(l.Services) == 1 && !l.Services[0].Reached.IsZero()
		}).Services[0]
		if got.Address.String() != want {
			t.Errorf("%s: address %s, want %s", when, got.Address, want)
		}
		t.Logf("%s: address known after %v (%d of %d directories)", when, time.Since(began).Round(time.Second), got.Uploaded, got.Asked)
		node.Close()
	}
}

// startGreeter runs a node that knows itself by what it says to callers.
func startGreeter(t *testing.T, at *tortest.Node, dir string) *tor.Tor {
	node := start(t, tor.Config{SOCKS: at.SOCKS, Control: at.Control})
	const greeting = "it is me\n"
	l, err := node.ListenHiddenDir(tor.DirConfig{Dir: dir, Port: 80, Prove: func(ctx context.Context, at netx.Addr) error {
		conn, err := node.DialTor(ctx, at)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		got := make([]byte, len(greeting))
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		if string(got) != greeting {
			return tor.ErrStranger
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, greeting)
			conn.Close()
		}
	}()
	return node
}

func freePortText(t *testing.T) string {
	t.Helper()
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}
