package tor

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
)

// How patient the supervisor is. A control port that is back is found within
// backoffMost and a quarter.
const (
	backoffLeast  = 250 * time.Millisecond
	backoffMost   = 3 * time.Second
	backoffFactor = 1.7

	// socksOnlyPause is between looks for a control port by a node that needs
	// none.
	socksOnlyPause = 30 * time.Second
	// kickPause keeps dials that fail from making the supervisor busy.
	kickPause = time.Second

	heartbeat   = 30 * time.Second // notices a control connection that is only half there
	commandTime = 15 * time.Second
)

// supervise looks after Tor until ctx ends, whatever happens to tor.
func (t *Tor) supervise(ctx context.Context) {
	defer func() {
		if t.proc != nil {
			t.proc.stop()
		}
	}()
	delay := backoffLeast
	for ctx.Err() == nil {
		began := time.Now()
		err := t.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > backoffMost { // it stood for a while
			delay = backoffLeast
		}
		t.lost(err)
		t.pause(ctx, jitter(delay))
		delay = min(time.Duration(float64(delay)*backoffFactor), backoffMost)
	}
}

// jitter spreads d by a quarter either way, so that the nodes of a machine do
// not all come at once.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2))
}

// pause waits for d, or less if somebody wants to connect.
func (t *Tor) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	earliest := time.NewTimer(min(d, kickPause))
	defer earliest.Stop()
	select {
	case <-earliest.C:
	case <-ctx.Done():
		return
	}
	select {
	case <-timer.C:
	case <-t.kick:
	case <-ctx.Done():
	}
}

// lost notes the end of a session: what stood on the control connection is gone.
func (t *Tor) lost(err error) {
	if err == nil {
		return
	}
	if was := t.Status(); was.Problem != err.Error() {
		t.log.Info("tor is away", "err", err)
	}
	t.board.update(func(l *Ladder) {
		l.attempts++
		l.Problem = err.Error()
		l.Control = netx.Addr{}
		l.Bootstrap = Bootstrap{}
		for i := range l.Services {
			s := &l.Services[i]
			s.Added, s.Uploaded, s.Asked, s.Reached, s.Problem, s.slowAddress = false, 0, 0, time.Time{}, "", false
		}
	})
}

// session finds tor and stays with it until it is lost. nil means that there is
// nothing to stay with: Tor is there, its control port is not, and is not
// needed.
func (t *Tor) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	places, err := t.places(ctx)
	if err != nil {
		t.board.update(func(l *Ladder) { l.SOCKS = netx.Addr{} })
		return err
	}
	var missed []error
	for _, p := range places {
		c, at, err := t.findControl(ctx, p.control, t.onEvent)
		if err == nil {
			return t.controlled(ctx, c, at)
		}
		if ctx.Err() != nil || t.cfg.Launch {
			return err
		}
		socks, socksErr := t.findSOCKS(ctx, p.socks)
		if socksErr == nil {
			return t.socksOnly(ctx, socks, joinLooked(append(missed, err)...))
		}
		missed = append(missed, err, socksErr)
	}
	t.board.update(func(l *Ladder) { l.SOCKS = netx.Addr{} })
	return joinLooked(missed...)
}

// controlled stays with a tor over its control connection, and closes that.
func (t *Tor) controlled(ctx context.Context, c *control.Conn, at netx.Addr) error {
	defer c.Close()
	if err := t.prepare(ctx, c); err != nil {
		return err
	}
	socks, err := t.chooseSOCKS(ctx, c)
	if err != nil && !t.servesAnyway(ctx, c) {
		return err
	}
	if t.proc != nil {
		t.proc.works()
	}
	t.log.Info("tor found", "control", at.String(), "socks", socks.String())
	t.board.update(func(l *Ladder) {
		l.attempts++
		l.Connects++
		l.Control, l.SOCKS, l.Problem = at, socks, words(err)
	})
	return t.stay(ctx, c)
}

