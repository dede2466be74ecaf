package storagetest

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"tahoe-go/internal/storage"
)

var writeCases = []Case{
	{"OnePiece", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(1000)
		put(t, s, si, 3, data)
		wantShares(t, s, si, 3)
		wantData(t, s, si, 3, data)
	}},
	{"OneByte", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(1)
		put(t, s, si, 0, data)
		wantData(t, s, si, 0, data)
	}},
	{"ZeroSize", func(t *testing.T, s storage.Server) {
		// No share is empty, and HTTP has no way to complete one, so a
		// server may refuse; one that accepts keeps it.
		si := newIndex()
		a, err := s.Allocate(t.Context(), si, nums(0), 0, newSecrets())
		if err != nil || a.Writers[0] == nil {
			return
		}
		if err := a.Writers[0].Close(t.Context()); err != nil {
			abort(t, a.Writers[0])
			wantShares(t, s, si)
			return
		}
		wantData(t, s, si, 0, nil)
	}},
	{"AnyOrder", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(10_007)
		w := begin(t, s, si, 0, int64(len(data)))
		const step = 613
		pieces := rand.Perm((len(data) + step - 1) / step)
		for _, i := range pieces {
			write(t, w, data[i*step:min(len(data), (i+1)*step)], int64(i*step))
		}
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"OverlapSame", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		write(t, w, data[10:40], 10)
		write(t, w, data[60:90], 60)
		write(t, w, data[20:70], 20) // bridges both
		write(t, w, data[10:40], 10) // once more
		write(t, w, data, 0)         // over everything
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"OverlapConflict", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		write(t, w, data[10:40], 10)
		other := bytes.Clone(data)
		other[39] ^= 1
		wantErr(t, "overlap of one differing byte", w.WriteAt(t.Context(), other[39:60], 39), storage.ErrConflict)
		wantErr(t, "the whole with one byte differing", w.WriteAt(t.Context(), other, 0), storage.ErrConflict)
		// The refused bytes left no trace.
		write(t, w, data, 0)
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"TooLarge", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		for _, tt := range []struct {
			n   int
			off int64
		}{{101, 0}, {1, 100}, {51, 50}, {1, math.MaxInt64}, {2, math.MaxInt64 - 1}} {
			wantErr(t, "writing past the end", w.WriteAt(t.Context(), make([]byte, tt.n), tt.off), storage.ErrTooLarge)
		}
		if err := w.WriteAt(t.Context(), []byte{1}, -1); err == nil {
			t.Error("WriteAt(-1) succeeded")
		}
		write(t, w, data, 0)
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"CloseIncomplete", func(t *testing.T, s storage.Server) {
		for name, tt := range map[string]struct{ from, to int }{
			"nothing": {0, 0}, "no start": {1, 100}, "no end": {0, 99},
		} {
			si, data := newIndex(), content(100)
			w := begin(t, s, si, 0, 100)
			if tt.from < tt.to {
				write(t, w, data[tt.from:tt.to], int64(tt.from))
			}
			wantErr(t, "Close with bytes missing ("+name+")", w.Close(t.Context()), storage.ErrIncomplete)
			wantShares(t, s, si)
			abort(t, w)
			wantShares(t, s, si)
			put(t, s, si, 0, data) // the number is free again
		}
	}},
	{"CloseIncompleteThenComplete", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		write(t, w, data[:99], 0)
		wantErr(t, "Close with a byte missing", w.Close(t.Context()), storage.ErrIncomplete)
		write(t, w, data[99:], 99)
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"NotReadableBeforeClose", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		write(t, w, data[:99], 0)
		wantShares(t, s, si)
		write(t, w, data[99:], 99)
		finish(t, w)
		wantShares(t, s, si, 0)
	}},
	{"AfterTheEnd", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(10)
		w := begin(t, s, si, 0, 10)
		write(t, w, data, 0)
		finish(t, w)
		wantErr(t, "WriteAt after Close", w.WriteAt(t.Context(), data, 0), storage.ErrClosed)
		wantErr(t, "second Close", w.Close(t.Context()), storage.ErrClosed)
		abort(t, w) // does nothing
		wantData(t, s, si, 0, data)

		w = begin(t, s, si, 1, 10)
		abort(t, w)
		abort(t, w)
		wantErr(t, "WriteAt after Abort", w.WriteAt(t.Context(), data, 0), storage.ErrClosed)
		wantErr(t, "Close after Abort", w.Close(t.Context()), storage.ErrClosed)
		wantShares(t, s, si, 0)
	}},
	{"BufferIsNotRetained", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		buf := bytes.Clone(data)
		write(t, w, buf[:50], 0)
		write(t, w, buf[50:], 50)
		clear(buf)
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"Big", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(5<<20+17)
		w := begin(t, s, si, 9, int64(len(data)))
		for off := 0; off < len(data); off += 1 << 20 {
			write(t, w, data[off:min(len(data), off+1<<20)], int64(off))
		}
		finish(t, w)
		wantData(t, s, si, 9, data)
	}},
	{"ConcurrentWritesToOneShare", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(64_000)
		w := begin(t, s, si, 0, int64(len(data)))
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				// Each writer overlaps its neighbour by 1,000 bytes.
				from, to := i*8000, min(len(data), i*8000+9000)
				if err := w.WriteAt(t.Context(), data[from:to], int64(from)); err != nil {
					t.Errorf("WriteAt: %v", err)
				}
			})
		}
		wg.Wait()
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"ConcurrentUploads", func(t *testing.T, s storage.Server) {
		indexes := []storage.Index{newIndex(), newIndex(), newIndex()}
		data := content(3000)
		var wg sync.WaitGroup
		for i := range 12 {
			si, num := indexes[i%3], storage.ShareNum(i)
			wg.Go(func() {
				a, err := s.Allocate(t.Context(), si, nums(num), int64(len(data)), newSecrets())
				if err != nil || a.Writers[num] == nil {
					t.Errorf("Allocate share %d: %v, %v", num, a, err)
					return
				}
				if err := a.Writers[num].WriteAt(t.Context(), data, 0); err != nil {
					t.Errorf("WriteAt: %v", err)
				}
				if err := a.Writers[num].Close(t.Context()); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		wg.Wait()
		for i := range 12 {
			wantData(t, s, indexes[i%3], storage.ShareNum(i), data)
		}
	}},
	{"ConcurrentAllocatesOneWins", func(t *testing.T, s storage.Server) {
		si := newIndex()
		writers := make(chan storage.ShareWriter, 8)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				a, err := s.Allocate(t.Context(), si, nums(0), 10, newSecrets())
				if err == nil && a.Writers[0] != nil {
					writers <- a.Writers[0]
				}
			})
		}
		wg.Wait()
		close(writers)
		if len(writers) != 1 {
			t.Errorf("%d of 8 concurrent Allocates got a writer; want 1", len(writers))
		}
		for w := range writers {
			abort(t, w)
		}
	}},
	{"CancelledWhileWriting", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		ctx, cancel := cancelled(t)
		defer cancel()
		if err := w.WriteAt(ctx, data, 0); err == nil {
			t.Error("WriteAt with a cancelled context succeeded")
		}
		if err := w.Close(ctx); err == nil || errors.Is(err, storage.ErrClosed) {
			t.Errorf("Close with a cancelled context: %v", err)
		}
		wantShares(t, s, si)
		abort(t, w)
		put(t, s, si, 0, data)
	}},
}
