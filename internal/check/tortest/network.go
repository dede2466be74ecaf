// Package tortest runs a whole Tor network on this machine's loopback:
// directory authorities, relays that are also exits, and clients, out of the
// tor program that is installed. Nothing leaves the machine.
//
// It is an engine first (Start), for tests and for the demonstration, and has a
// few helpers for tests (Need, Shared). A network takes about 18 seconds to
// carry its first onion connection, so one serves a whole test binary. A
// circuit fails now and then: try again with another SOCKS user, as Dial does.
//
// The settings are tor's own for testing networks; those that are not obvious
// say why. Start with Start and Network.Client.
package tortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
)

// Config describes a network. The zero value is the one that works best.
type Config struct {
	Dir         string        // of everything; empty: a temporary one that Stop removes
	Executable  string        // empty: tor on the PATH; tor-gencert is beside it
	Authorities int           // 0: 3
	Relays      int           // 0: 7; with fewer, paths meet themselves and stall
	Delay       time.Duration // one way, on every link to an authority or relay
	KeyCache    string        // folder that keeps the authorities' keys between runs; empty: none
	Progress    io.Writer     // what is being done, for people; nil: nobody asks
}

// Network is a running network.
type Network struct {
	cfg    Config
	dir    string
	temp   bool
	common []string // torrc lines of every node
	offset int      // seconds by which the authorities vote later
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the forwarders

	mu    sync.Mutex // guards below
	nodes []*Node
}

// ErrNoTor says that there is no tor program to run.
var ErrNoTor = errors.New("tor is not installed (on Debian: sudo apt install tor)")

// Start starts a network and waits until an onion service has been reached
// through it, 90 seconds at most. Stop must be called if the error is nil.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	n, err := start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := n.ready(ctx); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func start(ctx context.Context, cfg Config) (*Network, error) {
	if cfg.Executable == "" {
		cfg.Executable = "tor"
	}
	exe, err := exec.LookPath(cfg.Executable)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTor, err)
	}
	cfg.Executable = exe
	if cfg.Authorities == 0 {
		cfg.Authorities = 3
	}
	if cfg.Relays == 0 {
		cfg.Relays = 7
	}
	n := &Network{cfg: cfg, dir: cfg.Dir}
	if n.dir == "" {
		// Short: unix sockets lie below it.
		if n.dir, err = os.MkdirTemp("/tmp", "tornet"); err != nil {
			return nil, err
		}
		n.temp = true
	}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.build(ctx); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

// build makes keys and starts the authorities and relays.
func (n *Network) build(ctx context.Context) error {
	n.say("making the keys of %d authorities and %d relays", n.cfg.Authorities, n.cfg.Relays)
	for file, text := range map[string]string{"empty": "", "resolv.conf": "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(n.file(file), []byte(text), 0o600); err != nil {
			return err
		}
	}
	var auths, all []*Node
	for i := range n.cfg.Authorities + n.cfg.Relays {
		name, r := fmt.Sprintf("relay%d", i-n.cfg.Authorities), relay
		if i < n.cfg.Authorities {
			name, r = fmt.Sprintf("auth%d", i), authority
		}
		nd, err := n.newNode(name, r)
		if err != nil {
			return err
		}
		if all = append(all, nd); r == authority {
			auths = append(auths, nd)
		}
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, nd := range all {
		wg.Go(func() { errs[i] = n.makeKeys(ctx, nd) })
	}
	wg.Wait()
	if err := errors.Join(append(errs, n.writeBandwidths(all))...); err != nil {
		return err
	}
	n.common = n.commonLines(auths)
	n.offset = votingOffset(time.Now())
	n.say("starting %d authorities and %d relays", n.cfg.Authorities, n.cfg.Relays)
	for _, nd := range all {
		if err := nd.start(); err != nil {
			return err
		}
	}
	n.say("waiting for the authorities to agree")
	return n.settle(ctx)
}

// Lines returns the torrc lines that make a tor a client of this network: for a
// tor that somebody else starts.
func (n *Network) Lines() []string {
	return append(append([]string(nil), n.common...),
		// In a network this small the extra relays of vanguards-lite make most
		// paths impossible.
		"VanguardsLiteEnabled 0",
		// Circuits are quick here or broken.
		"LearnCircuitBuildTimeout 0",
		"CircuitBuildTimeout 10",
	)
}

// Stop ends every process and removes the temporary folder.
func (n *Network) Stop() {
	n.mu.Lock()
	nodes := append([]*Node(nil), n.nodes...)
	n.mu.Unlock()
	var wg sync.WaitGroup
	for _, nd := range nodes {
		wg.Go(nd.Kill)
	}
	wg.Wait()
	n.cancel()
	n.wg.Wait()
	if n.temp {
		os.RemoveAll(n.dir)
	}
}

// Logs returns the last lines that the nodes logged, for a test that failed.
func (n *Network) Logs() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for _, nd := range n.nodes {
		fmt.Fprintf(&b, "--- %s\n%s\n", nd.Name, nd.Log())
	}
	return b.String()
}

func (n *Network) file(name string) string { return filepath.Join(n.dir, name) }

func (n *Network) say(format string, args ...any) {
	if n.cfg.Progress != nil {
		fmt.Fprintf(n.cfg.Progress, format+"\n", args...)
	}
}

var (
	portMu sync.Mutex
	taken  = map[int]bool{}
)

// freePort picks a port below those that the system gives to outgoing
// connections, so that nothing takes it before tor does.
func freePort(ctx context.Context) (int, error) {
	portMu.Lock()
	defer portMu.Unlock()
	for range 1000 {
		p := 10000 + rand.IntN(20000)
		if taken[p] {
			continue
		}
		l, err := netx.Loopback{}.Listen(ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: p})
		if err != nil {
			continue
		}
		taken[p] = true
		return p, l.Close()
	}
	return 0, errors.New("no free port on 127.0.0.1")
}