// servesAnyway reports whether a tor without a SOCKS port is one to stay with:
// onion services need none, and would end with the connection.
func (t *Tor) servesAnyway(ctx context.Context, c *control.Conn) bool {
	return ctx.Err() == nil && c.Err() == nil && !t.cfg.Launch && t.serves()
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// places says where tor may listen, one place for each tor there may be,
// launching tor first if it is ours and not running.
func (t *Tor) places(ctx context.Context) ([]place, error) {
	if t.cfg.Launch {
		a, err := t.launched(ctx)
		return []place{{control: []netx.Addr{a}}}, err
	}
	at := anywhere
	if t.cfg.SOCKS != (netx.Addr{}) {
		at.socks = []netx.Addr{t.cfg.SOCKS}
	}
	switch {
	case t.cfg.Control != (netx.Addr{}):
		at.control = []netx.Addr{t.cfg.Control}
	case t.serves():
		// Any tor that can be controlled will do.
	case t.cfg.SOCKS != (netx.Addr{}):
		// Another tor may have a control port here; its progress would be
		// taken for that of the one whose SOCKS port was configured.
		at.control = nil
	default:
		return usual, nil
	}
	return []place{at}, nil
}

func (t *Tor) serves() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.services)+len(t.dirs) > 0
}

// socksOnly makes do without a control port.
func (t *Tor) socksOnly(ctx context.Context, at netx.Addr, controlErr error) error {
	t.board.update(func(l *Ladder) { l.SOCKS = at })
	if t.serves() {
		return controlErr
	}
	t.board.update(func(l *Ladder) {
		l.attempts++
		l.Problem = ""
		l.Bootstrap = Bootstrap{}
		if t.cfg.Control != (netx.Addr{}) {
			l.Problem = controlErr.Error()
		}
	})
	timer := time.NewTimer(jitter(socksOnlyPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.kick: // a dial failed, or there is a service now
	case <-ctx.Done():
	}
	return nil
}

// joinLooked makes one error of two searches.
func joinLooked(errs ...error) error {
	var all NotFoundError
	for _, err := range errs {
		one, ok := errors.AsType[*NotFoundError](err)
		if !ok {
			return errors.Join(errs...)
		}
		all.Looked = append(all.Looked, one.Looked...)
	}
	return &all
}

// events are what the ladder and the services need to hear, the most important
// last.
var events = []string{"SIGNAL", "CONF_CHANGED", "STATUS_GENERAL", "STATUS_CLIENT", "HS_DESC"}

// prepare sets up a fresh control connection.
func (t *Tor) prepare(ctx context.Context, c *control.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	if t.cfg.Launch {
		if err := c.TakeOwnership(ctx); err != nil {
			return err
		}
		// Ownership of the connection is enough; the process id could be
		// another's one day.
		if err := c.ResetConf(ctx, "__OwningControllerProcess"); err != nil {
			return err
		}
	}
	for _, d := range t.hiddenDirs() {
		d.forget() // what another tor, or another run of it, has said
	}
	if err := t.subscribe(ctx, c); err != nil {
		return err
	}
	return t.refresh(ctx, c)
}

// subscribe asks for events. A filter before tor (Whonix, Tails) knows some of
// them only, and refuses all for one that it does not know.
func (t *Tor) subscribe(ctx context.Context, c *control.Conn) error {
	for i := range len(events) {
		err := c.SetEvents(ctx, events[i:]...)
		if _, refused := errors.AsType[*control.Error](err); !refused {
			return err
		}
		t.log.Debug("tor does not report everything", "err", err)
	}
	t.log.Warn("tor will not say whether onion services are published")
	return ctx.Err()
}

// refresh asks tor for its progress. A refusal is an answer: tor is alive.
func (t *Tor) refresh(ctx context.Context, c *control.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	info, err := c.GetInfo(ctx, "status/bootstrap-phase", "status/circuit-established")
	if _, refused := errors.AsType[*control.Error](err); refused { // a filter may know but one of them
		info, err = c.GetInfo(ctx, "status/bootstrap-phase")
	}
	if _, refused := errors.AsType[*control.Error](err); refused {
		t.board.update(func(l *Ladder) { l.Bootstrap = Bootstrap{} })
		return nil
	}
	if err != nil {
		return err
	}
	t.bootstrapped(control.Keys(info["status/bootstrap-phase"]))
	t.board.update(func(l *Ladder) { l.Bootstrap.NoCircuits = info["status/circuit-established"] == "0" })
	return nil
}

// bootstrapped takes the words of a BOOTSTRAP status.
func (t *Tor) bootstrapped(keys map[string]string) {
	percent, err := strconv.Atoi(keys["PROGRESS"])
	if err != nil || percent < 0 || percent > 100 {
		return
	}
	t.board.update(func(l *Ladder) {
		b := &l.Bootstrap
		if !b.Known || b.Percent != percent {
			*b = Bootstrap{Known: true, Percent: percent, Since: time.Now()}
			if percent == 100 { // however wrong the clock was, it is good enough now
				l.ClockSkew = 0
			}
		}
		b.Summary = keys["SUMMARY"]
		if w := keys["WARNING"]; w != "" { // it stands until there is progress
			b.Warning = w
		}
	})
}

// chooseSOCKS returns the SOCKS port that belongs to the tor behind c.
func (t *Tor) chooseSOCKS(ctx context.Context, c *control.Conn) (netx.Addr, error) {
	if t.cfg.SOCKS != (netx.Addr{}) {
		return t.cfg.SOCKS, nil
	}
	asking, cancel := context.WithTimeout(ctx, commandTime)
	listeners := socksOf(asking, c)
	cancel()
	if t.cfg.Launch { // no need to prove that it is Tor
		if len(listeners) == 0 {
			return netx.Addr{}, errors.New("the tor that we launched opened no SOCKS port")
		}
		return listeners[0], nil
	}
	// tor may not say (a filter before it), or not let us there.
	for _, a := range anywhere.socks {
		if !slices.Contains(listeners, a) {
			listeners = append(listeners, a)
		}
	}
	at, err := t.findSOCKS(ctx, listeners)
	if none, ok := errors.AsType[*NotFoundError](err); ok {
		return netx.Addr{}, &noSOCKSError{none}
	}
	return at, err
}

// noSOCKSError is a tor that can be controlled, and connects to nobody.
type noSOCKSError struct{ none *NotFoundError }

func (e *noSOCKSError) Unwrap() error { return e.none }

func (e *noSOCKSError) Error() string {
	return "tor's control port answers, but no SOCKS port does. Looked at " + strings.Join(e.none.places(), ", ") + "." + e.none.oddities() +
		" Until there is one, nothing can be reached; torrc has a line for it: SocksPort 9050."
}

// stay keeps the onion services published and watches the connection until it
// ends.
func (t *Tor) stay(ctx context.Context, c *control.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	k := keeper{tor: t, control: c, ctx: ctx, kept: map[net.Listener]bool{}}
	defer k.wg.Wait()
	defer cancel()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		k.keepAll()
		select {
		case <-c.Done():
			return c.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-t.added:
		case <-beat.C:
			look := t.refresh
			if l, _ := t.board.look(); l.SOCKS == (netx.Addr{}) {
				look = t.recheck
			}
			if err := look(ctx, c); err != nil {
				return err
			}
		case <-t.kick:
			if err := t.recheck(ctx, c); err != nil {
				return err
			}
		}
	}
}

