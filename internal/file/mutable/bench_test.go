package mutable

import (
	"fmt"
	"testing"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/storage"
)

// BenchmarkFile is what the client does, with servers that cost next to
// nothing.
func BenchmarkFile(b *testing.B) {
	for _, tt := range []struct {
		mdmf bool
		size int
	}{{false, 10 << 10}, {false, 1 << 20}, {true, 10 << 20}} {
		g := newGrid(b, 5)
		c := newClient(b, g, 3, 10)
		data := content(tt.size)
		key := testKey(b, 0)
		cap := key.Cap(tt.mdmf)
		create := func(b *testing.B) {
			for i := range 10 {
				for _, s := range g.stores {
					s.Delete(cap.Index(), storage.ShareNum(i))
				}
			}
			_, err := c.Create(b.Context(), CreateOptions{MDMF: tt.mdmf, Key: key}, func(caps.SSK) ([]byte, error) { return data, nil }, nil)
			if err != nil {
				b.Fatal(err)
			}
		}
		run := func(what string, f func(b *testing.B)) {
			b.Run(fmt.Sprintf("mdmf=%v/%d/%s", tt.mdmf, tt.size, what), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(tt.size))
				for b.Loop() {
					f(b)
				}
			})
		}
		create(b)
		run("create", create)
		f := mustOpen(b, c, cap)
		run("overwrite", func(b *testing.B) {
			if err := f.Overwrite(b.Context(), data, nil); err != nil {
				b.Fatal(err)
			}
		})
		run("read", func(b *testing.B) {
			if _, _, err := f.Read(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
		})
		if tt.mdmf {
			run("change", func(b *testing.B) {
				if err := f.WriteAt(b.Context(), data[:100], int64(tt.size/2), nil); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
