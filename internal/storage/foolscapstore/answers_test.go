package foolscapstore

import (
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/tubcert"
)

// readers asks for so many pieces of 1 MiB over a connection of its own, and
// returns when they are there or not.
func (r *rig) readPieces(t *testing.T, host string, pieces int) (took time.Duration, failed int) {
	t.Helper()
	cert, err := tubcert.Ephemeral()
	must(t, err)
	tub := newTub(t, foolscap.Config{Cert: cert, Network: r.net.Host(host)})
	defer closeTub(tub)
	ref, err := tub.Dial(t.Context(), r.furl, foolscap.DialOptions{})
	must(t, err)
	v, err := ref.Call(t.Context(), "get_buckets", nil, testIndex)
	must(t, err)
	b := v.(banana.Dict)[0].Value.(*foolscap.Ref)
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range pieces {
		wg.Go(func() {
			if _, err := b.Call(t.Context(), "read", nil, int64(i)<<20, int64(1<<20)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed++
			}
		})
	}
	wg.Wait()
	return time.Since(start), failed
}

// storeShare leaves a share of so many bytes.
func (r *rig) storeShare(t *testing.T, size int64) {
	t.Helper()
	w := r.bucket(t, 0, size)
	for off := int64(0); off < size; off += 1 << 20 {
		must(t, call(t, w, "write", off, make([]byte, min(1<<20, size-off))))
	}
	must(t, call(t, w, "close"))
}

// TestSlowReader: who takes its answers by the spoonful has them, as long as
// nobody else waits for the room they take; else it is dropped.
func TestSlowReader(t *testing.T) {
	const pieces = 8
	slow := memnet.Link{Bandwidth: 400} // 16 KiB in less time than Limits.Stall
	t.Run("alone", func(t *testing.T) {
		bubble(t, nil, HandlerConfig{MaxAnswers: 2 << 20}, func(t *testing.T, r *rig) {
			r.storeShare(t, pieces<<20)
			r.net.SetLink("spoon", "server", memnet.Link{Bandwidth: 4000})
			if took, failed := r.readPieces(t, "spoon", pieces); failed > 0 || took < 30*time.Minute {
				t.Errorf("%d of %d pieces failed after %v", failed, pieces, took)
			}
		})
	})
	t.Run("in the way", func(t *testing.T) {
		bubble(t, nil, HandlerConfig{MaxAnswers: 2 << 20}, func(t *testing.T, r *rig) {
			r.storeShare(t, pieces<<20)
			r.net.SetLink("spoon", "server", slow)
			done := make(chan int, 1)
			go func() {
				_, failed := r.readPieces(t, "spoon", pieces)
				done <- failed
			}()
			time.Sleep(10 * time.Minute)
			if took, failed := r.readPieces(t, "good", pieces); failed > 0 || took > time.Minute {
				t.Errorf("another client waited for %v, and %d pieces failed", took, failed)
			}
			if failed := <-done; failed == 0 {
				t.Error("the slow one was not dropped")
			}
			if log := r.log.String(); !strings.Contains(log, "dropped a client that takes its answers too slowly") {
				t.Error("it was not logged")
			}
		})
	})
}
