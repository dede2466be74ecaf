package merkle_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
)

// hashText is a hash written in hex.
type hashText merkle.Hash

func (h *hashText) UnmarshalText(text []byte) error {
	_, err := hex.Decode(h[:], text)
	return err
}

// nodeList is a list of nodes or, for the larger trees, only their number.
type nodeList struct {
	list  []hashText
	count int
}

func (n *nodeList) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &n.count) == nil {
		return nil
	}
	err := json.Unmarshal(text, &n.list)
	n.count = len(n.list)
	return err
}

// leaves are those of the golden trees.
func leaves(n int) []merkle.Hash {
	list := make([]merkle.Hash, n)
	for i := range list {
		list[i] = tagged.Block(fmt.Appendf(nil, "leaf-%d", i))
	}
	return list
}

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/hashtree.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Trees []struct {
			N        int
			Root     hashText
			Nodes    nodeList
			Last     []int `json:"needed_for_last_leaf"`
			FirstInc []int `json:"needed_for_leaf0_incl"`
		}
		Functions []struct {
			Fn   string
			I    int
			A, B hashText
			Out  hashText
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Trees) != 17 || len(file.Functions) != 5 {
		t.Fatalf("%d trees and %d functions, want 17 and 5", len(file.Trees), len(file.Functions))
	}
	for _, row := range file.Trees {
		tree := merkle.Build(leaves(row.N))
		if tree.Root() != merkle.Hash(row.Root) {
			t.Errorf("%d leaves: root %x, want %x", row.N, tree.Root(), row.Root)
		}
		if len(tree.Nodes()) != merkle.Size(row.N) {
			t.Errorf("%d leaves: %d nodes, Size %d", row.N, len(tree.Nodes()), merkle.Size(row.N))
		}
		if len(tree.Nodes()) != row.Nodes.count {
			t.Errorf("%d leaves: %d nodes, want %d", row.N, len(tree.Nodes()), row.Nodes.count)
		}
		for i, want := range row.Nodes.list {
			if got := tree.Nodes()[i]; got != merkle.Hash(want) {
				t.Errorf("%d leaves: node %d = %x, want %x", row.N, i, got, want)
			}
		}
		if got := tree.Needed(row.N-1, false); !slices.Equal(got, row.Last) {
			t.Errorf("%d leaves: Needed(last) = %v, want %v", row.N, got, row.Last)
		}
		if got := tree.Needed(0, true); !slices.Equal(got, row.FirstInc) {
			t.Errorf("%d leaves: Needed(0, leaf) = %v, want %v", row.N, got, row.FirstInc)
		}
		// A partial tree knows its root from the start and never asks for it.
		p := newPartial(t, row.N)
		setRoot(t, p, tree.Root())
		if got := p.Needed(row.N - 1); !slices.Equal(got, row.Last) {
			t.Errorf("%d leaves: partial Needed(last) = %v, want %v", row.N, got, row.Last)
		}
		want := slices.DeleteFunc(row.FirstInc, func(i int) bool { return i == 0 })
		if got := p.NeededWithLeaf(0); !slices.Equal(got, want) {
			t.Errorf("%d leaves: partial NeededWithLeaf(0) = %v, want %v", row.N, got, want)
		}
	}
	for _, row := range file.Functions {
		got := tagged.TreeEmpty(row.I)
		if row.Fn == "pair_hash" {
			got = tagged.TreeNode((*merkle.Hash)(&row.A), (*merkle.Hash)(&row.B))
		}
		if got != merkle.Hash(row.Out) {
			t.Errorf("%s: %x, want %x", row.Fn, got, row.Out)
		}
	}
}

