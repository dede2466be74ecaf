package ssk

import (
	"bytes"
	"context"
	"fmt"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
)

// maxVerify is the most segments, of 128 GiB, that Verify holds the hashes of:
// whoever has the write cap may claim any size.
const maxVerify = 1 << 20

// verifyBatch is about how many bytes Verify reads at once.
const verifyBatch = 1 << 20

// Verify reads the whole share and compares every byte with what it must be,
// including those that reading the file does without: the offsets, public key
// and signature, the inner nodes of the tree. Of the encrypted private key
// only its presence can be told without the write cap, not even its length in
// an SDMF share: see [Share.PrivateKey]. Unused room before the data of an MDMF
// share is not looked at.
//
// CorruptError for the first difference, ErrUnsupported for files of more than
// 2^20 segments; other errors are those of the source.
func (s *Share) Verify(ctx context.Context) error {
	if n := s.version.Segments(); n > maxVerify {
		return fmt.Errorf("verifying %d segments: %w", n, ErrUnsupported)
	}
	own, err := newSections(&s.version, s.sections.publicKey.Len, s.sections.signature.Len, s.sections.privateKey.Len)
	if err != nil || own != s.sections || own.privateKey.Len == 0 {
		return s.corrupt("offsets")
	}
	start := append(window(nil), s.head...)
	if err := s.checkSignature(ctx, &start); err != nil {
		return err
	}
	w, tree, err := s.prove(ctx, nil, s.sections.privateKey, s.sections.chain, s.rootSpan())
	if err != nil {
		return err
	}
	if _, ok := w.get(s.sections.privateKey); !ok {
		return s.corrupt("private key cut short")
	}
	if _, err := s.proveRoot(w); err != nil { // even if it was proven before
		return err
	}
	if err := s.verifyTree(ctx, tree.Root()); err != nil {
		return err
	}
	segs, batch := s.version.Segments(), min(max(verifyBatch/max(s.version.blockStride(), 1), 1), MaxBlocks)
	for seg := int64(0); seg < segs; seg += batch {
		if _, err := s.Blocks(ctx, seg, int(min(batch, segs-seg))); err != nil {
			return err
		}
	}
	return nil
}

// verifyTree compares every stored node of the block tree. It holds the tree
// twice, 128 bytes for each segment.
func (s *Share) verifyTree(ctx context.Context, root Hash) error {
	leaves, err := s.Leaves(ctx)
	if err != nil {
		return err
	}
	want := packTree(merkle.Build(leaves))
	for off := int64(0); off < int64(len(want)); off += verifyBatch {
		span := ids.Span{Off: s.sections.tree.Off + off, Len: min(verifyBatch, int64(len(want))-off)}
		w := append(window(nil), s.head...)
		if err := w.fetch(ctx, s.src, span); err != nil {
			return err
		}
		if have, ok := w.get(span); !ok || !bytes.Equal(have, want[off:off+span.Len]) {
			return s.corrupt("block hash tree")
		}
	}
	if !bytes.Equal(root[:], want[:hashSize]) {
		return s.corrupt("block hash tree")
	}
	return nil
}
