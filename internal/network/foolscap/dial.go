package foolscap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
)

// DialOptions say how to connect. They count for the connection that a call
// makes; one that is there already is used as it is.
type DialOptions struct {
	Isolation string // see netx.Addr
}

// HintError is why one place did not lead to a connection.
type HintError struct {
	Hint string
	Err  error
}

// DialError is why a peer could not be connected to: by place, in the order in
// which they failed.
type DialError struct {
	Peer  string // TubID
	Hints []HintError
}

// Error names the places in full: whether a log may hold it is for the caller
// to decide.
func (e *DialError) Error() string {
	var why []string
	for _, h := range e.Hints {
		why = append(why, h.Hint+": "+h.Err.Error())
	}
	return fmt.Sprintf("connecting to %s: %s", short(e.Peer), strings.Join(why, "; "))
}

// Unwrap returns the error of each place.
func (e *DialError) Unwrap() []error {
	var errs []error
	for _, h := range e.Hints {
		errs = append(errs, h.Err)
	}
	return errs
}

// Dial returns a reference to the object at f, connecting to its Tub unless
// they are connected already. Several places are tried at once, each a little
// after the one before, those that should be nearer first. Errors are
// *DialError, ErrNoHints, those of Ref.Call (a *RemoteError if the Tub has no
// such object) and that of ctx.
func (t *Tub) Dial(ctx context.Context, f furl.FURL, o DialOptions) (*Ref, error) {
	c, err := t.connect(ctx, f, o)
	if err != nil {
		return nil, err
	}
	return c.lookup(ctx, f.Swissnum)
}

// attempt is one try to connect to a peer, by all its hints. Those who want
// the connection share it.
type attempt struct {
	cancel  context.CancelFunc
	waiting int           // who want it; guarded by Tub.mu
	done    chan struct{} // closed when it has ended
	conn    *Conn         // valid then
	err     error         // likewise
}

