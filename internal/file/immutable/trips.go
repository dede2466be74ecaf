package immutable

import (
	"sync"
	"time"
)

const (
	// longTrip is how long an answer takes of servers that are worth a guess
	// what they hold.
	longTrip = 50 * time.Millisecond
	// slowTrip is how much longer than the quickest server's an answer takes
	// of a server that is used only where it must be.
	slowTrip = 3
	maxTrips = 1 << 12 // servers remembered
)

// trips remembers how long servers took to answer a short question.
type trips struct {
	mu    sync.Mutex // guards below
	quick time.Duration
	last  map[string]time.Duration
	wrong bool // the last guess was
}

// guessed notes how a guess came out.
func (t *trips) guessed(right bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = !right
}

// lucky reports whether guesses may be relied on.
func (t *trips) lucky() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.wrong
}

func (t *trips) note(server string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quick == 0 || took < t.quick {
		t.quick = took
	} else {
		t.quick += (took - t.quick) / 16 // what was quick once may not stay so
	}
	if t.last == nil || len(t.last) >= maxTrips {
		t.last = map[string]time.Duration{}
	}
	t.last[server] = took
}

// far reports whether all servers are far away, and this one not much farther
// than others.
func (t *trips) far(server string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	took, ok := t.last[server]
	return ok && t.quick > longTrip && took < slowTrip*t.quick
}

// slow reports whether a server is much slower than others.
func (t *trips) slow(server string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last[server] > slowTrip*t.quick
}
