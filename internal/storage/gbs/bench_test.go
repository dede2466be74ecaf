package gbs

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// discard is a server that takes every share and keeps none.
type discard struct{ storage.Server }

type nowhere struct{}

func (discard) Allocate(_ context.Context, _ storage.Index, nums []storage.ShareNum, _ int64, _ storage.LeaseSecrets) (*storage.Allocation, error) {
	a := &storage.Allocation{Writers: map[storage.ShareNum]storage.ShareWriter{}}
	for _, num := range nums {
		a.Writers[num] = nowhere{}
	}
	return a, nil
}

func (nowhere) WriteAt(context.Context, []byte, int64) error { return nil }
func (nowhere) Close(context.Context) error                  { return nil }
func (nowhere) Abort(context.Context) error                  { return nil }

var benchLeases = storage.LeaseSecrets{Renew: redact.New(string(bytes.Repeat([]byte{1}, 32))), Cancel: redact.New(string(bytes.Repeat([]byte{2}, 32)))}

const benchPiece, benchPieces, benchShares = 1 << 20, 16, 4

// BenchmarkWrite sends shares of 16 MiB in pieces of 1 MiB to a server that
// discards them, over TLS on loopback: one share after the other, or four at
// once on as many connections. Both ends share the machine.
func BenchmarkWrite(b *testing.B) {
	for name, shares := range map[string]int{"shares=1": 1, "shares=4": benchShares} {
		b.Run(name, func(b *testing.B) {
			r := newLoopbackRig(b, discard{}, HandlerConfig{})
			c := r.newClient(b, Config{})
			data := bytes.Repeat([]byte{7}, benchPiece)
			b.SetBytes(int64(shares) * benchPieces * benchPiece)
			b.ReportAllocs()
			var si storage.Index
			for b.Loop() {
				si[0]++
				var nums []storage.ShareNum
				for i := range shares {
					nums = append(nums, storage.ShareNum(i))
				}
				a, err := c.Allocate(b.Context(), si, nums, benchPieces*benchPiece, benchLeases)
				if err != nil {
					b.Fatal(err)
				}
				var wg sync.WaitGroup
				for _, w := range a.Writers {
					wg.Go(func() {
						for i := range int64(benchPieces) {
							if err := w.WriteAt(b.Context(), data, i*benchPiece); err != nil {
								b.Error(err)
							}
						}
						if err := w.Close(b.Context()); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
		})
	}
}

// BenchmarkRead reads shares of 16 MiB from memory in pieces of 1 MiB, over
// TLS on loopback.
func BenchmarkRead(b *testing.B) {
	for name, shares := range map[string]int{"shares=1": 1, "shares=4": benchShares} {
		b.Run(name, func(b *testing.B) {
			store := memstore.New(memstore.Config{})
			r := newLoopbackRig(b, store, HandlerConfig{})
			c := r.newClient(b, Config{})
			fill(b, store, storage.Index{}, shares, benchPieces*benchPiece)
			readers, err := c.Shares(b.Context(), storage.Index{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(shares) * benchPieces * benchPiece)
			b.ReportAllocs()
			for b.Loop() {
				var wg sync.WaitGroup
				for _, r := range readers {
					wg.Go(func() {
						p := make([]byte, benchPiece)
						for i := range int64(benchPieces) {
							if _, err := r.ReadAt(b.Context(), p, i*benchPiece); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			}
		})
	}
}

// BenchmarkVersion is what a peer's poll costs.
func BenchmarkVersion(b *testing.B) {
	r := newLoopbackRig(b, nil, HandlerConfig{})
	c := r.newClient(b, Config{})
	for b.Loop() {
		if _, err := c.Version(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// fill puts shares 0..n-1 of the given size straight into a store.
func fill(t testing.TB, s storage.Server, si storage.Index, n int, size int) {
	t.Helper()
	var nums []storage.ShareNum
	for i := range n {
		nums = append(nums, storage.ShareNum(i))
	}
	a, err := s.Allocate(t.Context(), si, nums, int64(size), benchLeases)
	if err != nil || len(a.Writers) != n {
		t.Fatalf("Allocate: %v, %v", a, err)
	}
	for num, w := range a.Writers {
		if err := w.WriteAt(t.Context(), shareBytes(num, size), 0); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// shareBytes is the content that fill gives share num.
func shareBytes(num storage.ShareNum, size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16) ^ byte(num)
	}
	return p
}
