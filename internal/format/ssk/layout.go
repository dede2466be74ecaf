package ssk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
)

// Sizes of the start of a share, in bytes.
const (
	signedSDMF = MaxCheckstring + 2 + 16
	signedMDMF = checkMDMF + 2 + 16
	headerSDMF = signedSDMF + 4*4 + 2*8
	headerMDMF = signedMDMF + 8*8
	chainEntry = 2 + hashSize

	// Room that MDMF keeps before the data for encrypted private key,
	// signature, public key and chain, whatever they take.
	dataMDMF = headerMDMF + 1220 + 260 + 292 + 8*chainEntry

	// HeadSize is how much of the start of a share File.Open needs at most if
	// nobody wrote it in a strange way. Reading somewhat more in the same call
	// brings small files whole.
	HeadSize = dataMDMF
)

// Limits of what the sections of a share may hold, in bytes: twice and more
// of what keys of 4,096 bits take.
const (
	maxPublicKey  = 2048
	maxSignature  = 1024
	maxPrivateKey = 8192
)

var errHeader = errors.New("malformed share header")

// sections says where the parts of one share lie. Nothing signs them: a wrong
// place only brings bytes that fail their check.
type sections struct {
	publicKey, signature, chain, tree, data, privateKey ids.Span
	end                                                 int64
}

// newSections lays a share out, with keys and signature of these sizes.
func newSections(v *Version, public, signature, private int64) (s sections, err error) {
	place := func(at *int64, size int64) ids.Span {
		span := ids.Span{Off: *at, Len: size}
		*at += size
		return span
	}
	var at int64
	if !v.MDMF {
		at = headerSDMF
		s.publicKey = place(&at, public)
		s.signature = place(&at, signature)
		s.chain = place(&at, v.chainSize())
		s.tree = place(&at, v.treeSize())
		s.data = place(&at, v.dataSize())
		s.privateKey = place(&at, private)
		s.end = at
		return s, nil
	}
	at = headerMDMF
	s.privateKey = place(&at, private)
	s.chain = place(&at, v.chainSize())
	s.signature = place(&at, signature)
	s.publicKey = place(&at, public)
	if at > dataMDMF {
		return s, fmt.Errorf("keys and signature of %d bytes: %w", public+signature+private, ErrUnsupported)
	}
	at = dataMDMF
	s.data = place(&at, v.dataSize())
	s.tree = place(&at, v.treeSize())
	s.end = at
	return s, nil
}

// appendHeader adds what stands before the first section.
func (s *sections) appendHeader(b []byte, v *Version) []byte {
	b = append(b, v.signed()...)
	if !v.MDMF {
		for _, off := range []int64{s.signature.Off, s.chain.Off, s.tree.Off, s.data.Off} {
			b = binary.BigEndian.AppendUint32(b, uint32(off))
		}
		b = binary.BigEndian.AppendUint64(b, uint64(s.privateKey.Off))
		return binary.BigEndian.AppendUint64(b, uint64(s.end))
	}
	for _, off := range []int64{s.privateKey.Off, s.chain.Off, s.signature.Off, s.publicKey.Off, s.publicKey.End(), s.data.Off, s.tree.Off, s.end} {
		b = binary.BigEndian.AppendUint64(b, uint64(off))
	}
	return b
}

// headerSize is how many bytes parseHeader needs of a share that starts with b.
func headerSize(b []byte) int64 {
	if len(b) > 0 && b[0] == 0 {
		return headerSDMF
	}
	return headerMDMF
}

// parseHeader reads the start of a share. It checks that the numbers are sane
// by themselves and the sections in order and not absurdly long; nothing is
// proven. Errors are errHeader and ErrUnsupported.
func parseHeader(b []byte) (v Version, s sections, err error) {
	c, err := ParseCheckstring(b)
	if err != nil || int64(len(b)) < headerSize(b) {
		return v, s, fmt.Errorf("%d bytes: %w", len(b), errHeader)
	}
	v = Version{MDMF: c.MDMF, Seqnum: c.Seqnum, Root: c.Root, Salt: c.Salt}
	rest := b[len(c.Append(nil)):]
	v.K, v.N = int(rest[0]), int(rest[1])
	segsize, size := binary.BigEndian.Uint64(rest[2:]), binary.BigEndian.Uint64(rest[10:])
	if segsize > MaxSize || size > MaxSize {
		return v, s, fmt.Errorf("file of %d bytes in segments of %d: %w", size, segsize, ErrUnsupported)
	}
	v.SegmentSize, v.Size = int64(segsize), int64(size)
	if err := v.check(); err != nil {
		return v, s, err
	}
	if s, err = parseOffsets(rest[18:], v.MDMF); err != nil {
		return v, s, err
	}
	for _, limit := range []struct {
		section ids.Span
		most    int64
	}{
		{s.publicKey, maxPublicKey},
		{s.signature, maxSignature},
		{s.privateKey, maxPrivateKey},
		{s.chain, int64(merkle.Size(v.N)) * chainEntry},
	} {
		if limit.section.Len > limit.most {
			return v, s, fmt.Errorf("section of %d bytes: %w", limit.section.Len, errHeader)
		}
	}
	return v, s, nil
}

func parseOffsets(b []byte, mdmf bool) (s sections, err error) {
	var off [8]int64
	at := 0
	for i := range off {
		var v uint64
		switch {
		case !mdmf && i == 0:
			v = headerSDMF
		case !mdmf && i < 5:
			v, at = uint64(binary.BigEndian.Uint32(b[at:])), at+4
		case !mdmf && i == 7:
			v = uint64(off[6])
		default:
			v, at = binary.BigEndian.Uint64(b[at:]), at+8
		}
		if v >= 1<<62 || i > 0 && int64(v) < off[i-1] || mdmf && i == 0 && v < headerMDMF {
			return s, fmt.Errorf("offset %d is %d: %w", i, v, errHeader)
		}
		off[i] = int64(v)
	}
	between := func(i int) ids.Span { return ids.Span{Off: off[i], Len: off[i+1] - off[i]} }
	s.end = off[7]
	if mdmf {
		s.privateKey, s.chain, s.signature, s.publicKey = between(0), between(1), between(2), between(3)
		s.data, s.tree = between(5), between(6)
	} else {
		s.publicKey, s.signature, s.chain, s.tree = between(0), between(1), between(2), between(3)
		s.data, s.privateKey = between(4), between(5)
	}
	return s, nil
}

// parseChain reads the nodes of a share hash chain by their numbers. False if
// it has a broken entry or two for one number.
func parseChain(b []byte) (map[int]Hash, bool) {
	if len(b)%chainEntry != 0 {
		return nil, false
	}
	nodes := make(map[int]Hash, len(b)/chainEntry)
	for ; len(b) > 0; b = b[chainEntry:] {
		i := int(binary.BigEndian.Uint16(b))
		if _, twice := nodes[i]; twice {
			return nil, false
		}
		nodes[i] = Hash(b[2:])
	}
	return nodes, true
}

// appendChain adds the nodes that prove share num's block tree, by ascending
// number.
func appendChain(b []byte, shares *merkle.Tree, num int) []byte {
	for _, i := range shares.Needed(num, false) {
		b = binary.BigEndian.AppendUint16(b, uint16(i))
		b = append(b, shares.Nodes()[i][:]...)
	}
	return b
}
