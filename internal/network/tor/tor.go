// Package tor is the node's way into Tor: it finds or launches a tor, connects
// through its SOCKS port, publishes onion services through its control port,
// and keeps all of that alive while tor comes and goes.
//
// It never dials the world itself, resolves no name, and has no way around Tor:
// while tor is away, connections fail and say why. It decides nothing about
// which connections go through Tor; package netx does, with a *Tor as its
// TorDialer. The protocols are in the packages socks, control and onion below
// it, each usable on its own; onion needs no running tor.
//
// Specifications: Tor's control-spec, socks-extensions, rend-spec-v3. Start
// with Start, Tor.DialTor, Tor.ListenOnion and Ladder.
package tor

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/socks"
)

// SOCKSError is a refusal by Tor's SOCKS port.
type SOCKSError = socks.Error

// Tor is one way into Tor. Its methods may be called concurrently.
type Tor struct {
	cfg       Config
	log       *slog.Logger
	board     *board
	isolation isolation

	kick   chan struct{} // asks the supervisor to look at once; holds one
	added  chan struct{} // tells the supervisor of a new service; holds one
	cancel context.CancelFunc
	wg     sync.WaitGroup

	runDir *runDir  // where sockets live; nil without Launch
	proc   *process // the tor we run; owned by the supervisor

	memory   sync.Mutex  // one writer of DirConfig.Memory at a time
	circuits atomic.Bool // tor was asked for its circuits, and the connection has not survived it

	mu       sync.Mutex // guards below
	services []*service
	dirs     []*hiddenDir
	closed   bool
}

var _ netx.TorDialer = (*Tor)(nil)

// Start begins to look after Tor and returns at once: whether and how far Tor
// is there, Status says. It fails only if the configuration cannot work. Tor is
// looked after until ctx ends or Close is called; Close must be called.
func Start(ctx context.Context, cfg Config) (*Tor, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	t := &Tor{
		cfg:       cfg,
		log:       cfg.Log,
		board:     newBoard(),
		isolation: newIsolation(cfg),
		kick:      make(chan struct{}, 1),
		added:     make(chan struct{}, 1),
	}
	if cfg.Launch {
		if t.runDir, err = makeRunDir(cfg); err != nil {
			return nil, err
		}
		t.board.update(func(l *Ladder) { l.Launched = true })
	}
	ctx, t.cancel = context.WithCancel(ctx)
	t.wg.Go(func() { t.supervise(ctx) })
	return t, nil
}

// Status returns how far Tor is.
func (t *Tor) Status() Ladder {
	l, _ := t.board.look()
	return l
}

// Watch returns how far Tor is and a channel that is closed when that changes.
func (t *Tor) Watch() (Ladder, <-chan struct{}) { return t.board.look() }

// Close ends onion services and their listeners, and the tor that was launched.
// Connections made through a tor that was not launched live on.
func (t *Tor) Close() error {
	t.mu.Lock()
	t.closed = true
	services := slices.Clone(t.services)
	dirs := slices.Clone(t.dirs)
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
	for _, s := range services {
		s.Close()
	}
	for _, d := range dirs {
		d.Close()
	}
	if t.runDir != nil {
		t.runDir.remove()
	}
	return nil
}

// signal puts a token into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