// recheck looks for the SOCKS port again: a dial found nobody there.
func (t *Tor) recheck(ctx context.Context, c *control.Conn) error {
	at, err := t.chooseSOCKS(ctx, c)
	if err != nil && !t.servesAnyway(ctx, c) {
		return err
	}
	t.board.update(func(l *Ladder) {
		l.attempts++
		l.SOCKS, l.Problem = at, words(err)
	})
	return t.refresh(ctx, c)
}

// onEvent takes what tor reports. It runs on the connection's reading goroutine.
func (t *Tor) onEvent(e control.Event) {
	switch e.Name {
	case "HS_DESC":
		if len(e.Words) > 1 {
			if s := t.serviceOf(e.Words[1]); s != nil {
				s.onDescriptor(e)
				return
			}
			for _, d := range t.hiddenDirs() {
				d.onDescriptor(e)
			}
		}
	case "SIGNAL", "CONF_CHANGED": // a reload drops what was set by SETCONF
		for _, d := range t.hiddenDirs() {
			signal(d.recheck)
		}
	case "STATUS_CLIENT":
		if len(e.Words) < 2 {
			return
		}
		switch e.Words[1] {
		case "BOOTSTRAP":
			t.bootstrapped(e.Keys)
		case "CIRCUIT_ESTABLISHED":
			t.board.update(func(l *Ladder) { l.Bootstrap.NoCircuits = false })
		case "CIRCUIT_NOT_ESTABLISHED":
			t.board.update(func(l *Ladder) { l.Bootstrap.NoCircuits = true })
		}
	case "STATUS_GENERAL":
		if len(e.Words) > 1 && e.Words[1] == "CLOCK_SKEW" {
			if s, err := strconv.ParseInt(e.Keys["SKEW"], 10, 32); err == nil {
				t.log.Warn("tor finds this machine's clock wrong", "skew_seconds", s)
				t.board.update(func(l *Ladder) { l.ClockSkew = time.Duration(s) * time.Second })
			}
		}
	}
}

func (t *Tor) hiddenDirs() []*hiddenDir {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.dirs)
}

func (t *Tor) serviceOf(id string) *service {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.services {
		if s.addr.ServiceID() == id {
			return s
		}
	}
	return nil
}
