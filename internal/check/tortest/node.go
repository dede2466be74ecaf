package tortest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
)

type role int

const (
	client role = iota
	relay
	authority
)

// Node is one tor of the network.
type Node struct {
	Name string
	// SOCKS and Control are where a client listens; its cookie is in CookieFile.
	SOCKS, Control netx.Addr
	CookieFile     string

	net                 *Network
	role                role
	dir                 string
	orPort, dirPort     int
	hiddenPort          int // where the ORPort really is, behind a forwarder
	fingerprint, v3name string
	extra               []string

	mu   sync.Mutex // guards below
	cmd  *exec.Cmd
	done chan struct{}
}

func (n *Network) newNode(name string, r role) (*Node, error) {
	nd := &Node{Name: name, net: n, role: r, dir: n.file(name)}
	nd.CookieFile = filepath.Join(nd.dir, "control_auth_cookie")
	if err := os.MkdirAll(nd.dir, 0o700); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		port *int
		need bool
	}{{&nd.orPort, r != client}, {&nd.dirPort, r == authority}, {&nd.hiddenPort, r != client && n.cfg.Delay > 0}} {
		var err error
		if p.need {
			if *p.port, err = freePort(n.ctx); err != nil {
				return nil, err
			}
		}
	}
	if nd.hiddenPort != 0 {
		if err := n.forward(nd.orPort, nd.hiddenPort); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes = append(n.nodes, nd)
	return nd, nil
}

// ClientConfig describes a client.
type ClientConfig struct {
	TCP   bool     // ports on 127.0.0.1 instead of unix sockets
	Extra []string // further torrc lines
}

// Client starts a tor that is used as a system tor would be: with SOCKS and
// control ports. It returns at once; the tor bootstraps within seconds.
func (n *Network) Client(name string, cfg ClientConfig) (*Node, error) {
	nd, err := n.newNode(name, client)
	if err != nil {
		return nil, err
	}
	nd.extra = cfg.Extra
	nd.SOCKS = netx.Addr{Kind: netx.Unix, Host: filepath.Join(nd.dir, "socks")}
	nd.Control = netx.Addr{Kind: netx.Unix, Host: filepath.Join(nd.dir, "control")}
	if cfg.TCP {
		for _, a := range []*netx.Addr{&nd.SOCKS, &nd.Control} {
			p, err := freePort(n.ctx)
			if err != nil {
				return nil, err
			}
			*a = netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: p}
		}
	}
	return nd, nd.start()
}

// commonLines are for every node: where the network begins.
func (n *Network) commonLines(auths []*Node) []string {
	lines := []string{
		"TestingTorNetwork 1", // allows loopback addresses and one subnet, too
		// Reading them takes a second of each start.
		"GeoIPFile " + n.file("empty"),
		"GeoIPv6File " + n.file("empty"),
	}
	for _, a := range auths {
		lines = append(lines, fmt.Sprintf("DirAuthority %s orport=%d no-v2 v3ident=%s 127.0.0.1:%d %s", a.Name, a.orPort, a.v3name, a.dirPort, a.fingerprint))
	}
	return append(lines, "AvoidDiskWrites 1")
}

func (nd *Node) torrc() string {
	lines := append([]string(nil), nd.net.common...)
	lines = append(lines,
		"DataDirectory "+nd.dir,
		"Log notice file "+filepath.Join(nd.dir, "log"),
		"SafeLogging 0",
		"RunAsDaemon 0",
		"ShutdownWaitLength 0",
		fmt.Sprintf("__OwningControllerProcess %d", os.Getpid()), // exits with us, whatever happens
		"Nickname "+nd.Name)
	if nd.role == client {
		at := func(a netx.Addr) string { return strings.TrimPrefix(a.String(), "tcp:") }
		lines = append(lines, nd.net.Lines()[len(nd.net.common):]...)
		lines = append(lines,
			"SocksPort "+at(nd.SOCKS)+" IsolateSOCKSAuth ExtendedErrors",
			"ControlPort "+at(nd.Control),
			"CookieAuthentication 1")
		return strings.Join(append(lines, nd.extra...), "\n") + "\n"
	}
	lines = append(lines, "SocksPort 0", "Address 127.0.0.1", "AssumeReachable 1")
	if nd.hiddenPort == 0 {
		lines = append(lines, fmt.Sprintf("ORPort 127.0.0.1:%d IPv4Only", nd.orPort))
	} else {
		lines = append(lines,
			fmt.Sprintf("ORPort 127.0.0.1:%d NoListen IPv4Only", nd.orPort),
			fmt.Sprintf("ORPort 127.0.0.1:%d NoAdvertise IPv4Only", nd.hiddenPort))
	}
	if nd.role == authority {
		return strings.Join(append(lines, nd.authorityLines()...), "\n") + "\n"
	}
	return strings.Join(append(lines,
		"ExitRelay 1",
		// Anything narrower than all: the summary of the policy that clients
		// see ignores private addresses, and "there are no exits". What keeps
		// connections on loopback is the address they leave from.
		"ExitPolicy accept *:*",
		"ExitPolicyRejectPrivate 0",
		"ExitPolicyRejectLocalInterfaces 0",
		"OutboundBindAddress 127.0.0.1",
		"ServerDNSResolvConfFile "+nd.net.file("resolv.conf"),
		"ServerDNSDetectHijacking 0",
		"ServerDNSTestAddresses",
		"ServerDNSAllowBrokenConfig 1",
	), "\n") + "\n"
}

