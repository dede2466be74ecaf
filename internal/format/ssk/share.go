package ssk

import (
	"context"
	"fmt"
	"sync"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// Share is one share whose version is proven. Blocks are proven as they are
// read. It may be used concurrently.
type Share struct {
	file     *File
	src      Source
	num      ids.ShareNum
	version  Version
	sections sections
	head     window // does not change after Open

	mu     sync.Mutex // guards below
	blocks *merkle.PageTree
}

// Num is the share's number.
func (s *Share) Num() ids.ShareNum { return s.num }

// Version is what the share is a share of.
func (s *Share) Version() Version { return s.version }

// Bare returns the share without the bytes of its start that were given to
// Open and are kept with it: for those who keep the share for long.
func (s *Share) Bare() *Share {
	return &Share{file: s.file, src: s.src, num: s.num, version: s.version, sections: s.sections}
}

// InPlace reports whether the share is laid out so that the patches of an
// Update fit it.
func (s *Share) InPlace() bool { return s.version.MDMF && s.sections.data.Off == dataMDMF }

func (s *Share) corrupt(what string) error { return &CorruptError{s.num, what} }

// Block is a proven block of one segment.
type Block struct {
	Data []byte
	Salt [saltSize]byte // under which the segment is encrypted
}

// MaxBlocks is the most blocks that Blocks reads at once.
const MaxBlocks = 1 << merkle.PageDepth

// BlocksSpan is where the blocks of count segments from seg on lie in the
// share, for callers that read ahead.
func (s *Share) BlocksSpan(seg int64, count int) ids.Span {
	v := &s.version
	last := seg + int64(count) - 1
	return ids.Span{Off: s.sections.data.Off + seg*v.blockStride(), Len: (last-seg)*v.blockStride() + v.saltLen() + v.BlockLen(last)}
}

// Blocks reads and proves the blocks of count segments from seg on, at most
// MaxBlocks and none past the last, with one call of the source: the blocks,
// and what is needed of the hash trees. The caller owns them, or they are part
// of the head given to Open.
//
// CorruptError when the share's bytes are wrong, here or in the hashes; other
// errors are those of the source.
func (s *Share) Blocks(ctx context.Context, seg int64, count int) ([]Block, error) {
	v := &s.version
	last := seg + int64(count) - 1
	if seg < 0 || count < 1 || count > MaxBlocks || last >= v.Segments() {
		return nil, fmt.Errorf("%d segments from %d on, of %d", count, seg, v.Segments())
	}
	run := s.BlocksSpan(seg, count)
	w, tree, err := s.prove(ctx, []int64{seg, last}, run)
	if err != nil {
		return nil, err
	}
	data, ok := w.get(run)
	if !ok {
		return nil, s.corrupt(fmt.Sprintf("blocks %d to %d cut short", seg, last))
	}
	blocks := make([]Block, count)
	for i := range blocks {
		num := seg + int64(i)
		size := v.saltLen() + v.BlockLen(num)
		salted := data[:size:size]
		data = data[size:]
		if want, ok := tree.Leaf(num); !ok || tagged.Block(salted) != want {
			return nil, s.corrupt(fmt.Sprintf("block %d", num))
		}
		blocks[i] = Block{Data: salted[v.saltLen():], Salt: v.Salt}
		if v.MDMF {
			copy(blocks[i].Salt[:], salted)
		}
	}
	return blocks, nil
}

// prove reads more and, in the same call, what it takes to know the leaves of
// the block tree; they must lie on two neighbouring pages at most. It returns
// all that was read and the tree.
func (s *Share) prove(ctx context.Context, leaves []int64, more ...ids.Span) (window, *merkle.PageTree, error) {
	tree := s.tree()
	spans := more
	if tree == nil {
		spans = append(spans, s.sections.chain, s.rootSpan())
		for _, leaf := range leaves {
			for _, p := range merkle.PagesFor(s.version.treeDepth(), leaf) {
				spans = append(spans, s.pageSpan(p))
			}
		}
	} else {
		for _, p := range tree.Missing(leaves...) {
			spans = append(spans, s.pageSpan(p))
		}
	}
	w := append(window(nil), s.head...)
	if err := w.fetch(ctx, s.src, spans...); err != nil {
		return nil, nil, err
	}
	if tree == nil {
		var err error
		if tree, err = s.proveRoot(w); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range tree.Missing(leaves...) {
		packed, ok := w.get(s.pageSpan(p))
		if !ok || !tree.Add(p, packed) {
			return nil, nil, s.corrupt("block hash tree")
		}
	}
	return w, tree, nil
}

func (s *Share) tree() *merkle.PageTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocks
}

func (s *Share) rootSpan() ids.Span { return ids.Span{Off: s.sections.tree.Off, Len: hashSize} }

func (s *Share) pageSpan(p merkle.Page) ids.Span {
	span := p.Span()
	return ids.Span{Off: s.sections.tree.Off + span.Off, Len: span.Len}
}

// proveRoot proves that the root of the stored block tree hangs on the signed
// root, by the chain.
func (s *Share) proveRoot(w window) (*merkle.PageTree, error) {
	root, ok := w.get(s.rootSpan())
	if !ok {
		return nil, s.corrupt("block hash tree cut short")
	}
	packed, ok := w.get(s.sections.chain)
	if !ok {
		return nil, s.corrupt("share hash chain cut short")
	}
	chain, ok := parseChain(packed)
	if !ok {
		return nil, s.corrupt("share hash chain")
	}
	shares, err := merkle.NewPartial(s.version.N)
	if err != nil {
		return nil, err
	}
	if err := shares.SetRoot(s.version.Root); err != nil {
		return nil, err
	}
	if err := shares.Set(chain, map[int]Hash{int(s.num): Hash(root)}); err != nil {
		return nil, s.corrupt("share hash chain")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks == nil {
		s.blocks = merkle.NewPageTree(s.version.treeDepth(), Hash(root))
	}
	return s.blocks, nil
}

// Leaves reads and proves the hashes of all blocks of the share, 32 bytes
// each, with one call of the source: an Update needs them.
func (s *Share) Leaves(ctx context.Context) ([]Hash, error) {
	segs := s.version.Segments()
	bottom := ids.Span{Off: s.sections.tree.Off + (1<<s.version.treeDepth()-1)*hashSize, Len: max(segs, 1) * hashSize}
	w, tree, err := s.prove(ctx, nil, bottom)
	if err != nil {
		return nil, err
	}
	packed, ok := w.get(bottom)
	if !ok {
		return nil, s.corrupt("block hash tree cut short")
	}
	leaves := make([]Hash, segs)
	for i := range leaves {
		leaves[i] = Hash(packed[i*hashSize:])
	}
	if merkle.Build(leaves).Root() != tree.Root() {
		return nil, s.corrupt("block hash tree")
	}
	return leaves, nil
}

// PrivateKey reads the file's private key from the share. CorruptError if what
// the share has is not the key of cap.
func (s *Share) PrivateKey(ctx context.Context, cap caps.SSK) (*PrivateKey, error) {
	w := append(window(nil), s.head...)
	if err := w.fetch(ctx, s.src, s.sections.privateKey); err != nil {
		return nil, err
	}
	encrypted, ok := w.get(s.sections.privateKey)
	if !ok {
		return nil, s.corrupt("private key cut short")
	}
	k, err := openKey(cap, encrypted)
	if err != nil {
		return nil, s.corrupt("private key")
	}
	return k, nil
}
