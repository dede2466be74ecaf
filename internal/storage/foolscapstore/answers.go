package foolscapstore

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"tahoe-go/internal/network/foolscap"
)

// Who takes its answers slowly may do so as long as nobody waits for the room
// they take: one who has waited for answerWait has the slowest dropped, if it has
// taken no answer for answerSlow.
const (
	answerWait = 10 * time.Second
	answerSlow = 2 * time.Minute
)

var errSlow = errors.New("it takes its answers too slowly, and others wait")

// answers bounds the share data in answers that are not encoded yet: of one
// connection, so that a peer that does not read its answers holds up nobody
// else, and of all.
type answers struct {
	all *semaphore.Weighted
	max int64
	log *slog.Logger

	mu   sync.Mutex // guards below
	each map[*foolscap.Conn]*peerAnswers
}

// peerAnswers are those of one connection.
type peerAnswers struct {
	*semaphore.Weighted

	// guarded by answers.mu
	users int       // calls that wait for room or have some
	held  int       // calls that have room in all
	since time.Time // when the first of them got it, or another was answered
}

func newAnswers(max int64, log *slog.Logger) *answers {
	return &answers{all: semaphore.NewWeighted(max), max: max, log: log, each: make(map[*foolscap.Conn]*peerAnswers)}
}

// enter waits for room for n bytes, which is given back when the call c has
// been answered.
func (a *answers) enter(ctx context.Context, c *foolscap.Call, n int64) error {
	n = min(n, maxRead, a.max)
	each := a.of(c.Conn)
	c.Done(func() { a.leave(c.Conn) })
	if err := each.Acquire(ctx, n); err != nil {
		return err
	}
	for {
		short, cancel := context.WithTimeout(ctx, answerWait)
		err := a.all.Acquire(short, n)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			each.Release(n)
			return err
		}
		a.dropSlowest(c.Conn)
	}
	a.hold(each, 1)
	c.Done(func() {
		a.hold(each, -1)
		a.all.Release(n)
		each.Release(n)
	})
	return nil
}

func (a *answers) of(conn *foolscap.Conn) *peerAnswers {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.each[conn]
	if p == nil {
		p = &peerAnswers{Weighted: semaphore.NewWeighted(maxRead)}
		a.each[conn] = p
	}
	p.users++
	return p
}

func (a *answers) leave(conn *foolscap.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.each[conn]; p != nil {
		if p.users--; p.users == 0 {
			delete(a.each, conn)
		}
	}
}

// hold counts calls that have got room, or that give it back.
func (a *answers) hold(p *peerAnswers, calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.held == 0 || calls < 0 {
		p.since = time.Now()
	}
	p.held += calls
}

// dropSlowest ends the connection that has longest taken no answer, for
// another.
func (a *answers) dropSlowest(forThe *foolscap.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var slowest *foolscap.Conn
	for conn, p := range a.each {
		if conn != forThe && p.held > 0 && time.Since(p.since) >= answerSlow && (slowest == nil || p.since.Before(a.each[slowest].since)) {
			slowest = conn
		}
	}
	if slowest == nil || slowest.Err() != nil {
		return
	}
	a.log.Info("dropped a client that takes its answers too slowly, for others who wait", "peer", slowest.Peer(), "since", a.each[slowest].since)
	slowest.Drop(errSlow)
}
