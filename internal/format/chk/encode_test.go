package chk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"tahoe-go/internal/format/caps"
)

// zeroReader is n bytes of nothing, cheaply.
func zeroReader(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

func newEncoder(t testing.TB, c Config) *Encoder {
	t.Helper()
	c.Key = testKey
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNewEncoderRefuses(t *testing.T) {
	good := Config{Key: testKey, Size: 100, Params: Params{3, 10, 0}}
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		is     error
	}{
		{"no key", func(c *Config) { c.Key = caps.Key{} }, nil},
		{"no size", func(c *Config) { c.Size = 0 }, ErrUnsupported},
		{"huge", func(c *Config) { c.Size = MaxSize + 1 }, ErrUnsupported},
		{"k=0", func(c *Config) { c.Params.K = 0 }, ErrUnsupported},
		{"k>n", func(c *Config) { c.Params.K = 11 }, ErrUnsupported},
		{"n=257", func(c *Config) { c.Params.N = 257 }, ErrUnsupported},
		{"huge segments", func(c *Config) { c.Params.SegmentSize = MaxSegmentSize + 1 }, ErrUnsupported},
		{"negative segments", func(c *Config) { c.Params.SegmentSize = -1 }, ErrUnsupported},
	} {
		c := good
		tt.change(&c)
		if _, err := NewEncoder(c); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.is)
		}
	}
	if _, err := NewEncoder(good); err != nil {
		t.Errorf("good: %v", err)
	}
}

// A source that is too long, too short or fails ends the sequence with its
// error, and there is no trailer.
func TestSourceErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"short", zeroReader(9999), ErrSourceSize},
		{"short by a segment", zeroReader(9000), ErrSourceSize},
		{"empty", zeroReader(0), ErrSourceSize},
		{"long", zeroReader(10001), ErrSourceSize},
		{"failing", io.MultiReader(zeroReader(5000), iotest.ErrReader(broken)), broken},
		{"failing at the end", io.MultiReader(zeroReader(10000), iotest.ErrReader(broken)), broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEncoder(t, Config{Size: 10000, Params: Params{2, 4, 1000}, Workers: 3})
			var last error
			for seg, err := range e.Segments(t.Context(), tt.r) {
				if last = err; err == nil {
					seg.Release()
				}
			}
			if !errors.Is(last, tt.want) {
				t.Errorf("got %v, want %v", last, tt.want)
			}
			if _, err := e.Trailer(); err == nil {
				t.Error("a trailer was made")
			}
			if tt.want == ErrSourceSize {
				_, err := ConvergentKey(t.Context(), io.LimitReader(zeros{}, 9999), 10000, Params{K: 2, N: 4}, nil)
				if !errors.Is(err, ErrSourceSize) {
					t.Errorf("key of a short source: %v", err)
				}
				_, err = ConvergentKey(t.Context(), zeros{}, 10000, Params{K: 2, N: 4}, nil)
				if !errors.Is(err, ErrSourceSize) {
					t.Errorf("key of an endless source: %v", err)
				}
			}
		})
	}
}