func newPartial(t interface{ Fatal(...any) }, leaves int) *merkle.Partial {
	p, err := merkle.NewPartial(leaves)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func setRoot(t interface{ Fatal(...any) }, p *merkle.Partial, root merkle.Hash) {
	if err := p.SetRoot(root); err != nil {
		t.Fatal(err)
	}
}

func pick(tree *merkle.Tree, nums []int) map[int]merkle.Hash {
	m := make(map[int]merkle.Hash)
	for _, i := range nums {
		m[i] = tree.Nodes()[i]
	}
	return m
}

// snapshot is every node p holds.
func snapshot(p *merkle.Partial) map[int]merkle.Hash {
	m := make(map[int]merkle.Hash)
	for i := range merkle.Size(p.Leaves()) {
		if h, ok := p.Node(i); ok {
			m[i] = h
		}
	}
	return m
}

// Leaf after leaf, asking only for what is missing, until all is known.
func TestPartialFillsUp(t *testing.T) {
	for n := 1; n <= 33; n++ {
		all := leaves(n)
		tree := merkle.Build(all)
		p := newPartial(t, n)
		setRoot(t, p, tree.Root())
		for _, leaf := range rand.New(rand.NewPCG(uint64(n), 0)).Perm(n) {
			if err := p.Set(pick(tree, p.Needed(leaf)), map[int]merkle.Hash{leaf: all[leaf]}); err != nil {
				t.Fatalf("leaf %d of %d: %v", leaf, n, err)
			}
			if got, ok := p.Leaf(leaf); !ok || got != all[leaf] {
				t.Errorf("Leaf(%d) = %x, %v", leaf, got, ok)
			}
			if got := p.NeededWithLeaf(leaf); len(got) != 0 {
				t.Errorf("leaf %d of %d proven, still needs %v", leaf, n, got)
			}
		}
		for i, h := range snapshot(p) {
			if h != tree.Nodes()[i] {
				t.Errorf("%d leaves: node %d = %x, want %x", n, i, h, tree.Nodes()[i])
			}
		}
	}
}

func TestPartialErrors(t *testing.T) {
	all := leaves(5) // nodes 0..14, leaves 7..11, padding 12..14
	tree := merkle.Build(all)
	bad := merkle.Hash{1}
	type nodes = map[int]merkle.Hash
	with := func(m nodes, i int, h merkle.Hash) nodes {
		m = maps.Clone(m)
		m[i] = h
		return m
	}
	proof := pick(tree, tree.Needed(1, false)) // 7, 4, 2
	for _, tt := range []struct {
		name          string
		nodes, leaves nodes
		err           error
	}{
		{"nothing", nil, nil, nil},
		{"proof and leaf", proof, nodes{1: all[1]}, nil},
		{"proof with the root", with(proof, 0, tree.Root()), nodes{1: all[1]}, nil},
		{"leaf twice, the same", with(proof, 8, all[1]), nodes{1: all[1]}, nil},
		{"root alone", nodes{0: tree.Root()}, nil, nil},
		{"both children of the root", pick(tree, []int{1, 2}), nil, nil},
		{"everything", pick(tree, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}), nil, nil},

		{"other root", nodes{0: bad}, nil, merkle.ErrMismatch},
		{"wrong leaf", proof, nodes{1: bad}, merkle.ErrMismatch},
		{"leaf in the wrong place", proof, nodes{1: all[0]}, merkle.ErrMismatch},
		{"leaf twice, different", with(proof, 8, all[1]), nodes{1: bad}, merkle.ErrMismatch},
		{"wrong sibling", with(proof, 7, bad), nodes{1: all[1]}, merkle.ErrMismatch},
		{"wrong uncle", with(proof, 2, bad), nodes{1: all[1]}, merkle.ErrMismatch},
		{"wrong parent given", with(proof, 3, bad), nodes{1: all[1]}, merkle.ErrMismatch},
		{"wrong padding", with(pick(tree, []int{1, 5, 6, 13}), 14, bad), nil, merkle.ErrMismatch},
		{"children swapped", nodes{1: tree.Nodes()[2], 2: tree.Nodes()[1]}, nil, merkle.ErrMismatch},

		{"leaf without proof", nil, nodes{1: all[1]}, merkle.ErrNotEnough},
		{"proof without leaf", proof, nil, merkle.ErrNotEnough},
		{"an uncle short", pick(tree, []int{7, 4}), nodes{1: all[1]}, merkle.ErrNotEnough},
		{"a loose node more", with(proof, 13, tree.Nodes()[13]), nodes{1: all[1]}, merkle.ErrNotEnough},

		{"node below zero", with(proof, -1, bad), nil, merkle.ErrRange},
		{"node past the end", with(proof, 15, bad), nil, merkle.ErrRange},
		{"leaf below zero", proof, nodes{-1: bad}, merkle.ErrRange},
		{"leaf in the padding", proof, nodes{5: bad}, merkle.ErrRange},
		{"leaf far out", proof, nodes{math.MaxInt: bad}, merkle.ErrRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPartial(t, 5)
			setRoot(t, p, tree.Root())
			before := snapshot(p)
			err := p.Set(tt.nodes, tt.leaves)
			if !errors.Is(err, tt.err) {
				t.Errorf("Set: %v, want %v", err, tt.err)
			}
			if err != nil && !cmp.Equal(snapshot(p), before) {
				t.Errorf("a failed Set left nodes behind: %v", cmp.Diff(before, snapshot(p)))
			}
		})
	}
}

