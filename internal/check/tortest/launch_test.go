//go:build unix

package tortest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
)

func newKey(t *testing.T) onion.Key {
	t.Helper()
	k, err := onion.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLaunch(t *testing.T) {
	tortest.Need(t)
	for _, tt := range []struct {
		name, below string
		inDir       bool
	}{
		{"short path", "private", true},
		{"path with a # and a quote", `pri#va'te`, false},
		{"path with a space", "my private folder", false},
		{"path too long for a socket", strings.Repeat("long/", 20), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(shortDir(t), tt.below)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tr := start(t, tor.Config{Launch: true, Dir: dir, ExtraTorrc: deadEnd})
			ln, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: newKey(t), Port: 80, ProofOfWork: true, MaxStreams: 100})
			if err != nil {
				t.Fatal(err)
			}
			go echo(ln)
			l := await(t, tr, 20*time.Second, "ADD_ONION", added)
			pid := pidOf(t, l, dir)
			target, isUnix := strings.CutPrefix(l.Services[0].Target, "unix:")
			if l.SOCKS.Kind != netx.Unix || l.Control.Kind != netx.Unix || !isUnix || !l.Launched {
				t.Errorf("not everything is on unix sockets: %+v", l)
			}
			if in := strings.HasPrefix(l.SOCKS.Host, dir) && strings.HasPrefix(target, dir); in != tt.inDir {
				t.Errorf("sockets at %s and %s, below %s = %v, want %v", l.SOCKS.Host, target, dir, in, tt.inDir)
			}
			if fi, err := os.Stat(filepath.Dir(l.SOCKS.Host)); err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("folder of the sockets: %v, %v", fi.Mode(), err)
			}
			tr.Close()
			awaitDeath(t, pid, 5*time.Second)
			if _, err := os.Stat(filepath.Dir(l.SOCKS.Host)); tt.inDir != (err == nil) {
				t.Errorf("folder of the sockets after Close: %v", err)
			}
		})
	}
}

// TestLaunchedTorDies three times, and comes back with the service.
func TestLaunchedTorDies(t *testing.T) {
	tortest.Need(t)
	t.Parallel()
	dir := shortDir(t)
	tr := start(t, tor.Config{Launch: true, Dir: dir, ExtraTorrc: deadEnd})
	if _, err := tr.ListenOnion(t.Context(), tor.OnionConfig{Key: newKey(t), Port: 80}); err != nil {
		t.Fatal(err)
	}
	l := await(t, tr, 20*time.Second, "ADD_ONION", added)
	for range 3 {
		pid := pidOf(t, l, dir)
		died := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l = await(t, tr, 20*time.Second, "ADD_ONION", func(now tor.Ladder) bool { return now.Connects > l.Connects && added(now) })
		t.Logf("added again %v after tor was killed", time.Since(died).Round(time.Millisecond))
		if now := pidOf(t, l, dir); now == pid {
			t.Errorf("it is still process %d", pid)
		}
	}
}

