package merkle

import (
	"slices"
	"sync"

	"tahoe-go/internal/codec/ids"
)

// PageDepth is how many levels of a tree one page stands for: 1,024 nodes
// side by side, 32 KiB. A file of up to 1,024 segments has one page.
const PageDepth = 10

// Page names the nodes of one level that share the ancestor PageDepth levels
// up, or the root if that is nearer. Where a tree is stored in heap order they
// lie side by side, and hashing them together gives the ancestor; the nodes
// between need not be read.
type Page struct {
	Depth int // of the nodes; the root's is 0
	Index int64
}

// Height is the number of levels from the page's nodes up to its ancestor.
func (p Page) Height() int { return min(PageDepth, p.Depth) }

// Span is where the page lies, in bytes from the start of its tree.
func (p Page) Span() ids.Span {
	first := int64(1)<<p.Depth - 1 + p.Index<<p.Height()
	return ids.Span{Off: first * HashSize, Len: HashSize << p.Height()}
}

// PagesFor lists the pages between a leaf and the root of a tree with depth
// levels under the root, top first.
func PagesFor(depth int, leaf int64) []Page {
	var list []Page
	for depth > 0 {
		p := Page{Depth: depth}
		p.Index = leaf >> p.Height()
		list = append([]Page{p}, list...)
		depth, leaf = depth-p.Height(), p.Index
	}
	return list
}

// PageTree is a hash tree whose pages are proven one by one from the root: for
// trees that are stored whole, next to what they prove.
// Memory grows with the pages added. It may be used concurrently.
type PageTree struct {
	depth int
	root  Hash

	mu    sync.Mutex // guards below
	pages map[Page][]Hash
}

// NewPageTree makes a tree with depth levels under a trusted root.
func NewPageTree(depth int, root Hash) *PageTree {
	return &PageTree{depth: depth, root: root, pages: make(map[Page][]Hash)}
}

// Root is the hash the tree was made with.
func (t *PageTree) Root() Hash { return t.root }

// Missing lists the pages still needed to know leaves, top first for each.
func (t *PageTree) Missing(leaves ...int64) []Page {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []Page
	for _, leaf := range leaves {
		if _, ok := t.node(t.depth, leaf); ok {
			continue
		}
		for _, p := range PagesFor(t.depth, leaf) {
			if t.pages[p] == nil && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// Add proves a page, whose ancestors must have been added before, and keeps
// it. packed has the nodes one after the other, as many as the page. False
// when they do not belong to the tree.
func (t *PageTree) Add(p Page, packed []byte) bool {
	if int64(len(packed)) != p.Span().Len {
		return false
	}
	nodes := make([]Hash, len(packed)/HashSize)
	for i := range nodes {
		nodes[i] = Hash(packed[i*HashSize:])
	}
	top := Build(nodes).Root()
	t.mu.Lock()
	defer t.mu.Unlock()
	want, ok := t.node(p.Depth-p.Height(), p.Index)
	if !ok || want != top {
		return false
	}
	t.pages[p] = nodes
	return true
}

// Leaf returns a proven leaf.
func (t *PageTree) Leaf(i int64) (Hash, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.node(t.depth, i)
}

// node returns a proven node that is on the bottom of a page. Callers hold mu.
func (t *PageTree) node(depth int, i int64) (Hash, bool) {
	if depth == 0 {
		return t.root, true
	}
	p := Page{Depth: depth}
	p.Index = i >> p.Height()
	nodes := t.pages[p]
	if nodes == nil {
		return Hash{}, false
	}
	return nodes[i-p.Index<<p.Height()], true
}
