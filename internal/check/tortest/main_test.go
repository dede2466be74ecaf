//go:build unix

package tortest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
)

// orphanEnv makes this binary launch a tor in the folder it names, and die.
const orphanEnv = "TORTEST_ORPHAN_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanEnv); dir != "" {
		launchAndDie(dir)
	}
	tortest.Main(m)
}

// deadEnd are the torrc lines of a tor whose whole network is one authority at
// a port where nobody listens: everything works but connections.
var deadEnd = []string{"DirAuthority nobody orport=1 no-v2 v3ident=FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 127.0.0.1:1 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"}

// shortDir is a temporary folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
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

// await waits for a ladder that f likes.
func await(t *testing.T, tr *tor.Tor, within time.Duration, what string, f func(tor.Ladder) bool) tor.Ladder {
	t.Helper()
	limit := time.After(within)
	for {
		l, changed := tr.Watch()
		if f(l) {
			return l
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited %v in vain for %s; ladder: %+v", within, what, l.Rungs())
		}
	}
}

func connected(l tor.Ladder) bool { return l.Control != netx.Addr{} }

func added(l tor.Ladder) bool { return connected(l) && len(l.Services) == 1 && l.Services[0].Added }

// pidOf asks the tor that was launched in dir for its process.
func pidOf(t *testing.T, l tor.Ladder, dir string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := tortest.DialControl(ctx, l.Control, filepath.Join(dir, "tor-statedir", "control_auth_cookie"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.GetInfo(ctx, "process/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(info["process/pid"])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// awaitDeath waits until a process is gone or a zombie.
func awaitDeath(t *testing.T, pid int, within time.Duration) {
	t.Helper()
	for limit := time.Now().Add(within); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("process %d still runs after %v", pid, within)
		}
		time.Sleep(20 * time.Millisecond) // there is no event for another's child
	}
}

// runTor runs a tor of the test's own with further torrc lines; it is the
// machine's tor to whoever finds it. stop kills it.
func runTor(t *testing.T, dir string, lines ...string) (stop func()) {
	t.Helper()
	lines = append(lines, deadEnd...)
	lines = append(lines, "DataDirectory "+dir, "RunAsDaemon 0", "__OwningControllerProcess "+strconv.Itoa(os.Getpid()), "Log notice file "+dir+"/log")
	rc, empty := filepath.Join(dir, "torrc"), filepath.Join(dir, "empty")
	for file, text := range map[string]string{rc: strings.Join(lines, "\n") + "\n", empty: ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("tor", "--defaults-torrc", empty, "-f", rc, "--quiet")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			log, _ := os.ReadFile(dir + "/log")
			t.Logf("tor's log:\n%s", log)
		}
	})
	return stop
}

// echo answers every connection with what it says.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}
