package immutable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
)

// fetched is what one share gave for a chunk.
type fetched struct {
	share  *share // nil: there was none left to ask
	blocks [][]byte
	buf    []byte // that blocks lie in
	err    error
	took   time.Duration
}

// chunk fetches the blocks of c from k shares, proves and decodes them. A
// share that fails is replaced; one that is late is joined by another, and
// the first k to arrive win.
func (r *reader) chunk(ctx context.Context, c *chunk) decoded {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan fetched, r.l.N)
	job := r.pool.newJob(c.first, c.bytes)
	pending, exhausted := 0, false
	launch := func() {
		pending++
		r.wg.Go(func() { results <- r.fetch(ctx, job, c) })
	}
	for range r.l.K {
		launch()
	}
	got := make(map[ids.ShareNum][][]byte, r.l.K)
	var used [][]byte
	start := time.Now()
	hedge := time.NewTimer(r.c.c.Patience.Hedge)
	defer hedge.Stop()
	for len(got) < r.l.K {
		select {
		case f := <-results:
			pending--
			switch {
			case f.share == nil:
				exhausted = true
			case f.err != nil:
				if ctx.Err() == nil {
					r.pool.drop(f.share, f.err)
				}
			default:
				got[f.share.num] = f.blocks
				used = append(used, f.buf)
				r.trace.block(f.share.peer.ID, f.share.num, c.first, size(f.blocks), f.took)
				hedge.Reset(max(r.c.c.Patience.Hedge, 3*time.Since(start)))
			}
			if f.err != nil && !exhausted {
				launch()
			}
			if len(got)+pending < r.l.K {
				if err := ctx.Err(); err != nil {
					return decoded{err: context.Cause(ctx)}
				}
				return decoded{err: r.pool.notEnough(len(got))}
			}
		case <-hedge.C:
			r.pool.blame(job, got)
			if !exhausted {
				launch()
			}
			hedge.Reset(max(r.c.c.Patience.Hedge, 2*time.Since(start)))
		case <-ctx.Done():
			return decoded{err: context.Cause(ctx)}
		}
	}
	cancel() // the late need not go on
	d := r.decode(c, got)
	for _, buf := range used {
		r.recycle(buf)
	}
	return d
}

func size(blocks [][]byte) (n int) {
	for _, b := range blocks {
		n += len(b)
	}
	return n
}

// fetch takes a share that the job does not use yet and reads the chunk's
// blocks from it.
func (r *reader) fetch(ctx context.Context, job *job, c *chunk) fetched {
	s, err := r.pool.get(ctx, job)
	if err != nil {
		return fetched{err: err}
	}
	start := time.Now()
	stall, cancel := context.WithTimeout(ctx, r.c.c.Patience.Stall)
	defer cancel()
	buf := r.buffer(c.bytes)
	blocks, err := s.opened.Blocks(stall, c.first, c.count, buf)
	r.pool.done(s, job)
	return fetched{share: s, blocks: blocks, buf: buf, err: err, took: time.Since(start)}
}

// decode turns k blocks of each segment into what the file is read as.
func (r *reader) decode(c *chunk, got map[ids.ShareNum][][]byte) decoded {
	d := decoded{segs: make([][]byte, c.count)}
	for i := range c.count {
		seg := c.first + int64(i)
		blocks := make(map[storage.ShareNum][]byte, len(got))
		for num, bs := range got {
			blocks[num] = bs[i]
		}
		text, err := r.chk.Decode(seg, blocks, r.buffer(r.l.SegmentSize))
		if err != nil {
			if se, ok := errors.AsType[*chk.SegmentError](err); ok {
				return decoded{err: fmt.Errorf("the file was stored inconsistently by its maker: %w", se)}
			}
			return decoded{err: err}
		}
		if r.cipher != nil {
			r.cipher.XOR(text, text, seg*r.l.SegmentSize)
		}
		d.segs[i] = text
	}
	return d
}
