package memnet

import (
	"net"
	"os"
	"sync"
	"time"
)

// wire is an established connection. End 0 dialled, end 1 accepted.
type wire struct {
	net  *Net
	link *link

	mu      sync.Mutex // guards below
	ends    [2]end     // host and addr are constant
	carried int64      // bytes, both ways
	killed  bool       // the Net is closed
	waiting int        // goroutines at changed
	changed chan struct{}
}

// end is what one side's kernel knows.
type end struct {
	host *Host
	addr Endpoint

	in        []segment // sent to this end, not yet read; arrival times do not decrease
	inSize    int       // bytes in it
	finAt     time.Time // when the other side's FIN arrives; zero: it has sent none
	resetAt   time.Time // when a reset arrives; zero: none on its way
	lastSent  time.Time // arrival of the latest thing this end has sent
	closed    bool      // by Close; the program may use it no more
	finSent   bool      // by CloseWrite or Close
	abandoned bool      // nobody holds this end: it was never accepted

	readBy, writeBy time.Time     // deadlines
	writing         chan struct{} // holds one token while a Write runs. No mutex: its waiters would keep a bubble awake
}

type segment struct {
	data []byte
	at   time.Time
}

// newWire needs n.mu.
func newWire(n *Net, l *link, from, to *Host, fromAddr, toAddr Endpoint) (client, server *Conn) {
	w := &wire{net: n, link: l, changed: make(chan struct{})}
	w.ends[0] = end{host: from, addr: fromAddr, writing: make(chan struct{}, 1)}
	w.ends[1] = end{host: to, addr: toAddr, writing: make(chan struct{}, 1)}
	n.wires[w] = struct{}{}
	return &Conn{w, 0}, &Conn{w, 1}
}

// usable says why a call that must be over by deadline cannot go on.
func (e *end) usable(now, deadline time.Time) error {
	if e.closed {
		return net.ErrClosed
	}
	if reached(deadline, now) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func reached(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// finFirst: a reset that follows the other side's FIN is no news to a reader.
func (e *end) finFirst() bool {
	return !e.finAt.IsZero() && (e.resetAt.IsZero() || !e.finAt.After(e.resetAt))
}

// take moves bytes that have arrived to p.
func (e *end) take(p []byte, now time.Time) int {
	n := 0
	for n < len(p) && len(e.in) > 0 && reached(e.in[0].at, now) {
		k := copy(p[n:], e.in[0].data)
		n += k
		e.in[0].data = e.in[0].data[k:]
		if len(e.in[0].data) == 0 {
			e.in[0] = segment{}
			e.in = e.in[1:]
		}
	}
	e.inSize -= n
	return n
}

func (e *end) resetBy(at time.Time) {
	if e.resetAt.IsZero() || at.Before(e.resetAt) {
		e.resetAt = at
	}
}

// forget drops a wire that nobody holds any more. Needs w.mu.
func (w *wire) forget() {
	for i := range w.ends {
		if !w.ends[i].closed && !w.ends[i].abandoned {
			return
		}
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	delete(w.net.wires, w)
}

// abandon marks an end that no program will ever hold.
func (w *wire) abandon(side int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[side].abandoned = true
}

// cut resets both ends now.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reset(time.Now())
	w.broadcast()
}

// reset loses what is on the way. Needs w.mu.
func (w *wire) reset(now time.Time) {
	for i := range w.ends {
		e := &w.ends[i]
		e.resetBy(now)
		for j, s := range e.in {
			if s.at.After(now) {
				for _, lost := range e.in[j:] {
					e.inSize -= len(lost.data)
				}
				e.in = e.in[:j]
				break
			}
		}
	}
}

// kill fails both ends for good, faults or not.
func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed = true
	w.broadcast()
}

func (w *wire) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	open := 0
	for i := range w.ends {
		if !w.ends[i].closed && !w.ends[i].abandoned {
			open++
		}
	}
	return open
}

// passable needs w.mu.
func (w *wire) passable() (bool, <-chan struct{}) {
	return w.net.passable(w.ends[0].host, w.ends[1].host, w.link)
}

// broadcast wakes those in wait. Needs w.mu.
func (w *wire) broadcast() {
	if w.waiting > 0 {
		close(w.changed)
		w.changed = make(chan struct{})
		w.waiting = 0
	}
}

// wait gives w.mu away until something has changed or the first of the times
// (zero ones aside) has come.
func (w *wire) wait(now time.Time, healed <-chan struct{}, times ...time.Time) {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	var timeout <-chan time.Time
	if !first.IsZero() {
		timer := time.NewTimer(first.Sub(now))
		defer timer.Stop()
		timeout = timer.C
	}
	w.waiting++
	changed := w.changed
	w.mu.Unlock()
	select {
	case <-changed:
	case <-healed:
	case <-timeout:
	}
	w.mu.Lock()
}
