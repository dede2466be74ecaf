package immutable

import (
	"context"
	"sync"

	"tahoe-go/internal/storage"
)

// turns are taken by the uploads of equal files in one node. Servers refuse
// room for a share that somebody is sending already, so that two at once would
// spoil each other; the second finds all shares in place when it waits.
type turns struct {
	mu sync.Mutex // guards below
	of map[storage.Index]*turn
}

// turn is had by one upload of a file at a time.
type turn struct {
	taken chan struct{} // full while somebody has it
	users int           // that have it or wait for it; turns.mu guards it
}

// take waits for the turn of a file. Call done when the upload is over. The
// error is ctx's.
func (s *turns) take(ctx context.Context, si storage.Index) (done func(), err error) {
	s.mu.Lock()
	t := s.of[si]
	if t == nil {
		if s.of == nil {
			s.of = map[storage.Index]*turn{}
		}
		t = &turn{taken: make(chan struct{}, 1)}
		s.of[si] = t
	}
	t.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(s.of, si)
		}
	}
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
