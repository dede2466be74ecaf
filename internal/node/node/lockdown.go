package node

import (
	"context"
	"errors"
	"net"
	"sync"

	"tahoe-go/internal/network/lockdown"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
)

const lockName = "lockdown"

// lock is how far the lock-down by the kernel is.
type lock struct {
	visited chan struct{} // of capacity 1: somebody is at the door
	settled chan struct{} // closed when the kernel has been asked

	mu      sync.Mutex // guards below
	rung    Rung       // its Name is "": this node is not to be locked down
	report  lockdown.Report
	changed chan struct{} // closed at the next change
}

func newLock() *lock {
	return &lock{visited: make(chan struct{}, 1), settled: make(chan struct{})}
}

func (l *lock) set(state tor.State, text string, report lockdown.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rung, l.report = Rung{Name: lockName, State: state, Text: text}, report
	if l.changed != nil {
		close(l.changed)
	}
	l.changed = make(chan struct{})
}

func (l *lock) look() (Rung, lockdown.Report, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.rung, l.report, l.changed
}

// locksDown reports whether this process is to give up the network.
func (n *Node) locksDown() bool {
	return n.cfg.TorOnly() && n.cfg.Node.LockDown && n.opts.LockDown != nil
}

// beginLockDown puts the lock-down on the ladder of a node that hides, and
// reports whether there is to be one.
func (n *Node) beginLockDown() bool {
	switch {
	case n.locksDown():
		n.lock.set(tor.Waiting, "locked down by the kernel once Tor is found and leads here by every onion service; nobody is let in before", lockdown.Report{})
		return true
	case n.cfg.TorOnly() && n.opts.LockDown != nil:
		n.lock.set(tor.Unknown, "not locked down by the kernel: lockdown.enabled = false", lockdown.Report{})
	}
	return false
}

// lockDown has the kernel take from this process all ways out but the one to
// tor, as soon as it is known where that is, and then lets others in; everything
// that listens does so by now. Where the kernel cannot, the node runs on without
// and says so. Any other error means that the lock-down may hold in part: the
// node must end.
func (n *Node) lockDown(ctx context.Context) error {
	places, ok := n.torPlaces(ctx)
	if !ok {
		return nil // stopped before
	}
	if err := n.applyLock(places); err != nil {
		return err // and nobody is let in
	}
	close(n.lock.settled)
	return nil
}

// applyLock asks the kernel to leave a way to these places only.
func (n *Node) applyLock(places []netx.Addr) error {
	none := lockdown.Report{}
	level, err := lockdown.For(places...)
	if err != nil {
		n.lock.set(tor.Failed, "not locked down by the kernel: "+err.Error(), none)
		return nil
	}
	report, err := n.opts.LockDown(level)
	missing, older := errors.AsType[*lockdown.MissingError](err)
	switch {
	case older:
		n.lock.set(tor.Failed, "not locked down: "+missing.Error(), none)
	case errors.Is(err, lockdown.ErrUnsupported):
		n.lock.set(tor.Unknown, "not locked down by the kernel, which needs Linux; the node itself sees to it that nothing leaves except through Tor", none)
	case err != nil:
		return err
	default:
		n.log.Info("locked down by the kernel", "level", level.String())
		n.lock.set(tor.OK, report.Summary, report)
	}
	return nil
}

// torPlaces waits until it is known where this node reaches tor. ok is false
// if ctx ends before.
func (n *Node) torPlaces(ctx context.Context) (places []netx.Addr, ok bool) {
	if n.tor == nil {
		return nil, true
	}
	visited := n.lock.visited
	if n.cfg.Tor.Launch { // who comes before is of this machine, and waits
		visited = nil
	}
	return awaitPlaces(ctx, visited, func() (tor.Ladder, reach, <-chan struct{}) {
		l, changed := n.tor.Watch()
		r := reach{socks: l.SOCKS, control: l.Control, needsControl: n.needsControl()}
		if !n.cfg.Tor.Launch {
			r.socks, r.control = orAddr(r.socks, n.socksAddr()), orAddr(r.control, dialAddr(n.cfg.Tor.Control))
		}
		return l, r, changed
	})
}

// reach is where tor is, or will be by what the configuration says.
type reach struct {
	socks, control netx.Addr // zero: not known yet
	needsControl   bool
}

// awaitPlaces waits until look shows all that is needed of tor, or somebody has
// come to the door: then it is what is known, and the ports where tors usually
// are if nothing is, since nobody is let in before the lock-down.
func awaitPlaces(ctx context.Context, visited <-chan struct{}, look func() (tor.Ladder, reach, <-chan struct{})) (places []netx.Addr, ok bool) {
	none, visitor := netx.Addr{}, false
	for {
		l, r, changed := look()
		known := r.socks != none && (r.control != none || !r.needsControl)
		switch {
		case !doorsOpen(l): // no door can be opened afterwards
		case visitor && r.socks == none && l.Control == none:
			return append(tor.UsualPorts(), r.control), true
		case known, visitor:
			return []netx.Addr{r.socks, r.control}, true
		}
		select {
		case <-changed:
		case <-visited:
			visitor = true
		case <-ctx.Done():
			return nil, false
		}
	}
}

// guard keeps everybody at the door of a node that is to be locked down until
// it is.
func (n *Node) guard(l net.Listener) net.Listener {
	if !n.locksDown() {
		return l
	}
	return &guarded{Listener: l, lock: n.lock, closed: make(chan struct{})}
}

type guarded struct {
	net.Listener
	lock   *lock
	closed chan struct{}
	once   sync.Once
}

func (g *guarded) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case <-g.lock.settled:
		return c, nil
	default:
	}
	select {
	case g.lock.visited <- struct{}{}:
	default: // somebody was here before
	}
	select {
	case <-g.lock.settled:
		return c, nil
	case <-g.closed:
		c.Close()
		return nil, net.ErrClosed
	}
}

func (g *guarded) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}

func orAddr(a, b netx.Addr) netx.Addr {
	if a != (netx.Addr{}) {
		return a
	}
	return b
}

// needsControl reports whether the node is of use only with tor's control port.
func (n *Node) needsControl() bool {
	return n.cfg.Tor.Launch || len(n.tor.Status().Services) > 0
}
