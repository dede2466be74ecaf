package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/lockdown"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/torsocks"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/pidfile"
)

// Options are the choices of one run. The zero value logs nothing.
type Options struct {
	Stdin           io.Reader           // EOF of a pipe or terminal stops the node; nil: ignored
	Stdout, Stderr  io.Writer           // progress for people; logs. nil: discarded
	AllowStdinClose bool                // EOF of Stdin means nothing
	LogLevel        string              // debug, info, warn or error; "": info
	Home            string              // what ~ stands for in paths
	Env             func(string) string // nil: an empty environment
	Started         func()              // called once the node serves; nil: nobody wants to know
	Sockets         *netx.Inherited     // of the service manager, for systemd: endpoints; nil: none

	// LockDown is lockdown.Apply, for the main program alone: it is for the
	// whole process and for good. nil: the node is not locked down.
	LockDown func(lockdown.Level) (lockdown.Report, error)
	// Launcher is the command that runs a launched tor for a node that is
	// locked down; see tor.Config.
	Launcher []string
}

// Run runs the node in dir until ctx ends or Stdin does. It returns nil after
// an orderly stop. Errors to branch on: config.Problems for a configuration
// that must not run, *pidfile.InUseError for a directory in use,
// *netx.PolicyError for what would leave the anonymous network.
func Run(ctx context.Context, dir string, o Options) error {
	o = o.normal()
	cfg, err := loadConfig(dir, o)
	if err != nil {
		return err
	}
	say := newTeller(o.Stdout)
	say.line("node directory: %s", cfg.Dir)
	for _, w := range cfg.Warnings {
		fmt.Fprintf(o.Stderr, "warning: %s\n", w)
	}
	n, err := Start(ctx, cfg, o)
	if err != nil {
		return err
	}
	for _, line := range n.notes {
		say.line("%s", line)
	}
	if o.Started != nil {
		o.Started()
	}
	say.line("%s running", cfg.Kind)

	ctx, cancel := context.WithCancel(ctx)
	if !o.AllowStdinClose {
		stopOnEOF(o.Stdin, cancel)
	}
	var watching sync.WaitGroup
	if n.beginLockDown() {
		watching.Go(func() {
			if err := n.lockDown(ctx); err != nil {
				n.fail("locking down", err)
			}
		})
	}
	watching.Go(func() { n.narrate(ctx, say) })
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-n.failed:
	}
	cancel()
	watching.Wait()
	say.line("stopping")
	return errors.Join(failed, n.Close())
}

func (o Options) normal() Options {
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.Sockets == nil {
		o.Sockets = &netx.Inherited{}
	}
	return o
}

// loadConfig reads a node directory. It adds what Load does not insist on:
// that there is one.
func loadConfig(dir string, o Options) (*config.Config, error) {
	if _, err := config.KindOf(dir); err != nil {
		return nil, err
	}
	return config.Options{Home: o.Home, Torsocks: torsocks.Started(o.normal().Env)}.Load(dir)
}

// Node is a node that runs.
type Node struct {
	cfg  *config.Config
	opts Options
	log  *slog.Logger

	identity config.Identity
	cert     tubcert.Cert
	network  netx.Network
	torsocks torsocks.Settings
	tor      *tor.Tor // nil: not needed
	late     *lateTor // nil: tor is not, or there is nobody to hear of who needs it
	lock     *lock
	tub      *foolscap.Tub // of the certificate: what others know this node by
	word     announcer
	intro    *introducer.Server // of an introducer node
	grid     *grid.Grid         // nil: no gateway
	files    files

	notes   []string       // for people, once it runs
	failed  chan error     // a part that ended by itself; holds one
	closers []func() error // in the order of starting
}

// Start builds the node that cfg describes and returns once it serves. It
// does not wait for Tor or for other servers. ctx bounds the start only; the
// node runs until Close.
func Start(ctx context.Context, cfg *config.Config, o Options) (*Node, error) {
	o = o.normal()
	log, err := newLogger(o.Stderr, o.LogLevel, cfg.TorOnly())
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, opts: o, log: log, failed: make(chan error, 1), lock: newLock()}
	steps := []func(context.Context) error{n.claim, n.identify, n.heedTorsocks, n.openNetwork, n.openTub}
	switch cfg.Kind {
	case config.IntroducerNode:
		steps = append(steps, n.startIntroducer, n.startIntroducerPage)
	default:
		steps = append(steps, n.startStorage, n.startClient, n.startIntroducerClients, n.watchTor, n.startFiles, n.startGateway)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// claim makes this process the only one to run the node directory.
func (n *Node) claim(context.Context) error {
	file, err := pidfile.Acquire(n.cfg.Dir)
	if err == nil {
		n.onClose(file.Release)
	}
	return err
}

// identify reads the node's keys and certificate, and makes what is missing.
func (n *Node) identify(context.Context) error {
	var err error
	if n.cfg.Kind == config.ClientNode {
		if n.identity, err = config.EnsureIdentity(n.cfg.Dir); err != nil {
			return err
		}
	}
	private, err := os.OpenRoot(filepath.Join(n.cfg.Dir, config.PrivateDir))
	if err != nil {
		return fmt.Errorf("opening the private folder: %w", err)
	}
	defer private.Close()
	if n.cert, err = tubcert.LoadOrCreate(private, tubcert.FileName, time.Now()); err != nil {
		return err
	}
	return config.WriteNodeID(n.cfg.Dir, n.cert.TubID())
}

// note keeps a line for people until the node runs.
func (n *Node) note(format string, args ...any) {
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

// onClose has f called by Close, before what was given to it earlier.
func (n *Node) onClose(f func() error) { n.closers = append(n.closers, f) }

// serve runs the loops of a part until Close, which ends their context and
// waits for them. One that ends earlier with an error makes the node fail.
func (n *Node) serve(ctx context.Context, what string, loops ...func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for _, loop := range loops {
		running.Go(func() {
			if err := loop(ctx); err != nil {
				n.fail(what, err)
			}
		})
	}
	n.onClose(func() error { stop(); running.Wait(); return nil })
}

// fail makes the node end, for the first reason that is given.
func (n *Node) fail(what string, err error) {
	select {
	case n.failed <- fmt.Errorf("%s: %w", what, err):
	default:
	}
}

// Close stops the node in the reverse order of its start: no new requests, a
// while for those under way, then the parts below. It may be called once.
func (n *Node) Close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}
