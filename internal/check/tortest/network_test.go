//go:build unix

package tortest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/control"
)

// TestPrivateNetwork carries bytes through a real Tor: a server with a tor that
// it launched, a client with a tor that was running, circuits by label, and
// either tor killed in the middle of a transfer.
func TestPrivateNetwork(t *testing.T) {
	began := time.Now()
	lap := func(what string) { t.Logf("%s after %v", what, time.Since(began).Round(10*time.Millisecond)) }
	n := tortest.Shared(t)
	lap("network ready")
	defer func() {
		if t.Failed() {
			t.Log(n.Logs())
		}
	}()
	running, err := n.Client("client", tortest.ClientConfig{TCP: true})
	if err != nil {
		t.Fatal(err)
	}
	serverDir := shortDir(t)
	server := start(t, tor.Config{Launch: true, Dir: serverDir, ExtraTorrc: n.Lines()})
	client := start(t, tor.Config{SOCKS: running.SOCKS, Control: running.Control})
	key := newKey(t)
	ln, err := server.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 3457, ProofOfWork: true})
	if err != nil {
		t.Fatal(err)
	}
	go echo(ln)
	uploaded := func(l tor.Ladder) bool { return len(l.Services) == 1 && l.Services[0].Uploaded > 0 }
	await(t, server, 60*time.Second, "publication", uploaded)
	lap("server published")
	await(t, client, 60*time.Second, "bootstrap", func(l tor.Ladder) bool { return l.Ready() && l.Bootstrap.Known })
	lap("client connected")
	at := netx.Addr{Kind: netx.Tor, Host: key.Address().String(), Port: 3457}

	t.Run("isolation", func(t *testing.T) { checkIsolation(t, running, client, at) })
	t.Run("exit", func(t *testing.T) { checkExit(t, client) })
	t.Run("closed port", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if c, err := client.DialTor(ctx, netx.Addr{Host: at.Host, Port: 1, Isolation: "storage:a"}); err == nil {
			c.Close()
			t.Error("a port that is not served was reached")
		}
	})
	for i := range 2 {
		t.Run(fmt.Sprintf("server's tor killed %d", i+1), func(t *testing.T) {
			before := server.Status()
			midTransfer(t, client, at, func() {
				if err := syscall.Kill(pidOf(t, before, serverDir), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			})
			comesBack(t, server, before, uploaded)
			transfer(t, client, at, 256<<10)
		})
	}
	t.Run("client's tor restarted", func(t *testing.T) {
		before := client.Status()
		midTransfer(t, client, at, func() {
			if err := running.Restart(); err != nil {
				t.Fatal(err)
			}
		})
		comesBack(t, client, before, connected)
		transfer(t, client, at, 256<<10)
	})
	t.Run("reached from outside", func(t *testing.T) {
		l := await(t, server, 60*time.Second, "self-dial", func(l tor.Ladder) bool { return !l.Services[0].Reached.IsZero() })
		for _, r := range l.Rungs() {
			if r.State != tor.OK {
				t.Errorf("rung %+v", r)
			}
		}
	})
}

// comesBack waits for a new control connection, and for the state that ready
// means.
func comesBack(t *testing.T, tr *tor.Tor, before tor.Ladder, ready func(tor.Ladder) bool) {
	t.Helper()
	broken := time.Now()
	await(t, tr, 10*time.Second, "control connection", func(l tor.Ladder) bool { return l.Connects > before.Connects && connected(l) })
	t.Logf("control connection %v after the transfer broke", time.Since(broken).Round(10*time.Millisecond))
	await(t, tr, 60*time.Second, "publication", ready)
	t.Logf("ready again after %v", time.Since(broken).Round(10*time.Millisecond))
}

// transfer sends size bytes there and back, trying again with fresh circuits.
func transfer(t *testing.T, client *tor.Tor, at netx.Addr, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	began := time.Now()
	var err error
	for try := 0; ctx.Err() == nil; try++ {
		at.Isolation = fmt.Sprintf("storage:%d", try)
		if err = roundTrip(ctx, client, at, size, nil); err == nil {
			t.Logf("%d KiB there and back in %v, with %d failures", size>>10, time.Since(began).Round(10*time.Millisecond), try)
			return
		}
	}
	t.Fatalf("nothing carried: %v", err)
}

// midTransfer begins a transfer far larger than can be done, and breaks it.
func midTransfer(t *testing.T, client *tor.Tor, at netx.Addr, breakIt func()) {
	t.Helper()
	at.Isolation = "storage:mid"
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := roundTrip(ctx, client, at, 1<<30, breakIt)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("the broken transfer ended with %v", err)
	}
}

// roundTrip compares what comes back with what was sent; half is called after
// the first 64 KiB.
func roundTrip(ctx context.Context, client *tor.Tor, at netx.Addr, size int, half func()) error {
	c, err := tortest.Dial(ctx, client, at)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	sent, got := sha256.New(), sha256.New()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.Close()
	written := make(chan struct{})
	wg.Go(func() {
		defer close(written)
		io.Copy(io.MultiWriter(c, sent), io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(size)))
	})
	const some = 64 << 10
	if _, err := io.CopyN(got, c, int64(min(size, some))); err != nil {
		return err
	}
	if half != nil {
		half()
	}
	if _, err := io.CopyN(got, c, int64(size-min(size, some))); err != nil {
		return err
	}
	<-written
	if string(sent.Sum(nil)) != string(got.Sum(nil)) {
		return fmt.Errorf("%d bytes came back changed", size)
	}
	return nil
}

// checkIsolation has the client's tor tell on which circuit each stream is.
func checkIsolation(t *testing.T, running *tortest.Node, client *tor.Tor, at netx.Addr) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var mu sync.Mutex
	circuits := map[string]map[string]bool{} // by SOCKS password
	c, err := running.Dial(ctx, func(e control.Event) {
		// "STREAM id SUCCEEDED circuit target …"
		if e.Name != "STREAM" || len(e.Words) < 3 || e.Words[1] != "SUCCEEDED" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		password := e.Keys["SOCKS_USERNAME"] + "/" + e.Keys["SOCKS_PASSWORD"]
		if circuits[password] == nil {
			circuits[password] = map[string]bool{}
		}
		circuits[password][e.Words[2]] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetEvents(ctx, "STREAM"); err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for _, label := range []string{"storage:a", "storage:b", "storage:a", "introducer:c", "storage:b"} {
		at.Isolation = label
		var c net.Conn
		for c == nil && ctx.Err() == nil { // the same label each time: the circuit may move on, but not to another's
			once, cancel := context.WithTimeout(ctx, 12*time.Second)
			c, err = client.DialTor(once, at)
			cancel()
		}
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := c.GetInfo(ctx, "version"); err != nil { // events before it have come
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	owner := map[string]string{}
	for password, ids := range circuits {
		for id := range ids {
			if other, taken := owner[id]; taken {
				t.Errorf("circuit %s carries %s and %s", id, other, password)
			}
			owner[id] = password
		}
	}
	if len(circuits) < 3 {
		t.Errorf("streams of %d labels were seen, want 3 at least: %v", len(circuits), circuits)
	}
	t.Logf("circuits by label: %v", circuits)
}

// checkExit reaches a listener on loopback through an exit.
func checkExit(t *testing.T, client *tor.Tor) {
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	transfer(t, client, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}, 256<<10)
}
