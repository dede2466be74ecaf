package tor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

const (
	// launchTime is how long a new tor may take to open its control port.
	launchTime = 30 * time.Second
	// stubborn is how many failed looks at a running tor of ours it takes to
	// kill it.
	stubborn = 3
)

// runDir is where a launched tor keeps its files.
type runDir struct {
	data    string // state that lives on: guards, consensus
	sockets string // short enough for unix sockets
	temp    bool   // sockets is ours alone and goes with us
	unix    bool   // tor has unix sockets on this system
}

// longestSocket is the longest file name below runDir.sockets: see onion.
const longestSocket = len("/onion-0123456789abcdef-65535")

// maxSocketPath is what fits into a socket address, less the final NUL.
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// makeRunDir makes the folders. The state folder is the one the reference
// program uses, so that a node that moves keeps its entry guards.
func makeRunDir(cfg Config) (*runDir, error) {
	r := &runDir{data: filepath.Join(cfg.Dir, "tor-statedir"), sockets: filepath.Join(cfg.Dir, "tor-run"), unix: runtime.GOOS != "windows"}
	if r.unix && (len(r.sockets)+longestSocket > maxSocketPath() || strings.ContainsAny(r.sockets, unspeakable)) {
		short, err := shortDir(cfg.Env.RuntimeDir)
		if err != nil {
			return nil, fmt.Errorf("making a folder for tor's sockets (the path %s is too long, or holds characters tor cannot take): %w", r.sockets, err)
		}
		r.sockets, r.temp = short, true
	}
	for _, dir := range []string{r.data, r.sockets} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making a folder for tor: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil { // tor insists
			return nil, fmt.Errorf("closing tor's folder to others: %w", err)
		}
	}
	return r, nil
}

// unspeakable are the characters of a socket's path that ADD_ONION, or torrc
// after "unix:", has no spelling for.
const unspeakable = " \t\r\n\"\\,#'"

// shortDir makes a folder of our own with a short path.
func shortDir(runtimeDir string) (string, error) {
	err := errors.New("no folder is short enough")
	for _, base := range []string{runtimeDir, "/tmp"} {
		if !filepath.IsAbs(base) || len(base)+len("/tahoe-tor-1234567890")+longestSocket > maxSocketPath() || strings.ContainsAny(base, unspeakable) {
			continue
		}
		var dir string
		if dir, err = os.MkdirTemp(base, "tahoe-tor-"); err == nil {
			return dir, nil
		}
	}
	return "", err
}

func (r *runDir) remove() {
	if r.temp {
		os.RemoveAll(r.sockets)
	}
}

// onion is the socket of an onion service.
func (r *runDir) onion(addr onion.Address, port int) string {
	return filepath.Join(r.sockets, "onion-"+string(addr[:16])+"-"+strconv.Itoa(port))
}

func (r *runDir) control() string     { return filepath.Join(r.sockets, "control") }
func (r *runDir) socks() string       { return filepath.Join(r.sockets, "socks") }
func (r *runDir) controlPort() string { return filepath.Join(r.sockets, "control.port") }

// torrc is the whole configuration: tor reads no other file.
func (r *runDir) torrc(extra []string) string {
	lines := []string{
		"DataDirectory " + control.Quote(r.data),
		"CookieAuthentication 1",
		// Without this a crash between launch and TAKEOWNERSHIP would leave an
		// orphan.
		"__OwningControllerProcess " + strconv.Itoa(os.Getpid()),
		"RunAsDaemon 0",
		"Log notice stdout",
		"SafeLogging 1",
		"ShutdownWaitLength 0",
	}
	if r.unix {
		lines = append(lines,
			"SocksPort unix:"+control.Quote(r.socks())+" IsolateSOCKSAuth ExtendedErrors",
			"ControlPort unix:"+control.Quote(r.control()))
	} else {
		lines = append(lines,
			"SocksPort 127.0.0.1:auto IsolateSOCKSAuth ExtendedErrors",
			"ControlPort 127.0.0.1:auto",
			"ControlPortWriteToFile "+control.Quote(r.controlPort()))
	}
	return strings.Join(append(lines, extra...), "\n") + "\n"
}

// launched makes sure that our tor runs and returns its control port.
func (t *Tor) launched(ctx context.Context) (netx.Addr, error) {
	if t.proc != nil && t.proc.looks >= stubborn {
		t.log.Warn("the tor that we launched does not answer; starting another")
		t.proc.looks = 0
		if !t.proc.again() {
			t.proc.stop()
		}
	}
	if t.proc == nil || t.proc.exited() {
		p, err := t.launch()
		if err != nil {
			return netx.Addr{}, err
		}
		t.proc = p
	}
	t.proc.looks++
	ctx, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	for {
		if a, ok := t.controlOfLaunched(ctx); ok {
			return a, nil
		}
		select {
		case <-t.proc.done:
			return netx.Addr{}, t.proc.obituary()
		case <-ctx.Done():
			return netx.Addr{}, fmt.Errorf("the tor that we launched did not open its control port: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// launch starts a process.
func (t *Tor) launch() (*process, error) {
	r := t.runDir
	for _, old := range []string{r.control(), r.socks(), r.controlPort()} {
		os.Remove(old) // of a tor that is dead: what appears is the new one's
	}
	// Neither file is tor's default one, which it would read as well.
	torrc, defaults := filepath.Join(r.sockets, "torrc"), filepath.Join(r.sockets, "torrc-defaults")
	for file, text := range map[string]string{torrc: r.torrc(t.cfg.ExtraTorrc), defaults: ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("writing tor's configuration: %w", err)
		}
	}
	executable := t.cfg.Executable
	if executable == "" {
		executable = "tor"
	}
	return startProcess(t.cfg.Launcher, executable, []string{"--defaults-torrc", defaults, "-f", torrc}, r.data, t.heard)
}

// controlOfLaunched reports whether the control port is open, and where.
func (t *Tor) controlOfLaunched(ctx context.Context) (netx.Addr, bool) {
	a := netx.Addr{Kind: netx.Unix, Host: t.runDir.control()}
	if !t.runDir.unix {
		text, err := os.ReadFile(t.runDir.controlPort())
		if err != nil {
			return a, false
		}
		port, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "PORT=")
		ap, err := netip.ParseAddrPort(port)
		if !ok || err != nil {
			return a, false
		}
		a = netx.Addr{Kind: netx.TCP, Host: ap.Addr().String(), Port: int(ap.Port())}
	}
	c, err := t.dialLocal(ctx, a)
	if err != nil {
		return a, false
	}
	c.Close()
	return a, true
}

// heard takes a line of our tor's log.
func (t *Tor) heard(severity, text string) {
	if severity != "warn" && severity != "err" {
		t.log.Debug("tor says", "text", text)
		return
	}
	t.log.Warn("tor says", "text", text)
	t.board.torSays(text)
}
