package mutable

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// rereads is how often a reader begins again because the file was changed, or
// shares went bad, while it read.
const rereads = 3

// Version returns the newest version that can be read now.
func (f *File) Version(ctx context.Context, tr *Trace) (ssk.Version, error) {
	s, err := f.surveyToRead(ctx, tr)
	if err != nil {
		return ssk.Version{}, err
	}
	return s.choose(tr)
}

// Read returns the contents of the newest version that can be read, and which
// version that is: one round trip for a small file. It ends with
// *UnrecoverableError or ctx.
func (f *File) Read(ctx context.Context, tr *Trace) ([]byte, ssk.Version, error) {
	s, err := f.surveyToRead(ctx, tr)
	if err != nil {
		return nil, ssk.Version{}, err
	}
	text, v, _, err := s.read(ctx)
	return text, v, err
}

// read fetches the best version whole, or the next best when that fails. It
// returns the survey too that the contents are from: s, or a later one.
func (s *survey) read(ctx context.Context) ([]byte, ssk.Version, *survey, error) {
	for try := 1; ; try++ {
		v, err := s.choose(s.tr)
		if err != nil {
			return nil, v, s, err
		}
		var text []byte
		r, err := s.retrieve(v)
		if err == nil {
			text, err = r.whole(ctx)
		}
		if err == nil {
			s.f.o.noteNewest(v)
			return text, v, s, nil
		}
		if ctx.Err() != nil {
			return nil, v, s, context.Cause(ctx)
		}
		if _, ok := errors.AsType[*UnrecoverableError](err); !ok || try == rereads {
			return nil, v, s, err
		}
		if s, err = s.again(ctx); err != nil {
			return nil, v, s, err
		}
	}
}

// again makes a new survey of the kind of s.
func (s *survey) again(ctx context.Context) (*survey, error) {
	fresh := s.f.newSurvey(s.writing, s.peers, s.head, s.tr)
	return fresh, fresh.run(ctx)
}

// ReadRange writes n bytes from offset off of the newest version that can be
// read to w, in order, each proven before it is written; n < 0: all from off
// on. Of an MDMF file only the segments that hold them are fetched. A range
// that ends past the file ends with the file; one that begins there is empty.
func (f *File) ReadRange(ctx context.Context, w io.Writer, off, n int64, tr *Trace) error {
	return f.Stream(ctx, func(ssk.Version) (io.Writer, int64, int64, error) { return w, off, n, nil }, tr)
}

// Stream is ReadRange for those who must know first which version is read:
// begin is told, and says what range of it goes where. It is called again when
// that version proves to be unreadable before a byte of it was written. Its
// error ends the reading.
func (f *File) Stream(ctx context.Context, begin func(ssk.Version) (w io.Writer, off, n int64, err error), tr *Trace) error {
	s, err := f.surveyToRead(ctx, tr)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		v, err := s.choose(tr)
		if err != nil {
			return err
		}
		w, off, n, err := begin(v)
		if err != nil {
			return err
		}
		if off < 0 {
			return fmt.Errorf("reading at %d: negative", off)
		}
		end := v.Size
		if n >= 0 && n < v.Size-off {
			end = off + n
		}
		out := &counter{w: w}
		r, err := s.retrieve(v)
		if err == nil && off < end {
			err = r.copy(ctx, out, off, end)
		}
		if err == nil {
			f.o.noteNewest(v)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, ok := errors.AsType[*UnrecoverableError](err); !ok || out.n > 0 || try == rereads {
			return err
		}
		if s, err = s.again(ctx); err != nil {
			return err
		}
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// choose picks the version to read, and says so if there is a newer one.
func (s *survey) choose(tr *Trace) (ssk.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.best()
	if !ok {
		return v, s.notEnough()
	}
	for _, seen := range s.versions() {
		if seen.Version.Compare(v) > 0 {
			tr.older(v, seen.Version, seen.Shares)
			s.f.c.c.Log.Warn("an older version is read: too few shares of a newer one were found", "si", s.f.o.si.Short(),
				"seqnum", v.Seqnum, "newer", seen.Version.Seqnum, "shares", seen.Shares, "needed", seen.Version.K)
			return v, nil
		}
	}
	if newest := s.f.o.newestSeen(); v.Compare(newest) < 0 {
		tr.older(v, newest, 0)
		s.f.c.c.Log.Warn("an older version is read: no share of a newer one, seen before, was found", "si", s.f.o.si.Short(),
			"seqnum", v.Seqnum, "newer", newest.Seqnum)
	}
	return v, nil
}

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
