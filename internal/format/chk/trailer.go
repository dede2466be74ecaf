package chk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// Trailer is what is known only after the last segment: the hash trees and
// the UEB. It does not change and may be used concurrently.
type Trailer struct {
	Cap caps.CHK // of the finished file
	UEB []byte   // packed

	layout    Layout
	leaves    [][]Hash
	crypttext []byte // the packed tree, the same in every share
	shares    *merkle.Tree
}

// Trailer finishes the file. It is an error before Segments has yielded its
// last segment. Of a file that is encoded again, ErrBadEncoding says that this
// made other shares than those of the cap, and Cap has no key.
func (e *Encoder) Trailer() (*Trailer, error) {
	if !e.complete {
		return nil, errors.New("trailer asked for before the last segment")
	}
	tree := merkle.Build(e.crypttext)
	t := &Trailer{layout: e.layout, leaves: e.leaves, crypttext: packTree(tree)}
	shareRoots := make([]Hash, len(e.leaves))
	for i, leaves := range e.leaves {
		shareRoots[i] = merkle.Build(leaves).Root() // built again when written: cheap, and n trees are not held
	}
	t.shares = merkle.Build(shareRoots)
	t.UEB = e.layout.packUEB(roots{crypttext: e.flat.Sum(), crypttextRoot: tree.Root(), shareRoot: t.shares.Root()})
	if e.again != nil && !bytes.Equal(t.UEB, e.again.packed) {
		return nil, fmt.Errorf("%w: encoded again it is another file", ErrBadEncoding)
	}
	t.Cap = caps.CHK{Key: e.config.Key, UEBHash: tagged.UEB(t.UEB), K: e.layout.K, N: e.layout.N, Size: e.layout.Size}
	return t, nil
}

// Share returns the rest of a share, from Layout.TrailerOffset to its end:
// the unused plaintext tree as zeros, the crypttext tree, the share's block
// tree, its chain in the share tree, and the UEB with its length. It holds
// 64 bytes a segment.
func (t *Trailer) Share(num ids.ShareNum) io.Reader {
	end := appendChain(nil, t.shares, int(num))
	if t.layout.Header.Version == 1 {
		end = binary.BigEndian.AppendUint32(end, uint32(len(t.UEB)))
	} else {
		end = binary.BigEndian.AppendUint64(end, uint64(len(t.UEB)))
	}
	return io.MultiReader(
		io.LimitReader(zeros{}, t.layout.TreeSize),
		bytes.NewReader(t.crypttext),
		bytes.NewReader(packTree(merkle.Build(t.leaves[num]))),
		bytes.NewReader(append(end, t.UEB...)))
}

func packTree(t *merkle.Tree) []byte {
	nodes := t.Nodes()
	b := make([]byte, 0, len(nodes)*hashSize)
	for i := range nodes {
		b = append(b, nodes[i][:]...)
	}
	return b
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