// Leaving the loop, or a context that ends, stops everything; a second run
// is refused.
func TestSegmentsStop(t *testing.T) {
	before := runtime.NumGoroutine()
	e := newEncoder(t, Config{Size: 1 << 20, Params: Params{2, 4, 1000}, Workers: 4})
	for seg, err := range e.Segments(t.Context(), zeros{}) {
		if err != nil {
			t.Fatal(err)
		}
		defer seg.Release() // after the loop: must not block
		if seg.Num == 2 {
			break
		}
	}
	if _, err := e.Trailer(); err == nil {
		t.Error("trailer after a broken loop")
	}
	for _, err := range e.Segments(t.Context(), zeros{}) {
		if err == nil {
			t.Error("second run gave a segment")
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("client left")
	e = newEncoder(t, Config{Size: 1 << 20, Params: Params{2, 4, 1000}, Workers: 4})
	var last error
	for seg, err := range e.Segments(ctx, zeroReader(1<<20)) {
		if last = err; err != nil {
			break
		}
		if seg.Num == 3 {
			cancel(why)
		}
		seg.Release()
	}
	if !errors.Is(last, why) {
		t.Errorf("got %v, want %v", last, why)
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

// Blocks stay what they are until the last Release, however many goroutines
// hold them, and there are never more than InFlight segments.
func TestHold(t *testing.T) {
	plaintext := pat(50_000, 1)
	want := encodeAll(t, Config{Key: testKey, Params: Params{2, 4, 1000}}, plaintext)
	e := newEncoder(t, Config{Size: 50_000, Params: Params{2, 4, 1000}, Workers: 3, InFlight: 5})
	var held sync.WaitGroup
	memory := make(map[*byte]bool)
	for seg, err := range e.Segments(t.Context(), bytes.NewReader(plaintext)) {
		if err != nil {
			t.Fatal(err)
		}
		memory[&seg.Blocks[0][0]] = true
		seg.Hold(len(seg.Blocks))
		for i, block := range seg.Blocks {
			held.Go(func() {
				runtime.Gosched()
				span := want.layout.BlockSpan(seg.Num)
				if !bytes.Equal(block, want.shares[i][span.Off:span.End()]) {
					t.Errorf("block %d of share %d changed", seg.Num, i)
				}
				seg.Release()
			})
		}
		seg.Release()
	}
	held.Wait()
	if len(memory) > 5 {
		t.Errorf("%d buffers for 5 segments in flight", len(memory))
	}
}

// Memory used before leaves no trace, in the padding of a tail least of all.
func TestBuffersReused(t *testing.T) {
	for _, size := range []int{3001, 3002, 3500} {
		plaintext := pat(size, 1)
		c := Config{Key: testKey, Params: Params{7, 20, 1000}, Workers: 1, InFlight: 1}
		used := encodeAll(t, c, plaintext)
		c.InFlight = 100
		fresh := encodeAll(t, c, plaintext)
		for i := range used.shares {
			if !bytes.Equal(used.shares[i], fresh.shares[i]) {
				t.Errorf("%d bytes: share %d differs when buffers are used again", size, i)
			}
		}
	}
}

// Memory does not follow the size of the file: 96 MiB through 128 KiB
// segments. BenchmarkMemory does 2 GiB.
func TestMemoryBound(t *testing.T) {
	peak := peakHeap(t, 96<<20, Params{3, 10, 128 << 10})
	// 4 segments of 437 KiB in flight, 11 hashes a segment, and the
	// collector's doubling.
	if limit := uint64(12 << 20); peak > limit {
		t.Errorf("heap grew by %d bytes, more than %d", peak, limit)
	}
}

// peakHeap encodes size bytes and returns by how much the heap grew at most.
func peakHeap(t testing.TB, size int64, p Params) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	start, peak := m.HeapAlloc, uint64(0)
	e := newEncoder(t, Config{Size: size, Params: p, Workers: 2})
	for seg, err := range e.Segments(t.Context(), zeroReader(size)) {
		if err != nil {
			t.Fatal(err)
		}
		if seg.Num%16 == 0 {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc-min(start, m.HeapAlloc))
		}
		seg.Release()
	}
	if _, err := e.Trailer(); err != nil {
		t.Fatal(err)
	}
	return peak
}

func BenchmarkMemory(b *testing.B) {
	const size = 2 << 30
	b.SetBytes(size)
	var peak uint64
	for b.Loop() {
		peak = max(peak, peakHeap(b, size, Params{3, 10, 1 << 20}))
	}
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}

// A reader that hangs does not keep a cancelled convergence pass.
func TestConvergentKeyCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	if _, err := ConvergentKey(ctx, zeros{}, 1<<40, Params{K: 1, N: 1}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Any piece of a file can be decrypted by itself.
func TestCipherSeek(t *testing.T) {
	c, err := NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, 5000)
	c.XOR(whole, whole, 0)
	for off := range 70 {
		part := make([]byte, 100+off)
		c.XOR(part, part, int64(off))
		if !bytes.Equal(part, whole[off:off+len(part)]) {
			t.Errorf("key stream at %d differs", off)
		}
	}
	if _, err := NewCipher(caps.Key{}); err == nil {
		t.Error("the zero key is taken")
	}
}
