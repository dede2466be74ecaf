// Package merkle builds hash trees and checks them piece by piece.
//
// A tree is complete and binary: its leaves are padded to a power of two with
// the hashes of empty leaves, and its nodes are numbered as a heap, 0 the
// root, children of i at 2i+1 and 2i+2. It hashes nodes only; what a leaf is
// the hash of is the caller's business. Format: docs/formats/chk.md "Hash
// trees", the reference's docs/specifications/file-encoding.
//
// Start with [Build] when every leaf is known, with [NewPartial] to verify
// leaves from servers that are not trusted, with [NewPageTree] for trees
// stored whole and read in pieces.
package merkle

import (
	"math/bits"
	"slices"

	"tahoe-go/internal/codec/tagged"
)

// Hash is a node of a tree.
type Hash = tagged.Hash

// HashSize is the size of a node in bytes.
const HashSize = 32

// Tree is a complete tree. It does not change and may be used concurrently.
type Tree struct {
	nodes []Hash
	first int // number of the first leaf's node
}

// Build makes the tree over leaves, which it copies. No leaves make the tree
// of one empty leaf.
func Build(leaves []Hash) *Tree {
	width := width(len(leaves))
	t := &Tree{nodes: make([]Hash, 2*width-1), first: width - 1}
	copy(t.nodes[t.first:], leaves)
	for i := len(leaves); i < width; i++ {
		t.nodes[t.first+i] = tagged.TreeEmpty(i)
	}
	for i := t.first - 1; i >= 0; i-- {
		t.nodes[i] = tagged.TreeNode(&t.nodes[2*i+1], &t.nodes[2*i+2])
	}
	return t
}

// Root is the hash that stands for the whole tree.
func (t *Tree) Root() Hash { return t.nodes[0] }

// Nodes returns every node in heap order, root first. Not to be changed.
func (t *Tree) Nodes() []Hash { return t.nodes }

// Needed lists, ascending, the nodes besides the root that prove leaf number
// leaf; includeLeaf adds the leaf's own node. Nil for a leaf outside the tree.
func (t *Tree) Needed(leaf int, includeLeaf bool) []int {
	if leaf < 0 || leaf > t.first {
		return nil
	}
	return chain(t.first+leaf, includeLeaf)
}

// Size is the number of nodes, padding included, of a tree with that many
// leaves, at most MaxLeaves: a layout's room for it is Size x 32 bytes.
func Size(leaves int) int { return 2*width(leaves) - 1 }

// width is the number of leaves after padding.
func width(leaves int) int { return 1 << bits.Len(uint(max(leaves, 1)-1)) }

// chain lists the siblings on the way from node to root, ascending.
func chain(node int, includeNode bool) []int {
	var list []int
	if includeNode {
		list = append(list, node)
	}
	for i := node; i > 0; i = parent(i) {
		list = append(list, sibling(i))
	}
	slices.Sort(list)
	return list
}

func parent(i int) int { return (i - 1) / 2 }

// sibling of a node that is not the root: left children are odd.
func sibling(i int) int {
	if i%2 == 1 {
		return i + 1
	}
	return i - 1
}
