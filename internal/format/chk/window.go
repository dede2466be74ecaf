package chk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"tahoe-go/internal/codec/ids"
)

// BlockSource is where a share is read from; storage.ShareReader is one. It
// must allow concurrent calls. Fewer bytes than asked for come with io.EOF,
// at the end of the share.
type BlockSource interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// readAt reads as much of p as the share has and returns its length. Errors
// are those of the way to the share, never of its contents.
func readAt(ctx context.Context, src BlockSource, p []byte, off int64) (int, error) {
	n, err := src.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		return n, nil
	case n < 0 || n > len(p) || err == nil:
		return 0, fmt.Errorf("reading %d bytes at %d gave %d and no error", len(p), off, n)
	case errors.Is(err, io.EOF):
		return n, nil
	}
	return 0, fmt.Errorf("reading %d bytes at %d: %w", len(p), off, err)
}

// window keeps pieces of a share that were read, perhaps before it was known
// that they are of use.
type window struct{ pieces []piece }

type piece struct {
	off  int64
	data []byte
}

// get returns n bytes at off, a view, if they lie in one piece.
func (w *window) get(s ids.Span) ([]byte, bool) {
	for _, p := range w.pieces {
		if s.Off >= p.off && s.End() <= p.off+int64(len(p.data)) {
			return p.data[s.Off-p.off : s.End()-p.off : s.End()-p.off], true
		}
	}
	return nil, false
}

// mergeGap is the distance up to which two spans are read as one.
const mergeGap = 32 << 10

// fetch reads those of spans that the window lacks, all at the same time.
// Spans that reach past the end of the share are read as far as it goes.
func (w *window) fetch(ctx context.Context, src BlockSource, spans ...ids.Span) error {
	spans = ids.Merge(slices.DeleteFunc(spans, func(s ids.Span) bool {
		_, have := w.get(s)
		return have
	}), mergeGap)
	pieces := make([]piece, len(spans))
	errs := make([]error, len(spans))
	var reads sync.WaitGroup
	for i, s := range spans {
		read := func() {
			data := make([]byte, s.Len)
			n, err := readAt(ctx, src, data, s.Off)
			pieces[i], errs[i] = piece{s.Off, data[:n]}, err
		}
		if i == len(spans)-1 {
			read() // one read, the usual case, needs no goroutine
		} else {
			reads.Go(read)
		}
	}
	reads.Wait()
	w.pieces = append(w.pieces, pieces...)
	return errors.Join(errs...)
}
