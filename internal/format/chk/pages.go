package chk

import (
	"slices"
	"sync"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
)

// pageDepth is how many levels of a tree one page stands for: 1,024 nodes
// side by side, 32 KiB. A file of up to 1,024 segments has one page.
const pageDepth = 10

// page names the nodes of one level that share the ancestor pageDepth levels
// up, or the root if that is nearer. They lie side by side in a share, and
// hashing them together gives the ancestor; the nodes between, though stored,
// need not be read.
type page struct {
	depth int // of the nodes; the root's is 0
	index int64
}

// height is the number of levels from the page's nodes up to its ancestor.
func (p page) height() int { return min(pageDepth, p.depth) }

// span is where the page lies from the start of its tree.
func (p page) span() ids.Span {
	first := int64(1)<<p.depth - 1 + p.index<<p.height()
	return ids.Span{Off: first * hashSize, Len: hashSize << p.height()}
}

// pagesFor lists the pages between a leaf and the root, top first.
func pagesFor(depth int, leaf int64) []page {
	var list []page
	for depth > 0 {
		p := page{depth: depth}
		p.index = leaf >> p.height()
		list = append([]page{p}, list...)
		depth, leaf = depth-p.height(), p.index
	}
	return list
}

// pageTree is a hash tree whose pages are proven one by one from the root.
// Memory grows with the pages added. It may be used concurrently.
type pageTree struct {
	depth int
	root  Hash

	mu    sync.Mutex // guards below
	pages map[page][]Hash
}

func newPageTree(depth int, root Hash) *pageTree {
	return &pageTree{depth: depth, root: root, pages: make(map[page][]Hash)}
}

// missing lists the pages still needed to know leaves, top first for each.
func (t *pageTree) missing(leaves ...int64) []page {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []page
	for _, leaf := range leaves {
		if _, ok := t.node(t.depth, leaf); ok {
			continue
		}
		for _, p := range pagesFor(t.depth, leaf) {
			if t.pages[p] == nil && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// add proves a page, whose ancestors must have been added before, and keeps
// it. False when it does not belong to the tree.
func (t *pageTree) add(p page, packed []byte) bool {
	nodes := make([]Hash, len(packed)/hashSize)
	for i := range nodes {
		nodes[i] = Hash(packed[i*hashSize:])
	}
	top := merkle.Build(nodes).Root()
	t.mu.Lock()
	defer t.mu.Unlock()
	want, ok := t.node(p.depth-p.height(), p.index)
	if !ok || want != top {
		return false
	}
	t.pages[p] = nodes
	return true
}

// leaf returns a proven leaf.
func (t *pageTree) leaf(i int64) (Hash, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.node(t.depth, i)
}

// node returns a proven node that is on the bottom of a page. Callers hold mu.
func (t *pageTree) node(depth int, i int64) (Hash, bool) {
	if depth == 0 {
		return t.root, true
	}
	p := page{depth: depth}
	p.index = i >> p.height()
	nodes := t.pages[p]
	if nodes == nil {
		return Hash{}, false
	}
	return nodes[i-p.index<<p.height()], true
}
