package foolscap

import (
	"context"
	"sync"
)

// gate bounds calls that are under way, in number and in bytes. One call may
// exceed the bytes, so that none is too large to ever begin.
//
// A side lets the peer have twice as many calls under way as it has itself. So
// two Tubs of this kind that write to each other with all their might never
// both stop reading, which would be for ever.
type gate struct {
	maxCalls int
	maxBytes int64

	mu    sync.Mutex // guards below
	calls int
	bytes int64
	freed chan struct{} // closed and replaced by leave, if somebody waits
}

// enter waits for room for one more call, of n bytes.
func (g *gate) enter(ctx context.Context, lost <-chan struct{}, n int64) error {
	for {
		g.mu.Lock()
		if g.calls < g.maxCalls && (g.bytes == 0 || g.bytes+n < g.maxBytes) {
			g.calls++
			g.bytes += n
			g.mu.Unlock()
			return nil
		}
		if g.freed == nil {
			g.freed = make(chan struct{})
		}
		freed := g.freed
		g.mu.Unlock()
		select {
		case <-freed:
		case <-lost:
			return nil // the caller finds out
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// force is enter for a small call that does not wait.
func (g *gate) force() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
}

// add counts more bytes of a call that has entered.
func (g *gate) add(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += n
}

// leave ends a call that counts n bytes.
func (g *gate) leave(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	g.bytes -= n
	if g.freed != nil {
		close(g.freed)
		g.freed = nil
	}
}
