package diskstore

import (
	"fmt"
	"testing"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

var benchSecrets = storage.LeaseSecrets{
	Renew:  redact.New("0123456789abcdef0123456789abcdef"),
	Cancel: redact.New("fedcba9876543210fedcba9876543210"),
}

func upload(t testing.TB, s *Store, si storage.Index, num storage.ShareNum, data []byte, piece int) {
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{num}, int64(len(data)), benchSecrets)
	if err != nil {
		t.Fatal(err)
	}
	w := a.Writers[num]
	for off := 0; off < len(data); off += piece {
		if err := w.WriteAt(t.Context(), data[off:min(len(data), off+piece)], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkCreate is the durable creation of one 44 KiB share under an index
// of its own in a prefix directory that is there: three syncs. The machine's
// limit beside it, with two: BenchmarkCreateRaw.
func BenchmarkCreate(b *testing.B) {
	s := openTest(b, Config{})
	data := make([]byte, 44<<10)
	var i uint32
	for b.Loop() {
		i++
		upload(b, s, storage.Index{0, 0, byte(i), byte(i >> 8), byte(i >> 16)}, 0, data, len(data))
	}
}

// BenchmarkCreateRaw is the machine's limit: one file written, synced, renamed
// and its directory synced.
func BenchmarkCreateRaw(b *testing.B) {
	d, err := openDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	data := make([]byte, 44<<10)
	do := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	var i int
	for b.Loop() {
		i++
		f, err := d.Create("tmp")
		do(err)
		_, err = f.WriteAt(data, 0)
		do(err)
		do(f.Sync())
		do(f.Close())
		do(d.Rename("tmp", fmt.Sprint(i)))
		do(d.SyncDir("."))
	}
}

// BenchmarkWrite is the writing of one share in pieces, its end included.
func BenchmarkWrite(b *testing.B) {
	for _, discard := range []bool{false, true} {
		for _, piece := range []int{128 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("discard=%v/%dKiB", discard, piece>>10), func(b *testing.B) {
				s := openTest(b, Config{Discard: discard})
				data := make([]byte, piece)
				const size = 64 << 20
				b.SetBytes(size)
				var i uint32
				for b.Loop() {
					i++
					si := storage.Index{byte(i), byte(i >> 8)}
					a, err := s.Allocate(b.Context(), si, []storage.ShareNum{0}, size, benchSecrets)
					if err != nil {
						b.Fatal(err)
					}
					for off := int64(0); off < size; off += int64(piece) {
						if err := a.Writers[0].WriteAt(b.Context(), data, off); err != nil {
							b.Fatal(err)
						}
					}
					if err := a.Writers[0].Close(b.Context()); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := s.shares.RemoveAll(indexDir(si)); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkRead is ReadAt alone and, as a server does it for each request,
// after Shares.
func BenchmarkRead(b *testing.B) {
	s := openTest(b, Config{})
	si := storage.Index{1}
	for num := range storage.ShareNum(10) {
		upload(b, s, si, num, make([]byte, 4<<20), 1<<20)
	}
	r := reader{s, key{si, 0}}
	for _, piece := range []int{4 << 10, 128 << 10, 1 << 20} {
		p := make([]byte, piece)
		b.Run(fmt.Sprintf("%dKiB", piece>>10), func(b *testing.B) {
			b.SetBytes(int64(piece))
			for b.Loop() {
				if _, err := r.ReadAt(b.Context(), p, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Shares of 10", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Shares(b.Context(), si); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSlotChange is the durable overwrite of one mutable share of 4 KiB,
// as a directory edit is: four syncs, of the redo file and its directory, the
// share and its directory.
func BenchmarkSlotChange(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			s := openTest(b, Config{})
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				data[0]++
				if _, err := s.TestAndWrite(b.Context(), siA, testEnabler, benchSecrets, slotWrites{0: put(0, data)}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