// authorityLines has them vote soon, and often: whoever misses the first vote on
// a busy machine is counted in the next.
func (nd *Node) authorityLines() []string {
	return []string{
		fmt.Sprintf("DirPort 127.0.0.1:%d", nd.dirPort),
		"AuthoritativeDirectory 1",
		"V3AuthoritativeDirectory 1",
		"ContactInfo nobody@test.invalid",
		"ExitPolicy reject *:*",
		fmt.Sprintf("V3AuthVotingInterval %d", interval/time.Second),
		"V3AuthVoteDelay 2",
		"V3AuthDistDelay 2",
		fmt.Sprintf("TestingV3AuthInitialVotingInterval %d", interval/time.Second),
		fmt.Sprintf("TestingV3AuthVotingStartOffset %d", nd.net.offset),
		"TestingV3AuthInitialVoteDelay 2", // tor's least
		"TestingV3AuthInitialDistDelay 2",
		"TestingDirAuthVoteExit *",
		"TestingDirAuthVoteHSDir *",
		"TestingDirAuthVoteGuard *",
		"TestingMinExitFlagThreshold 0",
		"V3BandwidthsFile " + nd.net.file(bandwidths),
	}
}

// start writes the configuration and runs tor.
func (nd *Node) start() error {
	rc := filepath.Join(nd.dir, "torrc")
	if err := os.WriteFile(rc, []byte(nd.torrc()), 0o600); err != nil {
		return err
	}
	// The empty file keeps the system's defaults out; /dev/null does not work.
	cmd := exec.Command(nd.net.cfg.Executable, "--defaults-torrc", nd.net.file("empty"), "-f", rc, "--hush")
	cmd.Env = []string{"HOME=" + nd.dir}
	out, err := os.Create(filepath.Join(nd.dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", nd.Name, err)
	}
	done := make(chan struct{})
	nd.mu.Lock()
	defer nd.mu.Unlock()
	nd.cmd, nd.done = cmd, done
	go func() {
		cmd.Wait()
		close(done)
	}()
	return nil
}

// Kill ends the process at once, as a crash would, and waits for it.
func (nd *Node) Kill() { nd.end(syscall.SIGKILL) }

// Terminate asks the process to exit, as service managers do, and waits for it.
func (nd *Node) Terminate() { nd.end(syscall.SIGTERM) }

func (nd *Node) end(sig os.Signal) {
	nd.mu.Lock()
	cmd, done := nd.cmd, nd.done
	nd.mu.Unlock()
	if cmd == nil {
		return
	}
	nd.signal(sig)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		cmd.Process.Kill()
		<-done
	}
}

func (nd *Node) signal(sig os.Signal) {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	nd.cmd.Process.Signal(sig)
}

// Restart ends the process and starts it again, with the same ports and keys.
func (nd *Node) Restart() error {
	nd.Kill()
	return nd.start()
}

// Log returns the end of what the node has logged.
func (nd *Node) Log() string {
	var log string
	for _, name := range []string{"output", "log"} { // the first has what went wrong before there was a log
		b, _ := os.ReadFile(filepath.Join(nd.dir, name))
		log += string(b[max(0, len(b)-3000):])
	}
	return log
}

// Dial opens an authenticated control connection of its own to a client,
// waiting for the port to come up. Events go to onEvent, which must not block.
func (nd *Node) Dial(ctx context.Context, onEvent func(control.Event)) (*control.Conn, error) {
	for {
		c, err := DialControl(ctx, nd.Control, nd.CookieFile, onEvent)
		if err == nil {
			return c, nil
		}
		nd.mu.Lock()
		done := nd.done
		nd.mu.Unlock()
		select {
		case <-done:
			return nil, fmt.Errorf("%s has exited: %s", nd.Name, nd.Log())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// DialControl opens an authenticated control connection to any tor of this
// machine.
func DialControl(ctx context.Context, at netx.Addr, cookie string, onEvent func(control.Event)) (*control.Conn, error) {
	nc, err := netx.Loopback{}.Dial(ctx, at)
	if err != nil {
		return nil, err
	}
	c := control.New(nc, onEvent)
	if _, err := c.Authenticate(ctx, control.Credentials{CookieFile: cookie}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
