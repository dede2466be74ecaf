package chk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
)

// Share is one share whose place in the file is proven: its header is sane
// and its chain leads from a block tree to the cap. Blocks are proven as they
// are read. It may be used concurrently.
type Share struct {
	file   *File
	known  *known
	src    BlockSource
	num    ids.ShareNum
	header Header
	blocks *merkle.PageTree

	mu    sync.Mutex // guards below
	ahead *window    // what was read before it was asked for; nil once used
	first int64      // the segment it was read for
}

// OpenShare reads from src what proves that it is share num of the file. The
// layout is guessed from the default segment size (or known, from an earlier
// share), so that header, chain, UEB, the block of segment first and the
// hashes that prove it are asked for in one batch: a single read for a file
// of one segment, else mostly two in parallel. After a wrong guess, as for
// files with other segment sizes, a second batch follows, for the oldest
// files a third. first may be negative: no block is read ahead.
//
// CorruptError when the share is not what the cap says, ErrBadEncoding when
// the cap's own UEB makes no sense; other errors are those of src.
func (f *File) OpenShare(ctx context.Context, src BlockSource, num ids.ShareNum, first int64) (*Share, error) {
	if int(num) >= f.info.N {
		return nil, &CorruptError{num, fmt.Sprintf("there are only %d shares", f.info.N)}
	}
	s := &Share{file: f, known: f.get(), src: src, num: num}
	guess := f.guess
	if s.known != nil {
		guess = s.known.layout
	}
	w := new(window)
	spans := append(s.wants(&guess, guess.Header, guess.UEBSize, first), ids.Span{Len: min(maxHeaderSize, guess.ShareSize)})
	if err := w.fetch(ctx, src, spans...); err != nil {
		return nil, err
	}
	if err := s.readHeader(w); err != nil {
		return nil, err
	}
	if s.header != guess.Header {
		better := s.secondGuess(guess)
		if err := w.fetch(ctx, src, s.wants(better, s.header, MaxUEB, first)...); err != nil {
			return nil, err
		}
	}
	if err := s.readUEB(ctx, w); err != nil {
		return nil, err
	}
	if err := s.readChain(w); err != nil {
		return nil, err
	}
	s.ahead, s.first = w, first
	return s, nil
}

// wants lists what to read of a share laid out as l and h say: the end of the
// share, and what it takes to have block first. l may be nil.
func (s *Share) wants(l *Layout, h Header, uebSize, first int64) []ids.Span {
	end := ids.Span{Off: h.ShareChain, Len: h.UEB - h.ShareChain + h.lengthField() + uebSize}
	if limit := s.maxChain() + h.lengthField() + MaxUEB; end.Len > limit {
		end.Len = limit // a header that will be refused
	}
	if s.known != nil {
		end.Len = min(end.Len, h.UEB-h.ShareChain) // needs no UEB
	}
	spans := []ids.Span{end}
	if l == nil || first < 0 || first >= l.Segments {
		return spans
	}
	spans = append(spans, ids.Span{Off: h.Data + first*l.BlockSize, Len: l.BlockLen(first)})
	for _, p := range merkle.PagesFor(l.treeDepth(), first) {
		spans = append(spans, shift(p.Span(), h.BlockTree))
		if s.known == nil {
			spans = append(spans, shift(p.Span(), h.CrypttextTree))
		}
	}
	return spans
}

// maxChain bounds the size of a chain: every node of the tree once.
func (s *Share) maxChain() int64 { return int64(merkle.Size(s.file.info.N)) * chainEntry }

func (s *Share) readHeader(w *window) error {
	for _, n := range []int64{headerSizeV2, headerSizeV1} {
		b, ok := w.get(ids.Span{Len: n})
		if !ok {
			continue
		}
		h, err := ParseHeader(b)
		if err != nil {
			return s.corrupt(err.Error())
		}
		s.header = h
		return nil
	}
	return s.corrupt("header cut short")
}

// secondGuess lays the file out by the block size in the share's header. Nil,
// so that nothing is read ahead, when that makes no sense or much more than
// usual: the header is not proven yet.
func (s *Share) secondGuess(first Layout) *Layout {
	if s.known != nil || s.header.BlockSize == first.BlockSize {
		return &first
	}
	if s.header.BlockSize > DefaultSegmentSize {
		return nil
	}
	k := s.file.info.K
	l, err := layoutOf(k, s.file.info.N, s.header.BlockSize*int64(k), s.file.info.Size)
	if err != nil {
		return nil
	}
	return &l
}

// readUEB makes sure that the file's UEB is known, from this share if from no
// other.
func (s *Share) readUEB(ctx context.Context, w *window) error {
	if s.known != nil {
		return nil
	}
	packed, err := s.fetchUEB(ctx, w)
	if err != nil {
		return err
	}
	s.known, err = s.file.learn(packed)
	if errors.Is(err, errForgedUEB) {
		return s.corrupt(err.Error())
	}
	return err
}

// fetchUEB returns the share's UEB, not proven.
func (s *Share) fetchUEB(ctx context.Context, w *window) ([]byte, error) {
	field := ids.Span{Off: s.header.UEB, Len: s.header.lengthField()}
	b, ok := w.get(field)
	if !ok {
		return nil, s.corrupt("UEB cut short")
	}
	size := uint64(binary.BigEndian.Uint32(b))
	if len(b) == 8 {
		size = binary.BigEndian.Uint64(b)
	}
	if size >= MaxUEB {
		return nil, s.corrupt("UEB too long")
	}
	span := ids.Span{Off: field.End(), Len: int64(size)}
	if err := w.fetch(ctx, s.src, span); err != nil {
		return nil, err
	}
	packed, ok := w.get(span)
	if !ok {
		return nil, s.corrupt("UEB cut short")
	}
	return packed, nil
}

