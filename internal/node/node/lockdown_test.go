package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/lockdown"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/node/config"
)

const testOnion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

// hiddenClient makes a client that hides; lines go below [tor].
func hiddenClient(t *testing.T, lines ...string) string {
	t.Helper()
	dir := create(t, func(o *config.CreateOptions) {
		clientNode(1, 1, 1)(o)
		o.HideIP = true
	})
	text := readFile(t, dir, "tahoe.cfg") + "\n[tor]\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "tahoe.cfg"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mockTor listens at unix sockets, and returns the lines that name them.
func mockTor(t *testing.T) (lines []string, m *torcontrolmock.Tor) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "nt") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socks, control := filepath.Join(dir, "socks"), filepath.Join(dir, "control")
	m, err = torcontrolmock.Start(torcontrolmock.Config{Host: netx.Loopback{},
		SOCKS: []netx.Addr{{Kind: netx.Unix, Host: socks}}, Control: []netx.Addr{{Kind: netx.Unix, Host: control}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return []string{"socks.port = unix:" + socks, "control.port = unix:" + control}, m
}

// What the kernel says becomes a rung; only what leaves it unclear how far the
// lock-down holds ends the node. The kernel is not asked here: it would lock
// down all tests.
func TestLockDown(t *testing.T) {
	leakcheck.Check(t)
	lines, _ := mockTor(t)
	held := lockdown.Report{Summary: "locked down", Strict: true, Holds: []string{"sockets"}, Open: []string{"files"}}
	for _, tt := range []struct {
		name  string
		err   error
		state tor.State
		text  string
		fails bool
	}{
		{"holds", nil, tor.OK, "locked down", false},
		{"not Linux", lockdown.ErrUnsupported, tor.Unknown, "needs Linux", false},
		{"old kernel", &lockdown.MissingError{Missing: []string{"it has no Landlock"}}, tor.Failed, "it has no Landlock", false},
		{"in part", errors.New("half of it"), "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := newLines()
			levels := make(chan lockdown.Level, 1)
			done := make(chan error, 1)
			ctx, halt := context.WithCancel(t.Context())
			defer halt()
			dir := hiddenClient(t, lines...)
			go func() {
				done <- Run(ctx, dir, Options{Stdout: out, LockDown: func(l lockdown.Level) (lockdown.Report, error) {
					levels <- l
					if tt.err != nil {
						return lockdown.Report{}, tt.err
					}
					return held, nil
				}})
			}()
			if l := <-levels; !l.Strict() {
				t.Errorf("level %v, and tor's ports are unix sockets", l)
			}
			if tt.fails {
				if err := <-done; !errors.Is(err, tt.err) {
					t.Errorf("the node ended with %v", err)
				}
				return
			}
			if tt.state != tor.Unknown { // of which nothing is said
				out.wait(t, tt.text)
			}
			gw, err := webclient.New(webclient.Config{URL: readFile(t, dir, "node.url")})
			if err != nil {
				t.Fatal(err)
			}
			defer gw.Close()
			for w := (webclient.Welcome{}); ; {
				if w, err = gw.Welcome(t.Context()); err != nil {
					t.Fatal(err)
				}
				r := w.Ladder[len(w.Ladder)-1]
				if r.State == string(tor.Waiting) {
					continue // it was not told yet
				}
				if r.Name != "lockdown" || r.State != string(tt.state) || !strings.Contains(r.Text, tt.text) {
					t.Errorf("rung %+v", r)
				}
				if tt.err == nil && strings.Join(r.Details, "; ") != "holds: sockets; open: files" {
					t.Errorf("details %q", r.Details)
				}
				break
			}
			halt()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// The lock-down waits for what is needed of tor, and for no more than a visitor.
func TestWhenToLockDown(t *testing.T) {
	socks, control := netx.Addr{Kind: netx.Unix, Host: "/socks"}, netx.Addr{Kind: netx.Unix, Host: "/control"}
	service := []tor.ServiceStatus{{}}
	for _, tt := range []struct {
		name    string
		ladder  tor.Ladder
		reach   reach
		places  []netx.Addr // nil: it goes on waiting
		visited []netx.Addr // with somebody at the door
	}{
		{"nothing known", tor.Ladder{}, reach{}, nil, append(tor.UsualPorts(), netx.Addr{})},
		{"a client", tor.Ladder{}, reach{socks: socks}, []netx.Addr{socks, {}}, []netx.Addr{socks, {}}},
		{"a server whose tor is not there", tor.Ladder{Services: service}, reach{control: control, needsControl: true}, nil, append(tor.UsualPorts(), control)},
		{"a server by its configuration", tor.Ladder{Services: service}, reach{socks: socks, control: control, needsControl: true}, []netx.Addr{socks, control}, []netx.Addr{socks, control}},
		{"a tor without SOCKS", tor.Ladder{Services: service, Control: control}, reach{control: control, needsControl: true}, nil, []netx.Addr{{}, control}},
		{"one that has not shown where it delivers", tor.Ladder{Services: []tor.ServiceStatus{{Dir: "/d"}}, Control: control}, reach{socks: socks, control: control, needsControl: true}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, visitor := range []bool{false, true} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					want, visited := tt.places, make(chan struct{}, 1)
					if visitor {
						want = tt.visited
						visited <- struct{}{}
					}
					places, ok := awaitPlaces(ctx, visited, func() (tor.Ladder, reach, <-chan struct{}) {
						again := make(chan struct{})
						time.AfterFunc(time.Minute, func() { close(again) })
						return tt.ladder, tt.reach, again
					})
					if !slices.Equal(places, want) || ok != (want != nil) {
						t.Errorf("%v, %t; want %v", places, ok, want)
					}
				}
			})
		})
	}
}

// Nobody is let in before the lock-down, also where tor's SOCKS port is never
// found; and a visitor brings it about.
func TestNobodyBeforeLockDown(t *testing.T) {
	leakcheck.Check(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	// Where tor is, is not said; and if the machine has one, that it is found is
	// no matter here.
	dir := storageWith(t, fmt.Sprintf("[node]\nreveal-IP-address = false\ntub.port = tcp:%d:interface=127.0.0.1\ntub.location = tor:%s:80\n[connections]\ntcp = tor\n", port, testOnion))
	var locked atomic.Bool
	out, done := newLines(), make(chan error, 1)
	ctx, halt := context.WithCancel(t.Context())
	defer halt()
	go func() {
		done <- Run(ctx, dir, Options{Stdout: out, LockDown: func(lockdown.Level) (lockdown.Report, error) {
			locked.Store(true)
			return lockdown.Report{Summary: "locked down"}, nil
		}})
	}()
	out.wait(t, "client running")
	f, err := furl.ParseFURL(readFile(t, dir, config.StorageFURLFile))
	if err != nil {
		t.Fatal(err)
	}
	f.Hints = []furl.Hint{{Kind: furl.TCP, Host: "127.0.0.1", Port: port}}
	tub, err := contact.NewTub(netx.Loopback{}, foolscap.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tub.Close(t.Context())
	if _, err := tub.Dial(t.Context(), f, foolscap.DialOptions{}); err != nil || !locked.Load() {
		t.Errorf("let in: %v, locked down: %t", err, locked.Load())
	}
	halt()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A node that hides nothing, or is told not to be, is not locked down.
func TestNotLockedDown(t *testing.T) {
	lines, _ := mockTor(t)
	refused := hiddenClient(t, lines...)
	edit(t, refused, "reveal-IP-address", "lockdown.enabled = false\nreveal-IP-address")
	open := create(t, clientNode(1, 1, 1))
	never := func(lockdown.Level) (lockdown.Report, error) {
		t.Error("locked down")
		return lockdown.Report{}, nil
	}
	for dir, rung := range map[string]string{refused: "not locked down by the kernel: lockdown.enabled = false", open: ""} {
		n := start(t, dir, Options{LockDown: never})
		if n.beginLockDown() {
			t.Error("it begins")
		}
		if r, _, _ := n.lock.look(); r.Text != rung {
			t.Errorf("rung %+v, want %q", r, rung)
		}
	}
}

func TestFigures(t *testing.T) {
	lines, _ := mockTor(t)
	n := start(t, hiddenClient(t, lines...), Options{})
	n.lock.set(tor.OK, "locked", lockdown.Report{})
	for l, changed := n.tor.Watch(); !l.Ready() || l.Control == (netx.Addr{}) || !l.Bootstrap.Known; l, changed = n.tor.Watch() {
		<-changed
	}
	counters, gauges := n.figures()
	for name, want := range map[string]float64{"tor.found": 1, "tor.controlled": 1, "tor.ready": 1, "tor.bootstrapped_percent": 100,
		"lockdown.holds": 1, "grid.servers_known": 0, "grid.servers_connected": 0, "grid.ready": 0, "tor.clock_skew_seconds": 0} {
		if got, ok := gauges[name]; !ok || got != want {
			t.Errorf("%s = %v, %v; want %v", name, got, ok, want)
		}
	}
	if counters["tor.control_connections"] != 1 {
		t.Errorf("counters %v", counters)
	}
}
