package chk

import (
	"bytes"
	"context"
	"fmt"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
)

// Verify reads the whole share and compares every byte with what it must be,
// including those that reading a file does without: the sizes in the header,
// the inner nodes of the trees, the UEB. Only bytes between sections and past
// the end are not looked at, and of the plaintext tree no more than its
// root if the UEB has one, zeros if not. Memory is bounded as for Blocks.
//
// CorruptError for the first difference; other errors are those of the
// source.
func (s *Share) Verify(ctx context.Context) error {
	l := &s.known.layout
	if !s.header.fits(l) {
		return s.corrupt("header does not fit the file")
	}
	v := verifier{Share: s, end: new(window)}
	end := []ids.Span{{Off: s.header.UEB, Len: s.header.lengthField() + l.UEBSize}}
	if l.TreeSize <= verifyBatch { // all trees in one read, or three
		for _, off := range []int64{s.header.PlaintextTree, s.header.CrypttextTree, s.header.BlockTree} {
			end = append(end, ids.Span{Off: off, Len: l.TreeSize})
		}
	}
	if err := v.end.fetch(ctx, s.src, end...); err != nil {
		return err
	}
	packed, err := s.fetchUEB(ctx, v.end)
	if err != nil {
		return err
	}
	if !bytes.Equal(packed, s.known.packed) {
		return s.corrupt(errForgedUEB.Error())
	}
	if err := v.plaintextTree(ctx); err != nil {
		return err
	}
	if err := v.tree(ctx, "crypttext hash tree", s.header.CrypttextTree, s.known.ueb.CrypttextRoot); err != nil {
		return err
	}
	if err := v.tree(ctx, "block hash tree", s.header.BlockTree, s.blocks.Root()); err != nil {
		return err
	}
	return v.verifyBlocks(ctx)
}

// verifyBatch is about how many bytes Verify reads at once.
const verifyBatch = 1 << 20

// verifier is a share and those parts of its end that were read already.
type verifier struct {
	*Share
	end *window
}

func (v *verifier) verifyBlocks(ctx context.Context) error {
	l := &v.known.layout
	batch := min(max(verifyBatch/l.BlockSize, 1), MaxBlocks)
	var buf []byte
	for seg := int64(0); seg < l.Segments; seg += batch {
		count := min(batch, l.Segments-seg)
		buf = grow(buf, count*l.BlockSize)
		if _, err := v.Blocks(ctx, seg, int(count), buf); err != nil {
			return err
		}
	}
	return nil
}

// plaintextTree looks at the tree nobody reads any more.
func (v *verifier) plaintextTree(ctx context.Context) error {
	const name = "plaintext hash tree"
	if root := v.known.ueb.PlaintextRoot; root != nil {
		return v.tree(ctx, name, v.header.PlaintextTree, *root)
	}
	buf := make([]byte, min(v.known.layout.TreeSize, verifyBatch))
	for off := int64(0); off < v.known.layout.TreeSize; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), v.known.layout.TreeSize-off)]
		if err := v.readFull(ctx, part, v.header.PlaintextTree+off, name); err != nil {
			return err
		}
		if len(bytes.Trim(part, "\x00")) > 0 {
			return v.corrupt(name)
		}
	}
	return nil
}

// tree checks every stored node of a tree, page by page from the top.
func (v *verifier) tree(ctx context.Context, name string, off int64, root Hash) error {
	stored := make([]byte, hashSize)
	if err := v.readFull(ctx, stored, off, name); err != nil {
		return err
	}
	if !bytes.Equal(stored, root[:]) {
		return v.corrupt(name)
	}
	depth := v.known.layout.treeDepth()
	if depth == 0 {
		return nil
	}
	top := merkle.Page{Depth: (depth-1)%merkle.PageDepth + 1}
	return v.page(ctx, name, off, top, root)
}

// page checks the nodes of p, those between them and their ancestor,
// and all below. It goes down at most four pages deep.
func (v *verifier) page(ctx context.Context, name string, off int64, p merkle.Page, ancestor Hash) error {
	packed := make([]byte, p.Span().Len)
	if err := v.readFull(ctx, packed, off+p.Span().Off, name); err != nil {
		return err
	}
	nodes := make([]Hash, len(packed)/hashSize)
	for i := range nodes {
		nodes[i] = Hash(packed[i*hashSize:])
	}
	all := packTree(merkle.Build(nodes))
	if !bytes.Equal(all[:hashSize], ancestor[:]) {
		return v.corrupt(name)
	}
	for h := p.Height() - 1; h > 0; h-- { // levels between, upwards
		level := ids.Span{Off: (1<<(p.Depth-p.Height()+h) - 1 + p.Index<<h) * hashSize, Len: hashSize << h}
		stored := make([]byte, level.Len)
		if err := v.readFull(ctx, stored, off+level.Off, name); err != nil {
			return err
		}
		if !bytes.Equal(stored, all[(1<<h-1)*hashSize:(2<<h-1)*hashSize]) {
			return v.corrupt(name)
		}
	}
	if p.Depth == v.known.layout.treeDepth() {
		return nil
	}
	for i, node := range nodes {
		below := merkle.Page{Depth: p.Depth + merkle.PageDepth, Index: p.Index<<p.Height() + int64(i)}
		if err := v.page(ctx, name, off, below, node); err != nil {
			return err
		}
	}
	return nil
}

// readFull reads all of p or says that the part called name is cut short.
func (v *verifier) readFull(ctx context.Context, p []byte, off int64, name string) error {
	if have, ok := v.end.get(ids.Span{Off: off, Len: int64(len(p))}); ok {
		copy(p, have)
		return nil
	}
	n, err := readAt(ctx, v.src, p, off)
	if err == nil && n < len(p) {
		err = v.corrupt(fmt.Sprintf("%s cut short", name))
	}
	return err
}