// readChain proves the root of the share's block tree.
func (s *Share) readChain(w *window) error {
	span := ids.Span{Off: s.header.ShareChain, Len: s.header.UEB - s.header.ShareChain}
	chain, ok := w.get(span)
	if !ok { // the share ends early, or the chain is longer than any can be
		return s.corrupt("share hash chain cut short")
	}
	root, ok := checkChain(chain, s.file.info.N, int(s.num), s.known.ueb.ShareRoot)
	if !ok {
		return s.corrupt("share hash chain")
	}
	s.blocks = merkle.NewPageTree(s.known.layout.treeDepth(), root)
	return nil
}

func (s *Share) corrupt(what string) error { return &CorruptError{s.num, what} }

// Num is the share's number.
func (s *Share) Num() ids.ShareNum { return s.num }

// Block reads and proves the block of segment seg. The result uses buf if
// that is large enough and belongs to the caller. In passing it proves the
// segment's crypttext hash, which File.Decode needs. Reads go out together:
// the block, and once in 1,024 segments a page of each tree.
//
// CorruptError when the share's bytes are wrong, here or in the hashes; other
// errors are those of the source.
func (s *Share) Block(ctx context.Context, seg int64, buf []byte) ([]byte, error) {
	blocks, err := s.Blocks(ctx, seg, 1, buf)
	if err != nil {
		return nil, err
	}
	return blocks[0], nil
}

// MaxBlocks is the most blocks that Blocks reads at once.
const MaxBlocks = 1 << merkle.PageDepth

// Blocks is Block for count segments from seg on, at most MaxBlocks and none
// past the last, fetched in one read: small blocks are better read so from a
// far server. All of them are proven, or there is an error.
func (s *Share) Blocks(ctx context.Context, seg int64, count int, buf []byte) ([][]byte, error) {
	l := &s.known.layout
	last := seg + int64(count) - 1
	if seg < 0 || count < 1 || count > MaxBlocks || last >= l.Segments {
		return nil, fmt.Errorf("%d segments from %d on, of %d", count, seg, l.Segments)
	}
	data, err := s.readRun(ctx, seg, last, buf)
	if err != nil {
		return nil, err
	}
	blocks := make([][]byte, count)
	for i := range blocks {
		num := seg + int64(i)
		size := l.BlockLen(num)
		blocks[i], data = data[:size:size], data[size:]
		if want, ok := s.blocks.Leaf(num); !ok || tagged.Block(blocks[i]) != want {
			return nil, s.corrupt(fmt.Sprintf("block %d", num))
		}
	}
	return blocks, nil
}

// readRun reads the blocks of segments seg to last, unproven, and at the same
// time what proves them.
func (s *Share) readRun(ctx context.Context, seg, last int64, buf []byte) ([]byte, error) {
	l := &s.known.layout
	span := ids.Span{Off: s.header.Data + seg*l.BlockSize, Len: (last-seg)*l.BlockSize + l.BlockLen(last)}
	w := s.takeAhead(seg)
	data, ok := w.get(span)
	if ok {
		return data, s.provePages(ctx, w, seg, last)
	}
	data = grow(buf, span.Len)
	read := func() error {
		n, err := readAt(ctx, s.src, data, span.Off)
		if err == nil && n < len(data) {
			err = s.corrupt(fmt.Sprintf("blocks %d to %d cut short", seg, last))
		}
		return err
	}
	if !s.pagesMissing(seg, last) {
		return data, read() // the usual case: one read, no goroutine
	}
	var reading sync.WaitGroup
	var readErr error
	reading.Go(func() { readErr = read() })
	err := s.provePages(ctx, w, seg, last)
	reading.Wait()
	return data, errors.Join(err, readErr)
}

// takeAhead returns what was read before it was asked for, and forgets it if
// this is the segment it was read for.
func (s *Share) takeAhead(seg int64) *window {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead == nil {
		return new(window)
	}
	w := &window{pieces: slices.Clone(s.ahead.pieces)}
	if seg == s.first {
		s.ahead = nil
	}
	return w
}

func (s *Share) pagesMissing(segs ...int64) bool {
	return len(s.blocks.Missing(segs...)) > 0 || len(s.known.crypttext.Missing(segs...)) > 0
}

// provePages reads and proves what is missing of the two trees to know the
// leaves of segments seg and last, and all between: they lie on two pages at
// most. Two callers may read the same page; neither waits for the other's
// server.
func (s *Share) provePages(ctx context.Context, w *window, seg, last int64) error {
	trees := []struct {
		tree *merkle.PageTree
		off  int64
		name string
		need []merkle.Page
	}{
		{tree: s.blocks, off: s.header.BlockTree, name: "block hash tree"},
		{tree: s.known.crypttext, off: s.header.CrypttextTree, name: "crypttext hash tree"},
	}
	var spans []ids.Span
	for i, t := range trees {
		trees[i].need = t.tree.Missing(seg, last)
		for _, p := range trees[i].need {
			spans = append(spans, shift(p.Span(), t.off))
		}
	}
	if err := w.fetch(ctx, s.src, spans...); err != nil {
		return err
	}
	for _, t := range trees {
		for _, p := range t.need {
			packed, ok := w.get(shift(p.Span(), t.off))
			if !ok {
				return s.corrupt(t.name + " cut short")
			}
			if !t.tree.Add(p, packed) {
				return s.corrupt(t.name)
			}
		}
	}
	return nil
}

func shift(s ids.Span, by int64) ids.Span { return ids.Span{Off: s.Off + by, Len: s.Len} }
