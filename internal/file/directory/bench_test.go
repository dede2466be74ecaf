package directory

import (
	"fmt"
	"testing"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// manyChildren are entries like those of a real directory, a third of them
// writable.
func manyChildren(tb testing.TB, n int) []NewChild {
	dir, file := mustChild(tb, dirText), mustChild(tb, "URI:CHK:55c2akfi2xtvuo5zzre6kcklwe:cxunc3nxxye7yrm64x27lcvcdcjj6mc3azkerixsakndzl7lhcpq:1:2:5000")
	md, err := dirtable.ParseMetadata([]byte(`{"tahoe": {"linkcrtime": 1700000000.25, "linkmotime": 1700000000.25}}`))
	if err != nil {
		tb.Fatal(err)
	}
	kids := make([]NewChild, n)
	for i := range kids {
		kids[i] = NewChild{fmt.Sprintf("entry %d", i), file, md}
		if i%3 == 0 {
			kids[i].Child = dir
		}
	}
	return kids
}

// Large directories on servers in memory: what the client's processor takes.
func BenchmarkDirectory(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		kids := manyChildren(b, n)
		c := newClient(b, inMemory(10), 3, 10, "")
		var dir caps.Dir
		b.Run(fmt.Sprintf("create/%d", n), func(b *testing.B) {
			for b.Loop() {
				var err error
				if dir, err = c.Create(b.Context(), CreateOptions{}, kids, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		d, err := c.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("list/%d", n), func(b *testing.B) {
			for b.Loop() {
				t, err := d.List(b.Context(), nil)
				if err != nil {
					b.Fatal(err)
				}
				for _, e := range t.All() {
					if _, err := e.Child(); err != nil {
						b.Fatal(err)
					}
					if _, err := e.Metadata(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Get(b.Context(), "entry 77", nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("add/%d", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				if _, err := d.Set(b.Context(), fmt.Sprint(i), kids[0].Child, nil, dirtable.Never, nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
