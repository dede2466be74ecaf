package merkle

import (
	"fmt"
	"testing"

	"tahoe-go/internal/codec/tagged"
)

func packNodes(t *Tree) []byte {
	var b []byte
	for _, n := range t.Nodes() {
		b = append(b, n[:]...)
	}
	return b
}

func testLeaves(n int) []Hash {
	leaves := make([]Hash, n)
	for i := range leaves {
		leaves[i] = tagged.Block(fmt.Append(nil, i))
	}
	return leaves
}

// Pages read from a stored tree prove its leaves, however many levels of pages
// there are; anything else is refused.
func TestPageTree(t *testing.T) {
	for _, tt := range []struct{ leaves, depth, pages int }{
		{1, 0, 0}, {2, 1, 1}, {3, 2, 1}, {1024, 10, 1}, {1025, 11, 2}, {5000, 13, 2},
	} {
		t.Run(fmt.Sprint(tt.leaves), func(t *testing.T) {
			t.Parallel()
			leaves := testLeaves(tt.leaves)
			tree := Build(leaves)
			stored := packNodes(tree)
			pages := NewPageTree(tt.depth, tree.Root())
			if pages.Root() != tree.Root() {
				t.Error("another root")
			}
			for _, leaf := range []int{0, tt.leaves / 2, tt.leaves - 1} {
				need := pages.Missing(int64(leaf))
				if leaf == 0 && len(need) != tt.pages {
					t.Errorf("leaf 0 needs pages %v, want %d", need, tt.pages)
				}
				for i, p := range need {
					span := p.Span()
					packed := stored[span.Off:span.End()]
					if i+1 < len(need) {
						below := need[i+1].Span()
						if pages.Add(need[i+1], stored[below.Off:below.End()]) {
							t.Error("a page whose ancestor is unknown was taken")
						}
					}
					bad := append([]byte(nil), packed...)
					bad[len(bad)-1] ^= 1
					if pages.Add(p, bad) || pages.Add(p, packed[:len(packed)-HashSize]) || pages.Add(p, nil) {
						t.Errorf("a wrong page %v was taken", p)
					}
					if !pages.Add(p, packed) {
						t.Fatalf("page %v was refused", p)
					}
				}
				if got, ok := pages.Leaf(int64(leaf)); !ok || got != leaves[leaf] {
					t.Errorf("leaf %d = %x, %v", leaf, got, ok)
				}
				if need := pages.Missing(int64(leaf)); need != nil {
					t.Errorf("known leaf %d needs %v", leaf, need)
				}
			}
		})
	}
}
