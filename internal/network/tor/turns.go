package tor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/network/tor/socks"
)

// turns spaces out the tries for an onion service that is not to be found. Tor
// asks each of the six directories of a service once in a quarter of an hour,
// and each try whose introduction fails makes it ask the next one: whoever tries
// often while a service restarts does not find it for the rest of that time.
type turns struct {
	mu   sync.Mutex // guards below
	lost map[string]*lostOnion
}

// lostOnion is a service that was not found.
type lostOnion struct {
	err    error // of the last try
	failed time.Time
	times  int
	until  time.Time     // the next try
	trying bool          // somebody does
	news   chan struct{} // closed when any of this has changed
}

const (
	// turnLeast is the pause after the second failure; the first costs none,
	// since it may be the circuit's. Each further failure doubles it.
	turnLeast = 5 * time.Second
	turnMost  = time.Minute
	// lostMost bounds the services that are remembered.
	lostMost = 4096
)

func newTurns() *turns { return &turns{lost: map[string]*lostOnion{}} }

// take returns when host may be tried; done must be called with what came of
// it. A caller who has less time than that is told at once.
func (w *turns) take(ctx context.Context, host string) (done func(error), err error) {
	if !onion.IsOnion(host) {
		return func(error) {}, nil
	}
	host = strings.ToLower(host)
	for {
		w.mu.Lock()
		l := w.lost[host]
		now := time.Now()
		if l == nil || !l.trying && !now.Before(l.until) {
			if l != nil {
				l.trying = l.times > 1
			}
			w.mu.Unlock()
			return func(err error) { w.tried(host, now, err) }, nil
		}
		err, wait, news := l.err, l.until.Sub(now), l.news
		w.mu.Unlock()
		if end, ok := ctx.Deadline(); ok && end.Before(now.Add(wait)) {
			return nil, fmt.Errorf("%w; the next try is in %v, since Tor finds no service for a while that it is asked for too often", err, wait.Round(time.Second))
		}
		var turn <-chan time.Time // never, while somebody tries
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			turn = timer.C
		}
		select {
		case <-turn:
		case <-news:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// tried takes the end of a try that began at start.
func (w *turns) tried(host string, start time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lost[host]
	refused, ok := errors.AsType[*socks.Error](err)
	notFound := ok && refused.NotFound()
	switch {
	case err == nil:
		delete(w.lost, host)
	case l == nil && notFound:
		if len(w.lost) >= lostMost {
			w.forget()
		}
		w.lost[host] = &lostOnion{err: err, failed: time.Now(), times: 1, news: make(chan struct{})}
	case l != nil && notFound && l.failed.Before(start): // of several at once, one counts
		l.err, l.failed = err, time.Now()
		l.times++
		l.until = l.failed.Add(jitter(min(turnLeast<<min(l.times-2, 10), turnMost)))
	}
	if l != nil {
		l.trying = false
		close(l.news)
		l.news = make(chan struct{})
	}
}

// reset forgets everything: there is another tor, which has asked nobody yet.
func (w *turns) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget()
}

func (w *turns) forget() {
	for _, l := range w.lost {
		close(l.news)
		l.news = make(chan struct{})
	}
	clear(w.lost)
}
