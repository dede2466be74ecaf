package mutable

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// retrieval reads segments of one version from the shares that a survey has
// found, and asks it for more when they do not suffice.
type retrieval struct {
	*survey
	v       ssk.Version
	decoder *ssk.Decoder
	wg      sync.WaitGroup

	mu   sync.Mutex // guards below
	good []*holding
	bad  map[*holding]bool
}

func (s *survey) retrieve(v ssk.Version) (*retrieval, error) {
	d, err := ssk.NewDecoder(v, s.f.read)
	if err != nil {
		return nil, err
	}
	r := &retrieval{survey: s, v: v, decoder: d, bad: map[*holding]bool{}}
	r.update()
	return r, nil
}

// update takes in what the survey has found since.
func (r *retrieval) update() {
	r.survey.mu.Lock()
	list := r.holdings(r.v)
	r.survey.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.good = slices.DeleteFunc(list, func(h *holding) bool { return r.bad[h] })
}

// get picks a share whose number is not in use: of a server that the job does
// not use yet if possible, then the one that promises to be quickest. When
// none is left the survey has to go on.
func (r *retrieval) get(ctx context.Context, j *job) (*holding, error) {
	for {
		if h := r.pick(j); h != nil {
			return h, nil
		}
		if !r.more(ctx) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, errNoneLeft
		}
		r.update()
	}
}

var errNoneLeft = errors.New("no further share")

func (r *retrieval) pick(j *job) *holding {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best *holding
	better := func(a, b *holding) bool {
		return cmp.Or(cmp.Compare(a.late, b.late), cmp.Compare(j.servers[a.peer.ID], j.servers[b.peer.ID]), cmp.Compare(a.took, b.took)) < 0
	}
	for _, h := range r.good {
		if !j.used[h.num] && (best == nil || better(h, best)) {
			best = h
		}
	}
	if best != nil {
		j.used[best.num] = true
		j.servers[best.peer.ID]++
	}
	return best
}

// lose stops using a share. Its number may be had from another server.
func (r *retrieval) lose(j *job, h *holding, why error) {
	r.mu.Lock()
	was := r.bad[h]
	r.bad[h] = true
	r.good = slices.DeleteFunc(r.good, func(o *holding) bool { return o == h })
	delete(j.used, h.num)
	r.mu.Unlock()
	if !was {
		r.f.drop(h, why, r.tr)
	}
}

// blame notes which shares keep a job waiting, so that others are preferred.
func (r *retrieval) blame(j *job, arrived map[storage.ShareNum][]ssk.Block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.good {
		if j.asked[h] && arrived[h.num] == nil {
			h.late++
		}
	}
}

// job is one run of segments, fetched from k shares.
type job struct {
	first int64
	count int

	// guarded by retrieval.mu
	used    map[storage.ShareNum]bool
	servers map[string]int
	asked   map[*holding]bool
}

// fetched is what one share gave for a job.
type fetched struct {
	from   *holding // nil: there was none left to ask
	blocks []ssk.Block
	err    error
}

// fetch gets the blocks of a job from k shares. A share that fails is
// replaced; one that is late is joined by another, and the first k win.
func (r *retrieval) fetch(ctx context.Context, first int64, count int) (map[storage.ShareNum][]ssk.Block, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j := &job{first: first, count: count, used: map[storage.ShareNum]bool{}, servers: map[string]int{}, asked: map[*holding]bool{}}
	results := make(chan fetched, r.v.N+len(r.peers))
	pending, exhausted := 0, false
	launch := func() {
		pending++
		r.wg.Go(func() { results <- r.fetchOne(ctx, j) })
	}
	for range r.v.K {
		launch()
	}
	got := make(map[storage.ShareNum][]ssk.Block, r.v.K)
	start := time.Now()
	hedge := time.NewTimer(r.f.c.c.Patience.Hedge)
	defer hedge.Stop()
	for len(got) < r.v.K {
		select {
		case f := <-results:
			pending--
			switch {
			case f.from == nil:
				exhausted = true
			case f.err != nil:
				if ctx.Err() == nil {
					r.lose(j, f.from, f.err)
					launch()
				}
			default:
				got[f.from.num] = f.blocks
				hedge.Reset(max(r.f.c.c.Patience.Hedge, 3*time.Since(start)))
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if len(got)+pending < r.v.K {
				return nil, r.tooFew(len(got))
			}
		case <-hedge.C:
			r.blame(j, got)
			if !exhausted && pending < cap(results)-len(got) {
				launch()
			}
			hedge.Reset(max(r.f.c.c.Patience.Hedge, 2*time.Since(start)))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return got, nil // the late need not go on
}

// tooFew says why the version cannot be read, with have good shares at hand.
func (r *retrieval) tooFew(have int) error {
	r.survey.mu.Lock()
	defer r.survey.mu.Unlock()
	e := r.notEnough()
	e.Shares, e.Need = have, r.v.K
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := range r.bad {
		if _, bad := errors.AsType[*ssk.CorruptError](h.err); bad {
			e.Corrupt++
		}
		for i := range e.Reports {
			if s := &e.Reports[i]; s.ID == h.peer.ID {
				s.Err = h.err
			}
		}
	}
	return e
}

func (r *retrieval) fetchOne(ctx context.Context, j *job) fetched {
	h, err := r.get(ctx, j)
	if err != nil {
		return fetched{err: err}
	}
	r.mu.Lock()
	j.asked[h] = true
	r.mu.Unlock()
	span := h.share.BlocksSpan(j.first, j.count)
	start := time.Now()
	stall, cancel := context.WithTimeout(ctx, r.f.c.patience(span.Len))
	defer cancel()
	blocks, err := h.share.Blocks(stall, j.first, j.count)
	if err != nil {
		err = explain(ctx, r.f, h, err)
		r.mu.Lock()
		h.err = err
		r.mu.Unlock()
		return fetched{from: h, err: err}
	}
	r.tr.block(h.peer.ID, h.num, j.first, int(span.Len), time.Since(start))
	return fetched{from: h, blocks: blocks}
}

// patience is how long a server may take for so many bytes.
func (c *Client) patience(bytes int64) time.Duration {
	return c.c.Patience.Stall * time.Duration(1+bytes>>20)
}

// explain tells a damaged share from one that was overwritten meanwhile.
func explain(ctx context.Context, f *File, h *holding, err error) error {
	if _, damaged := errors.AsType[*ssk.CorruptError](err); !damaged {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
	defer cancel()
	now, e := slot{h.peer.Server, f.o.si, h.num}.ReadSpans(ctx, []storage.Span{{Len: int64(len(h.check))}})
	if e != nil {
		return e
	}
	if !bytes.Equal(now[0], h.check) {
		return errChanged
	}
	return err
}
