package tor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
)

// Config says which tor to use. The zero Config finds one that runs on this
// machine.
type Config struct {
	// Local reaches this machine: SOCKS and control ports, onion targets.
	// nil means netx.Loopback.
	Local netx.Network

	// SOCKS and Control are where tor listens; a zero Addr means to look for
	// it. Hosts are IP literals: a loopback address, or for a tor on another
	// machine (Whonix) its address. Names are refused.
	SOCKS, Control netx.Addr
	// Password and CookieFile authenticate at the control port. A cookie that
	// tor names and this process can read needs no setting.
	Password   redact.Secret
	CookieFile string

	// Launch runs a tor of our own, with its state and sockets under Dir.
	Launch     bool
	Executable string   // empty: "tor" on the PATH
	ExtraTorrc []string // lines added to its configuration
	// Launcher is a program and its first arguments that runs tor for us: it
	// gets tor's command line behind them, runs it, and again when it ends or a
	// line comes on its standard input, until that ends; the line "keep" only
	// says that tor has come up. For a process that will not be able to launch a
	// useful tor later (lockdown.Launcher). Empty: tor is run directly.
	Launcher []string
	// Dir is the node's private folder (0700), absolute. Needed by Launch.
	Dir string

	// SOCKSUser begins the user names given to the SOCKS port, and
	// SOCKSPassword goes into the passwords; both may be empty. Whoever else
	// uses this tor with them, or with none, shares no circuit with us.
	SOCKSUser     string
	SOCKSPassword redact.Secret

	// Env is what the user's environment says about Tor.
	Env Environment
	Log *slog.Logger // nil: none
}

// Environment holds the variables by which Tor Browser, Tails and Whonix tell
// programs where tor is. This package reads no environment itself.
type Environment struct {
	SOCKS, Control netx.Addr
	Password       redact.Secret
	CookieFile     string
	SkipLaunch     bool   // TOR_SKIP_LAUNCH: never start a second tor
	RuntimeDir     string // XDG_RUNTIME_DIR, for sockets whose path would be too long otherwise
}

// EnvironmentFrom reads the variables with getenv (os.Getenv).
func EnvironmentFrom(getenv func(string) string) Environment {
	place := func(path, host, port string) netx.Addr {
		if p := getenv(path); p != "" {
			return netx.Addr{Kind: netx.Unix, Host: p}
		}
		n, err := strconv.Atoi(getenv(port))
		if err != nil {
			return netx.Addr{}
		}
		h := getenv(host)
		if h == "" {
			h = "127.0.0.1"
		}
		return netx.Addr{Kind: netx.TCP, Host: h, Port: n}
	}
	e := Environment{
		SOCKS:      place("TOR_SOCKS_IPC_PATH", "TOR_SOCKS_HOST", "TOR_SOCKS_PORT"),
		Control:    place("TOR_CONTROL_IPC_PATH", "TOR_CONTROL_HOST", "TOR_CONTROL_PORT"),
		CookieFile: getenv("TOR_CONTROL_COOKIE_AUTH_FILE"),
		SkipLaunch: getenv("TOR_SKIP_LAUNCH") == "1",
		RuntimeDir: getenv("XDG_RUNTIME_DIR"),
	}
	if p := getenv("TOR_CONTROL_PASSWD"); p != "" {
		if len(p) > 1 && p[0] == '"' && p[len(p)-1] == '"' { // as Tor Browser writes it
			p = p[1 : len(p)-1]
		}
		e.Password = redact.New(p)
	}
	return e
}

// normal fills in what the environment says and refuses what cannot be.
func (c Config) normal() (Config, error) {
	none := netx.Addr{}
	if c.Local == nil {
		c.Local = netx.Loopback{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.SOCKSUser) > maxSOCKSUser {
		return c, fmt.Errorf("the SOCKS user has more than %d bytes", maxSOCKSUser)
	}
	if c.Launch && c.Env.SkipLaunch {
		c.Log.Info("not launching tor: TOR_SKIP_LAUNCH asks to use the one that runs")
		c.Launch = false
	}
	if c.Launch {
		return c, c.checkLaunch()
	}
	if c.SOCKS == none && c.Control == none {
		c.SOCKS, c.Control = c.Env.SOCKS, c.Env.Control
	}
	if c.Password.IsZero() && c.CookieFile == "" {
		c.Password, c.CookieFile = c.Env.Password, c.Env.CookieFile
	}
	return c, errors.Join(checkPlace("SOCKS", c.SOCKS), checkPlace("control", c.Control))
}

func (c Config) checkLaunch() error {
	if c.SOCKS != (netx.Addr{}) || c.Control != (netx.Addr{}) {
		return errors.New("launching tor and using a running one (socks.port, control.port) exclude each other")
	}
	if !filepath.IsAbs(c.Dir) {
		return fmt.Errorf("launching tor needs the absolute path of a private folder, not %q", c.Dir)
	}
	for _, line := range c.ExtraTorrc {
		if strings.ContainsAny(line, "\r\n\x00") {
			return fmt.Errorf("the additional torrc line %q holds a line break", line)
		}
	}
	return nil
}

// checkPlace refuses names: looking one up would tell a name server.
func checkPlace(what string, a netx.Addr) error {
	switch {
	case a == netx.Addr{}:
		return nil
	case a.Kind == netx.Unix && filepath.IsAbs(a.Host):
		return nil
	case a.Kind == netx.Unix:
		return fmt.Errorf("tor's %s socket %q must be an absolute path", what, a.Host)
	case a.Kind != netx.TCP || a.Port < 1 || a.Port > 65535:
		return fmt.Errorf("tor's %s port %s must be tcp:ADDRESS:PORT or unix:/PATH", what, a)
	case a.Host == "localhost":
		return nil
	}
	if _, err := netip.ParseAddr(a.Host); err != nil {
		return fmt.Errorf("tor's %s port at %q: give an IP address such as 127.0.0.1; names are not looked up", what, a.Host)
	}
	return nil
}

// isLocal reports whether a is on this machine.
func isLocal(a netx.Addr) bool {
	if a.Kind == netx.Unix || a.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

// parseListener reads one of tor's own listener addresses: "unix:/path" or
// "127.0.0.1:9050". ok is false for one that is not on this machine.
func parseListener(s string) (a netx.Addr, ok bool) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return netx.Addr{Kind: netx.Unix, Host: path}, filepath.IsAbs(path)
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netx.Addr{}, false
	}
	host := ap.Addr()
	if host.IsUnspecified() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netx.Addr{Kind: netx.TCP, Host: host.String(), Port: int(ap.Port())}, host.IsLoopback()
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
