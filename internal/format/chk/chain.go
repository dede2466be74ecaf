package chk

import (
	"encoding/binary"

	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
)

// appendChain adds what share num stores of the share hash tree: its own leaf
// and every sibling on the way to the root, each behind its node number.
//
// Readers take them in any order. The reference writes them in the order in
// which Python iterates a set of those numbers, and so do we: one file, one
// sequence of bytes, whoever uploads it.
func appendChain(b []byte, tree *merkle.Tree, num int) []byte {
	nodes := tree.Nodes()
	leaf := len(nodes)/2 + num
	var numbers []int // upwards, then the leaf: the reference's order of insertion
	for i := leaf; i > 0; i = (i - 1) / 2 {
		numbers = append(numbers, sibling(i))
	}
	for _, i := range setOrder(append(numbers, leaf)) {
		b = binary.BigEndian.AppendUint16(b, uint16(i))
		b = append(b, nodes[i][:]...)
	}
	return b
}

// checkChain proves from a stored chain that a share's block tree has the
// root it returns. False when the chain does not lead to root.
func checkChain(chain []byte, n, num int, root Hash) (Hash, bool) {
	if len(chain)%chainEntry != 0 {
		return Hash{}, false
	}
	nodes := make(map[int]Hash, len(chain)/chainEntry)
	for ; len(chain) > 0; chain = chain[chainEntry:] {
		i := int(binary.BigEndian.Uint16(chain))
		h := Hash(chain[2:chainEntry])
		if had, ok := nodes[i]; ok && had != h {
			return Hash{}, false
		}
		nodes[i] = h
	}
	i := merkle.Size(n)/2 + num
	leaf, ok := nodes[i]
	if !ok {
		return Hash{}, false
	}
	h := leaf
	for ; i > 0; i = (i - 1) / 2 {
		other, ok := nodes[sibling(i)]
		if !ok {
			return Hash{}, false
		}
		if i%2 == 1 {
			h = tagged.TreeNode(&h, &other)
		} else {
			h = tagged.TreeNode(&other, &h)
		}
	}
	return leaf, h == root
}

// sibling of a tree node that is not the root: left children are odd.
func sibling(i int) int {
	if i%2 == 1 {
		return i + 1
	}
	return i - 1
}

// setOrder returns distinct small numbers in the order in which CPython 3
// iterates a set they were added to one by one: an open-addressed table of 8
// slots that grows fourfold at 60 %, ten slots probed in a row, then a jump.
func setOrder(numbers []int) []int {
	table := make([]int, 8)
	for i := range table {
		table[i] = -1
	}
	for used, v := range numbers {
		setInsert(table, v)
		if (used+1)*5 < (len(table)-1)*3 {
			continue
		}
		size := 8
		for size <= (used+1)*4 {
			size *= 2
		}
		old := table
		table = make([]int, size)
		for i := range table {
			table[i] = -1
		}
		for _, v := range old {
			if v >= 0 {
				setInsert(table, v)
			}
		}
	}
	order := make([]int, 0, len(numbers))
	for _, v := range table {
		if v >= 0 {
			order = append(order, v)
		}
	}
	return order
}

func setInsert(table []int, v int) {
	const inRow = 9
	mask := len(table) - 1
	i, perturb := v&mask, v
	for {
		last := i
		if i+inRow <= mask {
			last = i + inRow
		}
		for j := i; j <= last; j++ {
			if table[j] < 0 {
				table[j] = v
				return
			}
		}
		perturb >>= 5
		i = (i*5 + 1 + perturb) & mask
	}
}
