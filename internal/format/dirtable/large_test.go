package dirtable

import (
	"fmt"
	"slices"
	"testing"

	"tahoe-go/internal/format/caps"
)

// A directory of 100,000 children.
func large(t testing.TB, n int) (caps.Dir, []byte) {
	t.Helper()
	table := newTable(t)
	c := mustChild(t, file, "")
	for i := range n {
		if err := table.Put(fmt.Sprintf("child %06d", i), c, Metadata{}); err != nil {
			t.Fatal(err)
		}
	}
	return mustDir(t, root), table.Bytes()
}

func TestLarge(t *testing.T) {
	dir, data := large(t, 100_000)
	table := mustParse(t, dir, data)
	if table.Len() != 100_000 {
		t.Fatalf("%d children", table.Len())
	}
	for i := range 1000 {
		mustSet(t, table, fmt.Sprintf("new %d", i), mutable)
		if err := table.Delete(fmt.Sprintf("child %06d", i*7), File); err != nil {
			t.Fatal(err)
		}
	}
	back := mustParse(t, dir, table.Bytes())
	if back.Len() != 100_000 || !slices.IsSorted(names(back)) {
		t.Errorf("%d children", back.Len())
	}
}

func BenchmarkParse(b *testing.B) {
	dir, data := large(b, 100_000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		mustParse(b, dir, data)
	}
}

func BenchmarkAdd(b *testing.B) {
	dir, data := large(b, 100_000)
	c := mustChild(b, mutable, "")
	for b.Loop() {
		table := mustParse(b, dir, data)
		if err := table.Set("new", c, nil, Always, now); err != nil {
			b.Fatal(err)
		}
		table.Bytes()
	}
}

func BenchmarkList(b *testing.B) {
	dir, data := large(b, 1000)
	for b.Loop() {
		for _, e := range mustParse(b, dir, data).All() {
			if _, err := e.Child(); err != nil {
				b.Fatal(err)
			}
			if _, err := e.Metadata(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
