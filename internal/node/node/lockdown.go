package node

import (
	"context"
	"errors"
	"sync"

	"tahoe-go/internal/network/lockdown"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
)

const lockName = "lockdown"

// lock is how far the lock-down by the kernel is.
type lock struct {
	mu      sync.Mutex // guards below
	rung    Rung       // its Name is "": this node is not to be locked down
	report  lockdown.Report
	changed chan struct{} // closed at the next change
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
		n.lock.set(tor.Waiting, "locked down by the kernel once Tor is found", lockdown.Report{})
		return true
	case n.cfg.TorOnly() && n.opts.LockDown != nil:
		n.lock.set(tor.Unknown, "not locked down by the kernel: lockdown.enabled = false", lockdown.Report{})
	}
	return false
}

// lockDown has the kernel take from this process all ways out but the one to
// tor, as soon as it is known where that is; everything that listens does so by
// now. Where the kernel cannot, the node runs on without and says so. Any other
// error means that the lock-down may hold in part: the node must end.
func (n *Node) lockDown(ctx context.Context) error {
	none := lockdown.Report{}
	places, ok := n.torPlaces(ctx)
	if !ok {
		return nil // stopped before
	}
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
	for {
		l, changed := n.tor.Watch()
		socks, control := l.SOCKS, l.Control
		if !n.cfg.Tor.Launch {
			socks, control = orAddr(socks, n.socksAddr()), orAddr(control, dialAddr(n.cfg.Tor.Control))
		}
		if socks != (netx.Addr{}) && (control != (netx.Addr{}) || !n.needsControl()) && doorsOpen(l) {
			return []netx.Addr{socks, control}, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
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