func TestLaunchFailures(t *testing.T) {
	tortest.Need(t)
	for _, tt := range []struct {
		name string
		cfg  tor.Config
		want []string
	}{
		{"no program", tor.Config{Executable: "/nonexistent/tor"}, []string{"/nonexistent/tor", "install tor"}},
		{"bad torrc line", tor.Config{ExtraTorrc: []string{"NoSuchOption 1"}}, []string{"has exited", "Unknown option 'NoSuchOption'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Launch, tt.cfg.Dir = true, shortDir(t)
			tr := start(t, tt.cfg)
			_, err := tr.DialTor(t.Context(), netx.Addr{Host: "example.org", Port: 80})
			if _, ok := errors.AsType[*tor.AwayError](err); !ok {
				t.Fatalf("error = %v, want an AwayError", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// TestNoOrphan: a node that is killed takes its tor along.
func TestNoOrphan(t *testing.T) {
	tortest.Need(t)
	t.Parallel()
	dir := shortDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output() // it kills itself once its tor is up
	if err == nil || len(out) == 0 {
		t.Fatalf("the other process: %v, output %q", err, out)
	}
	l := tor.Ladder{Control: netx.Addr{Kind: netx.Unix, Host: strings.TrimSpace(string(out))}}
	limit := time.Now().Add(10 * time.Second)
	for {
		c, err := netx.Loopback{}.Dial(t.Context(), l.Control)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(limit) {
			t.Fatalf("tor %d still runs", pidOf(t, l, dir))
		}
		time.Sleep(20 * time.Millisecond) // there is no event for another's child
	}
}

func launchAndDie(dir string) {
	tr, err := tor.Start(context.Background(), tor.Config{Launch: true, Dir: dir, ExtraTorrc: deadEnd})
	if err != nil {
		panic(err)
	}
	for {
		l, changed := tr.Watch()
		if connected(l) {
			os.Stdout.WriteString(l.Control.Host + "\n")
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		<-changed
	}
}

// TestRunningTor authenticates in each way that a real tor offers.
func TestRunningTor(t *testing.T) {
	tortest.Need(t)
	hashed, err := exec.Command("tor", "--defaults-torrc", "/dev/null", "--hush", "--hash-password", "sesame").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(hashed))
	for _, tt := range []struct {
		name  string
		lines []string
		cfg   tor.Config
	}{
		{"no authentication", []string{"CookieAuthentication 0"}, tor.Config{}},
		{"cookie", []string{"CookieAuthentication 1"}, tor.Config{}},
		{"password", []string{"HashedControlPassword " + lines[len(lines)-1]}, tor.Config{Password: redact.New("sesame")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			runTor(t, dir, append(tt.lines, "SocksPort unix:"+dir+"/socks ExtendedErrors", "SocksPort 127.0.0.1:auto", "ControlPort unix:"+dir+"/control")...)
			tt.cfg.Control = netx.Addr{Kind: netx.Unix, Host: dir + "/control"}
			key := newKey(t)
			one := start(t, tt.cfg)
			ln, err := one.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 80, ProofOfWork: true, MaxStreams: 9})
			if err != nil {
				t.Fatal(err)
			}
			l := await(t, one, 20*time.Second, "ADD_ONION", added)
			if l.SOCKS.Host != dir+"/socks" || !strings.HasPrefix(l.Services[0].Target, "127.0.0.1:") {
				t.Errorf("found %v; tor delivers to %s", l.SOCKS, l.Services[0].Target)
			}
			if !l.Bootstrap.Known || l.Bootstrap.Percent == 100 {
				t.Errorf("bootstrap = %+v", l.Bootstrap)
			}
			// Another node with the same key waits until this one has gone.
			two := start(t, tt.cfg)
			if _, err := two.ListenOnion(t.Context(), tor.OnionConfig{Key: key, Port: 80}); err != nil {
				t.Fatal(err)
			}
			await(t, two, 20*time.Second, "tor", connected)
			if added(two.Status()) {
				t.Error("two nodes serve one address")
			}
			ln.Close()
			await(t, two, 20*time.Second, "ADD_ONION", added)
		})
	}
}

// TestRealProxyErrors are replies that need no network.
func TestRealProxyErrors(t *testing.T) {
	tortest.Need(t)
	t.Parallel()
	dir := shortDir(t)
	runTor(t, dir, "SocksPort unix:"+dir+"/socks ExtendedErrors", "SocksTimeout 3", "ControlPort unix:"+dir+"/control")
	tr := start(t, tor.Config{SOCKS: netx.Addr{Kind: netx.Unix, Host: dir + "/socks"}, Control: netx.Addr{Kind: netx.Unix, Host: dir + "/control"}})
	await(t, tr, 20*time.Second, "tor", connected)
	_, err := tr.DialTor(t.Context(), netx.Addr{Host: "example.org", Port: 80})
	if _, ok := errors.AsType[*tor.AwayError](err); !ok || !strings.Contains(err.Error(), "Tor is connecting") {
		t.Errorf("before tor is connected: %v, want that it is connecting", err)
	}
	refused, ok := errors.AsType[*tor.SOCKSError](err)
	if !ok || refused.Code != 6 {
		t.Errorf("before tor is connected: %v, want SOCKS reply 06 inside", err)
	}
}
