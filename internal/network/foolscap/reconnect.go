package foolscap

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"tahoe-go/internal/format/furl"
)

// What a Reconnector waits between its tries: a second, then twice as long each
// time up to five minutes, a quarter more or less. A connection that has lasted
// a while begins anew.
const (
	firstDelay  = time.Second
	longestWait = 5 * time.Minute
	lasting     = time.Minute
)

// lookupTime is for the peer to find an object by its name.
const lookupTime = 90 * time.Second

// State is what a Reconnector is doing.
type State string

// The states.
const (
	Connecting State = "connecting"
	Connected  State = "connected"
	Waiting    State = "waiting" // for the next try
	Stopped    State = "stopped"
)

// Status is a Reconnector's state for people to read.
type Status struct {
	State     State
	Since     time.Time // of the state
	Hint      string    // place that the connection was made to; empty if the peer connected to us
	Inbound   bool      // the peer connected to us
	LastHeard time.Time // of the peer, over the present connection or the last one
	Next      time.Time // when the next try begins, if Waiting
	Failures  int       // in a row
	LastErr   error     // of the last try that failed, or why the last connection ended
}

// KeepOptions say how to stay connected.
type KeepOptions struct {
	Isolation string // see netx.Addr
	// Up is called with a reference to the object for each new connection, in
	// the Reconnector's goroutine: no other connection is made before it
	// returns. The reference is released when the connection ends or with Stop.
	// Up must return when the context ends, which is then, too.
	Up func(ctx context.Context, ref *Ref)
}

// Reconnector keeps a connection to the Tub of an object.
type Reconnector struct {
	tub  *Tub
	furl furl.FURL
	opts KeepOptions

	cancel context.CancelFunc
	done   chan struct{}
	again  chan struct{} // of capacity 1

	mu     sync.Mutex // guards below
	status Status
	ref    *Ref
}

// Keep connects to the object at f, and again whenever the connection ends,
// until Stop or until the Tub closes.
func (t *Tub) Keep(f furl.FURL, o KeepOptions) *Reconnector {
	r := &Reconnector{tub: t, furl: f, opts: o, done: make(chan struct{}), again: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.ctx)
	r.cancel = cancel
	if !t.begin() {
		cancel()
		r.set(Stopped, nil)
		close(r.done)
		return r
	}
	go func() {
		defer t.tasks.Done()
		r.run(ctx)
	}()
	return r
}

// Stop ends the efforts and waits for them. The connection, if there is one,
// goes on.
func (r *Reconnector) Stop() {
	r.cancel()
	<-r.done
}

// Retry tries at once, if a try is due later.
func (r *Reconnector) Retry() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// Status returns the present state.
func (r *Reconnector) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ref != nil {
		r.status.LastHeard = r.ref.conn.LastHeard()
	}
	return r.status
}

// Ref returns the reference, or nil while there is no connection. It is
// released as Up's is.
func (r *Reconnector) Ref() *Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ref
}

func (r *Reconnector) run(ctx context.Context) {
	defer close(r.done)
	defer r.set(Stopped, nil)
	delay := firstDelay
	for ctx.Err() == nil {
		r.set(Connecting, nil)
		lasted, err := r.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if lasted > lasting {
			delay = firstDelay
		}
		r.wait(ctx, delay, err)
		delay = min(2*delay, longestWait)
	}
}

// once connects and stays until the connection ends. It returns how long that
// was.
func (r *Reconnector) once(ctx context.Context) (time.Duration, error) {
	c, err := r.tub.connect(ctx, r.furl, DialOptions{Isolation: r.opts.Isolation})
	if err != nil {
		return 0, err
	}
	short, cancel := context.WithTimeout(ctx, lookupTime)
	ref, err := c.lookup(short, r.furl.Swissnum)
	cancel()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	r.set(Connected, ref)
	up, cancel := context.WithCancel(ctx)
	stop := ref.OnLost(cancel)
	if r.opts.Up != nil {
		r.opts.Up(up, ref)
	}
	<-up.Done()
	stop()
	cancel()
	r.set(Waiting, nil)
	ref.Release()
	return time.Since(began), ref.conn.Err()
}

// wait until it is time for the next try, or the peer has connected to us.
func (r *Reconnector) wait(ctx context.Context, delay time.Duration, err error) {
	delay = time.Duration(float64(delay) * (0.75 + rand.Float64()/2))
	r.mu.Lock()
	r.status.State, r.status.Since = Waiting, time.Now()
	r.status.Next = time.Now().Add(delay)
	r.status.LastErr = err
	r.status.Failures++
	r.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		_, changed := r.tub.connected(r.furl.TubID)
		select {
		case <-changed:
			if c, _ := r.tub.connected(r.furl.TubID); c != nil {
				return
			}
		case <-timer.C:
			return
		case <-r.again:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (r *Reconnector) set(s State, ref *Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ref != nil {
		r.status.LastHeard = r.ref.conn.LastHeard()
	}
	r.ref = ref
	r.status.State, r.status.Since, r.status.Next = s, time.Now(), time.Time{}
	if ref != nil {
		info := ref.conn.info
		r.status.Hint, r.status.Inbound, r.status.LastHeard = info.Hint, info.Inbound, ref.conn.LastHeard()
		r.status.Failures, r.status.LastErr = 0, nil
	}
}
