package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/node/config"
)

const torDir = "/var/lib/tor/my_service"

// torWithDirs is a machine's tor, at unix sockets of the real machine, and
// lines for [tor] that name them.
func torWithDirs(t *testing.T, torrc ...string) (mock *torcontrolmock.Tor, id, lines string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "nt") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socks, control := filepath.Join(dir, "socks"), filepath.Join(dir, "control")
	disk := &torcontrolmock.Disk{Parents: []string{"/var/lib/tor"}}
	mock, err = torcontrolmock.Start(torcontrolmock.Config{
		Host:    netx.Loopback{},
		SOCKS:   []netx.Addr{{Kind: netx.Unix, Host: socks}},
		Control: []netx.Addr{{Kind: netx.Unix, Host: control}},
		Disk:    disk, Torrc: torrc, UID: -1, UploadTime: time.Millisecond,
		Conf: map[string]string{"DataDirectory": "/var/lib/tor", "Sandbox": "0", "HiddenServiceNonAnonymousMode": "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mock.Stop)
	return mock, disk.ID(torDir), "[tor]\nsocks.port = unix:" + socks + "\ncontrol.port = unix:" + control + "\n"
}

// storageWith makes the directory of a storage server with this tahoe.cfg.
func storageWith(t *testing.T, cfg string) string {
	t.Helper()
	dir := create(t, storageNode("ann"))
	os.Remove(filepath.Join(dir, filepath.FromSlash(config.EntryFile)))
	if err := os.WriteFile(filepath.Join(dir, "tahoe.cfg"), []byte(cfg+"\n[storage]\nenabled = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// awaitEntry waits until others are told of an address.
func awaitEntry(t *testing.T, n *Node, address string) config.Server {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		_, changed := n.tor.Watch()
		text, _ := os.ReadFile(filepath.Join(n.cfg.Dir, filepath.FromSlash(config.EntryFile)))
		if servers, _, err := config.ParseServers(text); err == nil && len(servers) == 1 && strings.Contains(string(text), address) {
			return servers[0]
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // the file follows the change
		case <-late:
			t.Fatalf("%s is not announced; ladder: %+v; entry:\n%s", address, n.Ladder(), text)
		}
	}
}

func places(s config.Server) (hints, nurls []string) {
	for _, h := range s.FURL.Hints {
		hints = append(hints, h.String())
	}
	for _, u := range s.AllNURLs() {
		scheme := "pb"
		if u.Tor {
			scheme = "pb+tor"
		}
		nurls = append(nurls, fmt.Sprintf("%s %s:%d", scheme, u.Host, u.Port))
	}
	return hints, nurls
}

// A server is at public addresses and in a folder of tor's at once: both are
// listened at and announced, the onion as soon as tor shows its address, and at
// the next start from the beginning. The swissnum stays.
func TestClearAndOnion(t *testing.T) {
	leakcheck.Check(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	mock, id, lines := torWithDirs(t)
	dir := storageWith(t, fmt.Sprintf("[node]\ntub.port = tcp:%d\ntub.location = \"AUTODETECT,tcp:127.0.0.1:%d,onion:80:hiddenServiceDir=%s\"\n%s", port, port, torDir, lines))
	before := readFile(t, dir, "private/storage.furl")
	n := start(t, dir, Options{})
	server := awaitEntry(t, n, id)
	hints, nurls := places(server)
	want := []string{fmt.Sprintf("tcp:127.0.0.1:%d", port), "tor:" + id + ".onion:80"}
	if len(hints) < 2 || !slices.Equal(hints[len(hints)-2:], want) {
		t.Errorf("hints %q, want to end in %q", hints, want)
	}
	if last := fmt.Sprintf("pb+tor %s.onion:80", id); !slices.Contains(nurls, last) || !slices.Contains(nurls, fmt.Sprintf("pb 127.0.0.1:%d", port)) {
		t.Errorf("NURLs %q lack %q or the clear one", nurls, last)
	}
	now := readFile(t, dir, "private/storage.furl")
	if swiss := before[strings.LastIndexByte(before, '/'):]; !strings.HasSuffix(now, swiss) || now == before || now != server.FURL.Reveal() {
		t.Error("storage.furl is not rewritten, or has another swissnum")
	}
	// Clients get in by both doors.
	for _, a := range []netx.Addr{{Kind: netx.TCP, Host: "127.0.0.1", Port: port}, {Kind: netx.Tor, Host: id + ".onion", Port: 80}} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if a.Kind == netx.Tor {
			for protocol, prove := range map[string]proof{
				"HTTP":     n.gbsProof(furl.NURL{SPKI: n.cert.SPKI(), Swissnum: server.FURL.Swissnum}),
				"Foolscap": n.tubProof(server.FURL),
			} {
				if err := prove(ctx, a); err != nil {
					t.Errorf("by the onion, %s: %v", protocol, err)
				}
			}
		} else if c, err := n.network.Dial(ctx, a); err != nil {
			t.Errorf("by the port: %v", err)
		} else {
			c.Close()
		}
		cancel()
	}
	n.Close()
	mock.Stop()

	// Without tor, the address is known.
	n = start(t, dir, Options{})
	if again, _ := places(awaitEntry(t, n, id)); !slices.Equal(again, hints) {
		t.Errorf("after a restart hints are %q, before %q", again, hints)
	}
	if after := readFile(t, dir, "private/storage.furl"); after != now {
		t.Error("storage.furl has changed")
	}
}

// The other ways to an onion service, and what others are told of each.
func TestOnionLocations(t *testing.T) {
	const address = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
	for _, tt := range []struct {
		name, cfg string
		torrc     []string
		want      string // "": the one that tor serves
		target    string // "": any
	}{
		{name: "in torrc to tub.port", cfg: "tub.port = $PORT\ntub.location = onion:80:hiddenServiceDir=$DIR",
			torrc: []string{"HiddenServiceDir=$DIR", "HiddenServicePort=80 127.0.0.1:$PORT"}, target: "127.0.0.1:$PORT"},
		{name: "in torrc", cfg: "tub.location = onion:80:hiddenServiceDir=$DIR",
			torrc: []string{"HiddenServiceDir=$DIR", "HiddenServicePort=80 127.0.0.1:$PORT"}, target: "127.0.0.1:$PORT"},
		{name: "tor's folder, said of tub.port", cfg: "tub.port = onion:80:hiddenServiceDir=" + torDir},
		{name: "a key of the node's own", cfg: "tub.location = onion:80"},
		{name: "a key in a file, to tub.port", cfg: "tub.port = $PORT\ntub.location = onion:80:privateKeyFile=private/k:localPort=$PORT", target: "127.0.0.1:$PORT"},
		{name: "set up by the operator", cfg: "tub.port = $PORT\ntub.location = " + address + ":80", want: address},
		{name: "set up by the operator, without tub.port", cfg: "tub.location = tor:" + address + ":80", want: address},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leakcheck.Check(t)
			port, err := freePort()
			if err != nil {
				t.Fatal(err)
			}
			own := t.TempDir()
			fill := strings.NewReplacer("$PORT", fmt.Sprint(port), "$DIR", own).Replace
			var torrc []string
			for _, l := range tt.torrc {
				torrc = append(torrc, fill(l))
			}
			mock, _, lines := torWithDirs(t, torrc...)
			for _, s := range mock.Services() { // tor has it, and lets itself be looked at
				if err := os.WriteFile(filepath.Join(own, "hostname"), []byte(s.ID+".onion\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dir := storageWith(t, "[node]\ntor_only.enabled = true\n"+fill(tt.cfg)+"\n"+lines)
			n := start(t, dir, Options{})
			want := tt.want
			for l, changed := n.tor.Watch(); want == ""; l, changed = n.tor.Watch() {
				if len(l.Services) == 1 && l.Services[0].Address != "" && l.Services[0].Added {
					want = l.Services[0].Address.String()
				} else {
					<-changed
				}
			}
			hints, nurls := places(awaitEntry(t, n, want))
			if d := cmp.Diff([]string{"tor:" + want + ":80"}, hints); d != "" {
				t.Errorf("hints: -want +got\n%s", d)
			}
			if d := cmp.Diff([]string{"pb+tor " + want + ":80"}, nurls); d != "" {
				t.Errorf("NURLs: -want +got\n%s", d)
			}
			for _, s := range mock.Services() {
				if target := s.Ports[80] + s.Target; tt.target != "" && target != fill(tt.target) || s.ID+".onion" != want {
					t.Errorf("tor delivers %s to %s, want %s to %s", s.ID, target, want, fill(tt.target))
				}
			}
			if tt.want != "" { // somebody listens where the operator's tor delivers
				text := readFile(t, dir, "tahoe.cfg")
				if !strings.Contains(text, "tub.port") {
					if kept := readFile(t, dir, config.PortFile); !strings.HasSuffix(kept, ":interface=127.0.0.1") {
						t.Errorf("%s: %s", config.PortFile, kept)
					}
				}
			}
		})
	}
}

// A refusal reaches the ladder, and is no reason to stop.
func TestOnionRefused(t *testing.T) {
	leakcheck.Check(t)
	_, _, lines := torWithDirs(t)
	dir := storageWith(t, "[node]\ntor_only.enabled = true\ntub.location = onion:80:hiddenServiceDir=/srv/x\n"+lines)
	n := start(t, dir, Options{})
	for _, changed := n.tor.Watch(); ; _, changed = n.tor.Watch() {
		i := slices.IndexFunc(n.Ladder(), func(r Rung) bool { return r.Name == "published" && r.State == tor.Failed })
		if i >= 0 {
			if text := n.Ladder()[i].Text; !strings.Contains(text, "HiddenServiceDir /srv/x") {
				t.Errorf("the ladder says %q", text)
			}
			break
		}
		<-changed
	}
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(config.EntryFile))); !os.IsNotExist(err) {
		t.Errorf("an entry without an address: %v", err)
	}
}

// The kernel takes the network away only when the node listens where tor
// delivers, which it hears from tor.
func TestLockDownWaitsForDoors(t *testing.T) {
	leakcheck.Check(t)
	_, _, lines := torWithDirs(t)
	dir := storageWith(t, "[node]\ntor_only.enabled = true\ntub.location = onion:80:hiddenServiceDir="+torDir+"\n"+lines)
	n := start(t, dir, Options{})
	if _, ok := n.torPlaces(t.Context()); !ok || n.tor.Status().Services[0].Target == "" {
		t.Errorf("not waited for: %+v", n.tor.Status().Services)
	}
}