// A root from the same hand as the nodes proves nothing.
func TestRootMustBeSetFirst(t *testing.T) {
	tree := merkle.Build(leaves(2))
	p := newPartial(t, 2)
	if err := p.Set(pick(tree, []int{0, 1, 2}), nil); !errors.Is(err, merkle.ErrNotEnough) {
		t.Errorf("Set before SetRoot: %v, want ErrNotEnough", err)
	}
	setRoot(t, p, tree.Root())
	setRoot(t, p, tree.Root())
	if err := p.SetRoot(merkle.Hash{1}); !errors.Is(err, merkle.ErrMismatch) {
		t.Errorf("another root: %v, want ErrMismatch", err)
	}
	if got, _ := p.Node(0); got != tree.Root() {
		t.Errorf("root is %x after all, want %x", got, tree.Root())
	}
}

func TestBounds(t *testing.T) {
	for _, n := range []int{-1, 0, merkle.MaxLeaves + 1} {
		if _, err := merkle.NewPartial(n); !errors.Is(err, merkle.ErrRange) {
			t.Errorf("NewPartial(%d): %v, want ErrRange", n, err)
		}
	}
	// The largest is as cheap as the smallest until something is set.
	p := newPartial(t, merkle.MaxLeaves)
	if got := len(p.Needed(merkle.MaxLeaves - 1)); got != 30 {
		t.Errorf("largest tree needs %d nodes for a leaf, want 30", got)
	}
	for _, leaf := range []int{-1, merkle.MaxLeaves} {
		if got := p.NeededWithLeaf(leaf); got != nil {
			t.Errorf("Needed(%d) = %v, want nil", leaf, got)
		}
		if _, ok := p.Leaf(leaf); ok {
			t.Errorf("Leaf(%d) is there", leaf)
		}
	}
	tree := merkle.Build(nil)
	if tree.Root() != tagged.TreeEmpty(0) || len(tree.Nodes()) != 1 {
		t.Errorf("tree of nothing: %x", tree.Nodes())
	}
	if tree.Needed(-1, true) != nil || tree.Needed(1, true) != nil {
		t.Error("Needed outside the tree is not nil")
	}
}

// Any mixture of true and false nodes: what a partial tree holds afterwards
// is true, and a failed Set changes nothing.
func TestPartialHoldsOnlyTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		all := leaves(n)
		tree := merkle.Build(all)
		p := newPartial(t, n)
		setRoot(t, p, tree.Root())
		for range rapid.IntRange(1, 6).Draw(t, "sets") {
			nodes := pick(tree, rapid.SliceOfN(rapid.IntRange(0, merkle.Size(n)-1), 0, 12).Draw(t, "nodes"))
			leaf := rapid.IntRange(0, n-1).Draw(t, "leaf")
			if rapid.Bool().Draw(t, "proof") {
				maps.Copy(nodes, pick(tree, tree.Needed(leaf, true)))
			}
			lied := rapid.IntRange(0, 3).Draw(t, "lie") == 0
			if lied {
				nodes[rapid.IntRange(0, merkle.Size(n)-1).Draw(t, "where")] = merkle.Hash{9}
			}
			before := snapshot(p)
			err := p.Set(nodes, map[int]merkle.Hash{leaf: all[leaf]})
			if err == nil && lied {
				t.Fatalf("a false node was taken: %v", nodes)
			}
			if err != nil && !cmp.Equal(snapshot(p), before) {
				t.Fatal("a failed Set changed the tree")
			}
			for i, h := range snapshot(p) {
				if h != tree.Nodes()[i] {
					t.Fatalf("node %d is false", i)
				}
			}
		}
	})
}

// Bytes from a server decide which nodes and what hashes arrive.
func FuzzSet(f *testing.F) {
	tree := merkle.Build(leaves(11))
	var seed []byte
	for _, i := range tree.Needed(3, true) {
		seed = append(append(seed, byte(i)), tree.Nodes()[i][:]...)
	}
	f.Add(seed)
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, in []byte) {
		nodes := make(map[int]merkle.Hash)
		for len(in) >= 33 {
			nodes[int(int8(in[0]))] = merkle.Hash(in[1:33])
			in = in[33:]
		}
		p := newPartial(t, 11)
		setRoot(t, p, tree.Root())
		err := p.Set(nodes, nil)
		for i, h := range snapshot(p) {
			if h != tree.Nodes()[i] {
				t.Errorf("node %d is false (Set: %v)", i, err)
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	all := leaves(1024)
	b.SetBytes(32 * 1024)
	for b.Loop() {
		merkle.Build(all)
	}
}

func BenchmarkPartialSet(b *testing.B) {
	all := leaves(1024)
	tree := merkle.Build(all)
	b.SetBytes(32 * 1024)
	for b.Loop() {
		p := newPartial(b, 1024)
		setRoot(b, p, tree.Root())
		for leaf, h := range all {
			if err := p.Set(pick(tree, p.Needed(leaf)), map[int]merkle.Hash{leaf: h}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
