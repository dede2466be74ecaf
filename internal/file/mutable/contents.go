package mutable

import (
	"context"
	"fmt"
	"io"

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

// whole reads all segments into one buffer.
func (r *retrieval) whole(ctx context.Context) ([]byte, error) {
	if r.v.Size > MaxWrite { // whoever has the write cap may claim any size
		return nil, fmt.Errorf("reading %d bytes: %w", r.v.Size, ErrTooLarge)
	}
	text := make([]byte, r.v.Size, r.v.Size+int64(r.v.K)) // the last segment may decode to more
	ctx, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()
	place := func(seg int64) []byte { return text[seg*r.v.SegmentSize : cap(text)] }
	size := version{r.v}.jobSize()
	errs := make(chan error, ahead)
	under := 0
	for next := int64(0); next < r.v.Segments() || under > 0; {
		for under < ahead && next < r.v.Segments() {
			first, count := next, int(min(int64(size), r.v.Segments()-next))
			next += int64(count)
			under++
			r.wg.Go(func() {
				got, err := r.fetch(ctx, first, count)
				if err == nil {
					_, err = r.decode(first, count, got, place)
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
