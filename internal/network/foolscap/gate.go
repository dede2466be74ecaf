package foolscap

import (
	"context"
	"sync"
)

// gate bounds calls that are under way, in number and in bytes. One call may
// exceed the bytes, so that none is too large to ever begin.
type gate struct {
	maxCalls int
	maxBytes int64

	mu    sync.Mutex // guards below
	calls int
	bytes int64
	freed chan struct{} // closed and replaced by leave, if somebody waits
}

// enter waits for room for one more call.
func (g *gate) enter(ctx context.Context, lost <-chan struct{}) error {
	for {
		g.mu.Lock()
		if g.calls < g.maxCalls && g.bytes < g.maxBytes {
			g.calls++
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

// force is enter for a call that does not wait.
func (g *gate) force() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
}

// add counts the bytes of a call that has entered.
func (g *gate) add(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += n
}

// leave ends a call for which n bytes were added.
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
