package mutable

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// readable surveys until something can be read.
func (f *File) readable(ctx context.Context, tr *Trace) (*survey, ssk.Version, error) {
	s := f.survey(ctx, tr, func(s *survey) bool { _, ok := s.best(); return ok })
	if err := ctx.Err(); err != nil {
		return nil, ssk.Version{}, err
	}
	v, ok := s.best()
	if !ok {
		e := &UnrecoverableError{Servers: len(s.answered), Shares: len(s.shares)}
		if vs := s.versions(); len(vs) > 0 {
			e.Need = vs[0].K
		}
		return s, v, e
	}
	return s, v, nil
}

// Version is the best version that can be read now.
func (f *File) Version(ctx context.Context, tr *Trace) (ssk.Version, error) {
	_, v, err := f.readable(ctx, tr)
	return v, err
}

// Read returns the contents of the best version that can be read now. A small
// file takes one round trip.
func (f *File) Read(ctx context.Context, tr *Trace) ([]byte, ssk.Version, error) {
	s, v, err := f.readable(ctx, tr)
	if err != nil {
		return nil, v, err
	}
	var buf bytes.Buffer
	err = f.retrieve(ctx, s, v, &buf, 0, v.Size)
	return buf.Bytes(), v, err
}

// ReadRange writes n bytes from offset off of the best version to w; n < 0
// stands for all up to the end.
func (f *File) ReadRange(ctx context.Context, w io.Writer, off, n int64, tr *Trace) error {
	s, v, err := f.readable(ctx, tr)
	if err != nil {
		return err
	}
	if n < 0 {
		n = max(v.Size-off, 0)
	}
	if off < 0 || off > v.Size || n > v.Size-off {
		return fmt.Errorf("range of %d bytes at %d in a file of %d", n, off, v.Size)
	}
	return f.retrieve(ctx, s, v, w, off, n)
}

// retrieve decodes n bytes at off of v, segments in order.
func (f *File) retrieve(ctx context.Context, s *survey, v ssk.Version, w io.Writer, off, n int64) error {
	if n == 0 {
		return nil
	}
	dec, err := ssk.NewDecoder(v, f.read)
	if err != nil {
		return err
	}
	shares := s.of(v)
	first, last := v.SegmentsOf(off, n)
	for seg := first; seg <= last; {
		count := int(min(last-seg+1, 32))
		blocks, rest, err := f.blocks(ctx, shares, v, seg, count)
		if err != nil {
			return err
		}
		shares = rest
		for i := range count {
			row := map[storage.ShareNum]ssk.Block{}
			for num, b := range blocks {
				row[num] = b[i]
			}
			text, err := dec.Segment(seg+int64(i), row, nil)
			if err != nil {
				return err
			}
			at := (seg + int64(i)) * v.SegmentSize
			from, to := max(off-at, 0), min(off+n-at, int64(len(text)))
			if _, err := w.Write(text[from:to]); err != nil {
				return err
			}
		}
		seg += int64(count)
	}
	return nil
}

// blocks fetches from K different shares, and from others where some are bad.
// It returns the shares that are still good.
func (f *File) blocks(ctx context.Context, shares []found, v ssk.Version, seg int64, count int) (map[storage.ShareNum][]ssk.Block, []found, error) {
	type result struct {
		i      int
		blocks []ssk.Block
		err    error
	}
	got := map[storage.ShareNum][]ssk.Block{}
	bad := map[int]bool{}
	tried := map[int]bool{}
	var lastErr error
	for len(got) < v.K {
		results := make(chan result)
		asked := 0
		busy := map[storage.ShareNum]bool{}
		for i, sh := range shares {
			num := sh.share.Num()
			if _, have := got[num]; have || tried[i] || busy[num] || len(got)+asked == v.K {
				continue
			}
			tried[i], busy[num] = true, true
			asked++
			go func() {
				ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
				defer cancel()
				b, err := sh.share.Blocks(ctx, seg, count)
				results <- result{i, b, err}
			}()
		}
		if asked == 0 {
			return nil, nil, &UnrecoverableError{Shares: len(shares) - len(bad), Need: v.K}
		}
		for range asked {
			r := <-results
			if r.err != nil {
				bad[r.i], lastErr = true, r.err
				continue
			}
			got[shares[r.i].share.Num()] = r.blocks
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
	_ = lastErr
	var rest []found
	for i, sh := range shares {
		if !bad[i] {
			rest = append(rest, sh)
		}
	}
	return got, rest, nil
}
