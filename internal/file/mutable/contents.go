package mutable

import (
	"context"
	"fmt"
	"io"
	"slices"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// Bounds of a job: bytes of one share, which go in one request, and bytes of
// the file.
const (
	jobShare = 1 << 20
	jobFile  = 4 << 20
	// ahead is how many jobs are under way at once: while one is decoded the
	// next are on the line.
	ahead = 3
)

// jobSize is how many segments make a job.
func (v version) jobSize() int {
	n := min(jobShare/max(v.BlockLen(0), 1), jobFile/max(v.SegmentSize, 1), ssk.MaxBlocks)
	return int(max(n, 1))
}

type version struct{ ssk.Version }

// decode turns the blocks of a job into text, segment i into buf(i).
func (r *retrieval) decode(first int64, count int, got map[storage.ShareNum][]ssk.Block, buf func(seg int64) []byte) ([][]byte, error) {
	texts := make([][]byte, count)
	for i := range count {
		seg := first + int64(i)
		blocks := make(map[storage.ShareNum]ssk.Block, len(got))
		for num, list := range got {
			blocks[num] = list[i]
		}
		text, err := r.decoder.Segment(seg, blocks, buf(seg))
		if err != nil {
			return nil, fmt.Errorf("the file was stored inconsistently by its maker: %w", err)
		}
		texts[i] = text
	}
	return texts, nil
}

// eager is how much of the contents is given memory before any of it has
// arrived, in bytes. Whoever has the write cap may claim any size, and have
// nothing behind it.
const eager = 8 << 20

// whole reads all segments into one buffer, which grows with what has arrived
// and is proven.
func (r *retrieval) whole(ctx context.Context) ([]byte, error) {
	if r.v.Size > MaxWrite {
		return nil, fmt.Errorf("reading %d bytes: %w", r.v.Size, ErrTooLarge)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()
	var text []byte
	for next := int64(0); next < r.v.Segments(); {
		count := min(max(eager, int64(len(text)))/r.v.SegmentSize, r.v.Segments()-next)
		var err error
		if count == 0 { // one segment alone is more
			count = 1
			text, err = r.appendLarge(ctx, text, next)
		} else {
			text, err = r.appendRun(ctx, text, next, count)
		}
		if err != nil {
			return nil, err
		}
		next += count
	}
	return text, nil
}

// appendLarge adds one segment to text, the contents before it.
func (r *retrieval) appendLarge(ctx context.Context, text []byte, seg int64) ([]byte, error) {
	got, err := r.fetch(ctx, seg, 1)
	if err != nil {
		return nil, err
	}
	list, err := r.decode(seg, 1, got, func(int64) []byte { return nil })
	if err != nil || len(text) > 0 {
		return append(text, slices.Concat(list...)...), err
	}
	return list[0], nil
}

// appendRun adds count segments to text, the contents before them, with ahead
// jobs under way.
func (r *retrieval) appendRun(ctx context.Context, text []byte, first, count int64) ([]byte, error) {
	end := min((first+count)*r.v.SegmentSize, r.v.Size)
	text = slices.Grow(text, int(end)-len(text)+r.v.K)[:end] // the last segment may decode to more
	place := func(seg int64) []byte { return text[seg*r.v.SegmentSize : cap(text)] }
	size := int64(version{r.v}.jobSize())
	errs := make(chan error, ahead)
	under := 0
	for next, last := first, first+count; next < last || under > 0; {
		for under < ahead && next < last {
			from, n := next, int(min(size, last-next))
			next += int64(n)
			under++
			r.wg.Go(func() {
				got, err := r.fetch(ctx, from, n)
				if err == nil {
					_, err = r.decode(from, n, got, place)
				}
				errs <- err
			})
		}
		if err := <-errs; err != nil {
			return nil, err
		}
		under--
	}
	return text, nil
}

// copy writes a range, a job at a time, with ahead jobs under way.
func (r *retrieval) copy(ctx context.Context, w io.Writer, off, end int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()
	type decoded struct {
		texts [][]byte
		err   error
	}
	type run struct {
		first int64
		text  chan decoded
	}
	next, last := r.v.SegmentsOf(off, end-off)
	var under []run
	for size := 1; next <= last || len(under) > 0; size = (version{r.v}).jobSize() { // the first is small, for a quick first byte
		for len(under) < ahead && next <= last {
			j, count := run{next, make(chan decoded, 1)}, int(min(int64(size), last-next+1))
			next += int64(count)
			under = append(under, j)
			r.wg.Go(func() {
				got, err := r.fetch(ctx, j.first, count)
				var d decoded
				if d.err = err; err == nil {
					d.texts, d.err = r.decode(j.first, count, got, func(int64) []byte { return nil })
				}
				j.text <- d
			})
		}
		d := <-under[0].text
		if d.err != nil {
			return d.err
		}
		for i, text := range d.texts {
			at := (under[0].first + int64(i)) * r.v.SegmentSize
			from, to := max(off-at, 0), min(end-at, int64(len(text)))
			if _, err := w.Write(text[from:to]); err != nil {
				return err
			}
		}
		under = under[1:]
	}
	return nil
}
