package foolscapstore

import (
	"bytes"
	"context"
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

var someLeases = storage.LeaseSecrets{Renew: redact.New(string(bytes.Repeat([]byte{1}, 32))), Cancel: redact.New(string(bytes.Repeat([]byte{2}, 32)))}

// benchSize is one share; benchPiece is what an upload writes and a download
// reads at once.
const benchSize, benchPiece = 100 << 20, 350 << 10

// BenchmarkWrite sends a share of 100 MiB in the pieces of a file at 3-of-10
// to a server that discards it, over TLS on loopback. Both ends share the
// machine.
func BenchmarkWrite(b *testing.B) {
	r := loopbackRig(b, discard{}, HandlerConfig{})
	c := r.newClient(b, Config{})
	data := bytes.Repeat([]byte{7}, benchPiece)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	var si storage.Index
	for b.Loop() {
		si[0]++
		a, err := c.Allocate(b.Context(), si, []storage.ShareNum{0}, benchSize, someLeases)
		if err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < benchSize; off += benchPiece {
			if err := a.Writers[0].WriteAt(b.Context(), data[:min(benchPiece, benchSize-off)], off); err != nil {
				b.Fatal(err)
			}
		}
		if err := a.Writers[0].Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads a share of 100 MiB: in the pieces of a file at 3-of-10,
// three readers at once, and in pieces of 4 MiB.
func BenchmarkRead(b *testing.B) {
	store := memstore.New(memstore.Config{})
	a, err := store.Allocate(b.Context(), storage.Index{}, []storage.ShareNum{0}, benchSize, someLeases)
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Writers[0].WriteAt(b.Context(), bytes.Repeat([]byte{7}, benchSize), 0); err != nil {
		b.Fatal(err)
	}
	if err := a.Writers[0].Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	for name, piece := range map[string]int64{"350KiB": benchPiece, "4MiB": 4 << 20} {
		b.Run(name, func(b *testing.B) {
			r := loopbackRig(b, store, HandlerConfig{})
			c := r.newClient(b, Config{})
			shares, err := c.Shares(b.Context(), storage.Index{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(piece)
			b.ReportAllocs()
			b.SetParallelism(2)
			b.RunParallel(func(p *testing.PB) {
				buf := make([]byte, piece)
				for off := int64(0); p.Next(); off = (off + piece) % (benchSize - piece) {
					if _, err := shares[0].ReadAt(b.Context(), buf, off); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
