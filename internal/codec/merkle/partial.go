package merkle

import (
	"errors"
	"fmt"
	"slices"

	"tahoe-go/internal/codec/tagged"
)

// MaxLeaves is the most leaves a Partial may have. It holds only nodes that
// were set, so a large count costs nothing by itself; the bound keeps node
// numbers within 32 bits.
const MaxLeaves = 1 << 30

// Errors of Partial; branch on them with errors.Is.
var (
	ErrMismatch  = errors.New("hash does not match the tree")
	ErrNotEnough = errors.New("not enough hashes to check against the root")
	ErrRange     = errors.New("outside the tree")
)

// Partial is a tree of which only the root is known at first. Nodes that hang
// together with the root are added as they arrive from wherever; whatever it
// holds is proven. Memory grows with the nodes added, at most 32 bytes a node
// and the map's overhead. One goroutine at a time.
type Partial struct {
	leaves int
	first  int
	known  map[int]Hash // every node in it is proven by the root
	rooted bool
}

// NewPartial makes a tree of that many leaves, root still unknown. ErrRange
// unless 1 <= leaves <= MaxLeaves.
func NewPartial(leaves int) (*Partial, error) {
	if leaves < 1 || leaves > MaxLeaves {
		return nil, fmt.Errorf("tree of %d leaves: %w", leaves, ErrRange)
	}
	return &Partial{leaves: leaves, first: width(leaves) - 1, known: make(map[int]Hash)}, nil
}

// SetRoot says what the root is. It must come from something trusted: a cap,
// a checked UEB, a proven leaf of another tree. ErrMismatch when another root
// was set before.
func (p *Partial) SetRoot(root Hash) error {
	if p.rooted && p.known[0] != root {
		return fmt.Errorf("root: %w", ErrMismatch)
	}
	p.known[0], p.rooted = root, true
	return nil
}

// Leaves is the number of leaves the tree was made for.
func (p *Partial) Leaves() int { return p.leaves }

// Node returns a proven node by its heap number.
func (p *Partial) Node(i int) (Hash, bool) { h, ok := p.known[i]; return h, ok }

// Leaf returns a proven leaf.
func (p *Partial) Leaf(leaf int) (Hash, bool) {
	if leaf < 0 || leaf >= p.leaves {
		return Hash{}, false
	}
	return p.Node(p.first + leaf)
}

// Needed lists, ascending, the nodes still missing to prove that leaf, the
// root and the leaf itself left out. Nil when the leaf is outside the tree.
func (p *Partial) Needed(leaf int) []int { return p.missing(leaf, false) }

// NeededWithLeaf is Needed and the leaf's own node if that is missing too.
func (p *Partial) NeededWithLeaf(leaf int) []int { return p.missing(leaf, true) }

func (p *Partial) missing(leaf int, includeLeaf bool) []int {
	if leaf < 0 || leaf >= p.leaves {
		return nil
	}
	return slices.DeleteFunc(chain(p.first+leaf, includeLeaf), func(i int) bool {
		_, ok := p.known[i]
		return ok
	})
}

// Set adds nodes (by heap number) and leaves (by leaf number), all or
// nothing: every one must be proven by the root, with the help of nodes known
// before and of the others. A node 0 is compared with the root, never taken
// for it. ErrMismatch when something contradicts the tree, ErrNotEnough when
// a node cannot be proven for want of its sibling or of the root, ErrRange
// for numbers outside the tree. Neither map is kept.
func (p *Partial) Set(nodes, leaves map[int]Hash) error {
	if !p.rooted {
		return fmt.Errorf("no root: %w", ErrNotEnough)
	}
	fresh, err := p.collect(nodes, leaves)
	if err != nil {
		return err
	}
	if err := p.prove(fresh); err != nil {
		return err
	}
	for i, h := range fresh {
		p.known[i] = h
	}
	return nil
}

// collect merges both maps into one, without what is known already.
func (p *Partial) collect(nodes, leaves map[int]Hash) (map[int]Hash, error) {
	fresh := make(map[int]Hash, len(nodes)+len(leaves))
	for i, h := range nodes {
		if i < 0 || i > 2*p.first {
			return nil, fmt.Errorf("node %d: %w", i, ErrRange)
		}
		if err := p.add(fresh, i, h); err != nil {
			return nil, err
		}
	}
	for leaf, h := range leaves {
		if leaf < 0 || leaf >= p.leaves {
			return nil, fmt.Errorf("leaf %d: %w", leaf, ErrRange)
		}
		if err := p.add(fresh, p.first+leaf, h); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// add puts a node into fresh unless the tree has it; one that differs from
// what either holds is ErrMismatch.
func (p *Partial) add(fresh map[int]Hash, i int, h Hash) error {
	have, ok := p.lookup(fresh, i)
	if ok && have != h {
		return fmt.Errorf("node %d: %w", i, ErrMismatch)
	}
	if !ok {
		fresh[i] = h
	}
	return nil
}

func (p *Partial) lookup(fresh map[int]Hash, i int) (Hash, bool) {
	if h, ok := p.known[i]; ok {
		return h, true
	}
	h, ok := fresh[i]
	return h, ok
}

// prove climbs from the deepest fresh node to the root, hashing pairs and
// adding the parents it computes to fresh. Numbers fall from level to level,
// so walking them downwards finishes a level before the one above; the
// parents come out falling too, which makes them a queue to merge with.
func (p *Partial) prove(fresh map[int]Hash) error {
	given := make([]int, 0, len(fresh))
	for i := range fresh {
		given = append(given, i)
	}
	slices.Sort(given)
	var computed []int
	done := -1 // the parent checked last, to skip the second of two siblings
	for len(given) > 0 || len(computed) > 0 {
		var i int
		if last := len(given) - 1; last >= 0 && (len(computed) == 0 || given[last] > computed[0]) {
			i, given = given[last], given[:last]
		} else {
			i, computed = computed[0], computed[1:]
		}
		up := parent(i)
		if up == done {
			continue
		}
		done = up
		left, okL := p.lookup(fresh, 2*up+1)
		right, okR := p.lookup(fresh, 2*up+2)
		if !okL || !okR {
			return fmt.Errorf("node %d has no sibling: %w", i, ErrNotEnough)
		}
		before := len(fresh)
		if err := p.add(fresh, up, tagged.TreeNode(&left, &right)); err != nil {
			return err
		}
		if len(fresh) > before {
			computed = append(computed, up)
		}
	}
	return nil
}