// connect returns the connection with f's Tub, and makes it if need be.
func (t *Tub) connect(ctx context.Context, f furl.FURL, o DialOptions) (*Conn, error) {
	c, a, err := t.join(f, o)
	if a == nil {
		return c, err
	}
	defer t.leave(f.TubID, a)
	ended := a.done
	var late <-chan time.Time
	for {
		c, changed := t.connected(f.TubID)
		if c != nil {
			return c, nil // perhaps the peer connected to us
		}
		select {
		case <-changed:
		case <-ended:
			if !isDuplicate(a.err) {
				return a.conn, a.err
			}
			// The peer says that it has a connection: its own, which it may
			// just be making.
			ended, late = nil, time.After(duplicateGrace)
		case <-late:
			return nil, a.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// duplicateGrace is how long after a refusal the peer's own connection may
// come.
const duplicateGrace = 10 * time.Second

// join returns the connection with a peer, or the attempt to make one.
func (t *Tub) join(f furl.FURL, o DialOptions) (*Conn, *attempt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, ErrClosed
	}
	if c := t.liveLocked(f.TubID); c != nil {
		return c, nil, nil
	}
	if f.TubID == t.id.tubID {
		return t.selfLocked(), nil, nil
	}
	a := t.dials[f.TubID]
	if a == nil {
		places := t.places(f.Hints, o)
		if len(places) == 0 {
			return nil, nil, ErrNoHints
		}
		ctx, cancel := context.WithCancel(t.ctx)
		a = &attempt{cancel: cancel, done: make(chan struct{})}
		t.dials[f.TubID] = a
		t.tasks.Go(func() { t.try(ctx, a, f.TubID, places) })
	}
	a.waiting++
	return nil, a, nil
}

// connected returns the connection with a peer, if there is one, and a channel
// that is closed when the next one comes, with any peer.
func (t *Tub) connected(peer string) (*Conn, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.liveLocked(peer), t.changed
}

// leave ends an attempt that nobody waits for.
func (t *Tub) leave(peer string, a *attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.waiting--
	if a.waiting == 0 {
		a.cancel()
		if t.dials[peer] == a {
			delete(t.dials, peer)
		}
	}
}

// place is a hint that can be dialled.
type place struct {
	hint string
	addr netx.Addr
}

// places returns where to dial, nearest first.
func (t *Tub) places(hints []furl.Hint, o DialOptions) []place {
	var ps []place
	for _, h := range hints {
		kind := map[furl.Kind]netx.Kind{furl.TCP: netx.TCP, furl.Tor: netx.Tor}[h.Kind]
		if kind == "" {
			continue
		}
		ps = append(ps, place{h.String(), netx.Addr{Kind: kind, Host: h.Host, Port: h.Port, Isolation: o.Isolation}})
	}
	slices.SortStableFunc(ps, func(a, b place) int {
		return cmp.Compare(netx.HintsFor(t.net, a.addr).RTT, netx.HintsFor(t.net, b.addr).RTT)
	})
	return ps
}

// stagger is how long a place may take, in round trips, before the next one is
// tried, too.
const stagger = 4

// try dials the places until one leads to a connection.
func (t *Tub) try(ctx context.Context, a *attempt, peer string, places []place) {
	type result struct {
		place place
		conn  *Conn
		err   error
	}
	results := make(chan result)
	fail := &DialError{Peer: peer}
	started, running := 0, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	var won *Conn
	over := ctx.Done()
	for running > 0 || started < len(places) && won == nil && ctx.Err() == nil {
		var next <-chan time.Time
		if started < len(places) && won == nil {
			next = timer.C
		}
		select {
		case <-next:
			p := places[started]
			started, running = started+1, running+1
			timer.Reset(stagger * netx.HintsFor(t.net, p.addr).RTT)
			t.tasks.Go(func() {
				c, err := t.dialPlace(ctx, peer, p)
				results <- result{p, c, err}
			})
		case r := <-results:
			running--
			if r.err != nil {
				fail.Hints = append(fail.Hints, HintError{r.place.hint, r.err})
				timer.Reset(0)
				continue
			}
			won = r.conn
			t.tasks.Go(won.run)
			a.cancel()
		case <-over:
			started, over = len(places), nil // what runs ends soon
		}
	}
	t.finish(peer, a, won, fail)
}

// finish ends an attempt.
func (t *Tub) finish(peer string, a *attempt, won *Conn, fail *DialError) {
	t.mu.Lock()
	if t.dials[peer] == a {
		delete(t.dials, peer)
	}
	t.mu.Unlock()
	a.conn = won
	switch {
	case won != nil:
	case t.ctx.Err() != nil:
		a.err = ErrClosed
	default:
		a.err = fail
	}
	a.cancel()
	close(a.done)
}

// dialPlace connects to one place and negotiates.
func (t *Tub) dialPlace(ctx context.Context, peer string, p place) (*Conn, error) {
	expect := netx.HintsFor(t.net, p.addr)
	dialCtx, cancel := context.WithTimeout(ctx, expect.Dial)
	raw, err := t.net.Dial(dialCtx, p.addr)
	cancel()
	if err != nil {
		return nil, err
	}
	l := &link{raw: raw, stage: expect.Stall, dialed: true, want: peer, info: ConnInfo{Hint: p.hint}}
	// Another place may win at any time; but once the link is a connection it
	// is nobody's to close from here.
	stop := context.AfterFunc(ctx, func() {
		if !l.settled.Load() {
			raw.Close()
		}
	})
	defer stop()
	c, err := t.negotiateOutbound(ctx, l, p.addr.Host)
	if err != nil {
		raw.Close()
		if isTimeout(err) {
			err = errors.New("the peer said nothing in time")
		}
		return nil, err
	}
	c.log.Debug("connected", "inbound", false)
	return c, nil
}

func (t *Tub) negotiateOutbound(ctx context.Context, l *link, host string) (*Conn, error) {
	nc, err := t.open(ctx, l, host)
	if err != nil {
		return nil, err
	}
	id, err := certID(nc)
	if err != nil {
		return nil, err
	}
	if id != l.want {
		return nil, refuse("the certificate is not that of the wanted Tub")
	}
	return t.hello(l, stream{nc, newReader(nc)}, id)
}

// selfLocked connects the Tub with itself.
func (t *Tub) selfLocked() *Conn {
	ours, theirs := net.Pipe()
	end := func(p net.Conn, inbound bool) *Conn {
		l := &link{raw: p, info: ConnInfo{Hint: "self", Inbound: inbound}}
		return t.newConn(l, stream{p, newReader(p)}, t.id.tubID)
	}
	c, far := end(ours, false), end(theirs, true)
	t.attachLocked(c)
	t.tasks.Go(c.run)
	t.tasks.Go(far.run)
	return c
}
