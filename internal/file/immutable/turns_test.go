package immutable

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/storage/faultstore"
)

// Equal files that are stored at the same time, as by cp -r of a folder with
// copies in it, do not keep each other from being stored: servers refuse room
// for shares that somebody else is sending.
func TestEqualFilesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 3)
		g.always(faultstore.Allocate, faultstore.Fault{Delay: 50 * time.Millisecond})
		c := newClient(t, g, 1, 2, 3)
		data := content(20_000)
		var wg sync.WaitGroup
		results := make([]*Result, 5)
		for i := range results {
			wg.Go(func() {
				var err error
				if results[i], err = c.Upload(t.Context(), source(data), nil); err != nil {
					t.Errorf("upload %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		pushed := 0
		for _, r := range results {
			if r != nil {
				pushed += r.Pushed
			}
		}
		if pushed != 3 {
			t.Errorf("%d shares were sent, want 3: each once", pushed)
		}
		if n := len(c.turns.of); n != 0 {
			t.Errorf("%d files have turns for ever", n)
		}
	})
}

// Who waits for a turn can leave.
func TestTurnIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s turns
		done, err := s.take(t.Context(), [16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.take(t.Context(), [16]byte{2})
		if err != nil {
			t.Fatal(err)
		}
		other()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.take(ctx, [16]byte{1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting in vain: %v", err)
		}
		done()
		if done, err = s.take(t.Context(), [16]byte{1}); err != nil {
			t.Fatal(err)
		}
		done()
		if len(s.of) != 0 {
			t.Errorf("left: %v", s.of)
		}
	})
}
