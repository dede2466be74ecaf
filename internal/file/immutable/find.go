package immutable

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
)

// outstanding is how many servers are asked for shares at once.
const outstanding = 10

// share is a share that was found, and opened if opened is set.
type share struct {
	num    storage.ShareNum
	peer   storage.Peer
	from   storage.ShareReader
	guess  bool // that it is there
	opened *chk.Share
	ahead  int64 // segment that came with the opening; -1: none

	// guarded by pool.mu
	late int   // how often it kept a chunk waiting
	busy int64 // bytes asked of it that have not come
}

// pool finds shares of one file and opens as many as are asked for, and some
// more for a long read: the chunks that are under way at once come from as many
// servers as there are. Servers are asked in permuted order; the first to
// answer serve.
type pool struct {
	f     *File
	ctx   context.Context // of the read
	first int64           // segment to read ahead when opening; as guessed
	wide  int             // shares worth opening
	trace *Trace
	wg    sync.WaitGroup

	mu      sync.Mutex // guards below
	changed chan struct{}
	found   []*share // not opened yet
	open    []*share
	opening map[storage.ShareNum]*share
	rest    []storage.Peer // whose share was not guessed
	looking bool           // these are being asked, or were
	finding bool           // not all of them have been
	listing int            // those among them whose share was guessed first
	guessed map[place]bool
	guesses []storage.Peer // whose share was guessed, and who were not asked what they hold
	corrupt int
	report  map[string]*ServerReport
	order   []string
}

func newPool(ctx context.Context, f *File, off, end int64, tr *Trace) *pool {
	p := &pool{f: f, ctx: ctx, trace: tr, changed: make(chan struct{}), finding: true,
		opening: map[storage.ShareNum]*share{}, guessed: map[place]bool{}, report: map[string]*ServerReport{}}
	segsize := int64(chk.DefaultSegmentSize)
	if l, ok := f.chk.Layout(); ok {
		segsize = l.SegmentSize
	}
	p.first = off / chk.Params{K: f.cap.K, N: f.cap.N, SegmentSize: segsize}.Round(f.cap.Size).SegmentSize
	chunks := 1 + (end-off-1)/chunkFile
	p.wide = int(min(int64(f.cap.N), int64(f.cap.K)*min(chunks, ahead)))
	peers := f.c.c.Servers.ForRead(f.si)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range peers {
		p.report[peer.ID] = &ServerReport{ID: peer.ID, Name: peer.Name}
		p.order = append(p.order, peer.ID)
	}
	p.rest = p.guess(peers)
	if len(p.guesses) == 0 || p.wide > f.cap.K || !f.c.trips.lucky() {
		p.look()
	}
	return p
}

// wait returns when nothing runs any more; the context must have ended.
func (p *pool) wait() { p.wg.Wait() }

// notify wakes those who wait in get. p.mu is held.
func (p *pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// look begins to ask the servers whose share was not guessed. p.mu is held.
func (p *pool) look() {
	if !p.looking {
		p.looking = true
		p.wg.Go(p.find)
	}
}

// find asks servers what they hold until the read ends.
func (p *pool) find() {
	turns := make(chan struct{}, outstanding)
	var asking sync.WaitGroup
	c := p.f.c
	for _, peer := range p.rest {
		select {
		case turns <- struct{}{}:
		case <-p.ctx.Done():
		}
		if p.ctx.Err() != nil {
			break
		}
		asking.Add(1)
		c.wg.Go(func() {
			defer asking.Done()
			// A server that is overdue no longer holds up those behind it.
			overdue := time.AfterFunc(c.c.Patience.Straggle, func() { <-turns })
			p.askOne(peer)
			if overdue.Stop() {
				<-turns
			}
		})
	}
	all := make(chan struct{})
	c.wg.Go(func() { asking.Wait(); close(all) })
	select {
	case <-all:
	case <-p.ctx.Done(): // the last answers are of no use
	}
	p.mu.Lock()
	p.finding = false
	p.notify()
	p.mu.Unlock()
}

// askOne asks a server what it holds. The answer is waited for, though the
// read may have ended: a request that is broken off costs a connection.
func (p *pool) askOne(peer storage.Peer) {
	ctx, cancel := background(p.ctx, p.f.c.c.Patience.Ask)
	defer cancel()
	defer context.AfterFunc(p.f.c.ctx, cancel)()
	start := time.Now()
	held, err := peer.Server.Shares(ctx, p.f.si)
	nums := slices.Sorted(maps.Keys(held))
	if err == nil {
		p.f.c.trips.note(peer.ID, time.Since(start))
	}
	p.trace.asked(peer.ID, nums, err, time.Since(start))
	p.mu.Lock()
	defer p.mu.Unlock()
	rep := p.report[peer.ID]
	rep.Err, rep.Shares = err, nums
	for _, num := range nums {
		if int(num) >= p.f.cap.N || slices.Contains(p.f.damaged[peer.ID], num) {
			continue
		}
		if !p.guessed[place{peer.ID, num}] {
			p.found = append(p.found, &share{num: num, peer: peer, from: held[num]})
			p.trace.placed(peer.ID, num, true)
		}
	}
	p.widen()
	p.notify()
}

// job is one chunk's use of shares: no share number twice.
type job struct {
	first   int64                     // segment
	bytes   int64                     // of one share
	used    map[storage.ShareNum]bool // guarded by pool.mu
	awaited map[storage.ShareNum]bool // being opened, and wanted; guarded by pool.mu
}

func (p *pool) newJob(first, bytes int64) *job {
	return &job{first: first, bytes: bytes, used: map[storage.ShareNum]bool{}, awaited: map[storage.ShareNum]bool{}}
}

var errNoneLeft = errors.New("no further share")

// get returns an open share that job does not use yet, opening one if need
// be. errNoneLeft when there is none and none can come.
func (p *pool) get(ctx context.Context, j *job) (*share, error) {
	widen := time.NewTimer(p.f.c.c.Patience.Hedge)
	defer widen.Stop()
	wide := false // several shares of one server will do, and one more than enough
	waitingFor := storage.ShareNum(0)
	waiting := false
	for {
		p.mu.Lock()
		if s := p.best(j); s != nil && (wide || s.ahead == j.first || !p.coming(j, waitingFor, waiting)) {
			j.used[s.num] = true
			s.busy += j.bytes
			if waiting {
				delete(j.awaited, waitingFor) // another of the job's may have it
			}
			p.mu.Unlock()
			return s, nil
		}
		if _, still := p.opening[waitingFor]; !waiting || !still {
			if waiting {
				delete(j.awaited, waitingFor)
			}
			waiting = false
			if num, ok := p.underway(j); ok && !wide {
				waitingFor, waiting = num, true
			} else if s := p.candidate(j, wide || !p.finding && p.listing == 0 && len(p.guesses) == 0); s != nil {
				p.startOpening(s, p.first)
				p.widen()
				waitingFor, waiting = s.num, true
			}
			if waiting {
				j.awaited[waitingFor] = true
			}
		}
		if !waiting {
			p.look()
		}
		if !waiting && (wide || !p.finding) {
			p.list("")
		}
		over := !waiting && !p.finding && p.listing == 0 && len(p.opening) == 0
		changed := p.changed
		p.mu.Unlock()
		if over {
			return nil, errNoneLeft
		}
		select {
		case <-changed:
		case <-widen.C:
			wide, waiting = true, false // what is being opened is late: open one more
			widen.Reset(2 * p.f.c.c.Patience.Hedge)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// startOpening proves a share in the background, and reads a segment of it
// ahead if that is not negative. p.mu is held.
func (p *pool) startOpening(s *share, first int64) {
	p.found = slices.DeleteFunc(p.found, func(o *share) bool { return o == s })
	p.opening[s.num] = s
	s.ahead = first
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.f.c.c.Patience.Stall)
		defer cancel()
		opened, err := p.f.chk.OpenShare(ctx, s.from, s.num, first)
		p.mu.Lock()
		delete(p.opening, s.num)
		if err == nil {
			s.opened = opened
			p.open = append(p.open, s)
			if s.guess {
				p.holds(s)
			}
		}
		_, damaged := errors.AsType[*chk.CorruptError](err)
		if err != nil && s.guess && !damaged && p.ctx.Err() == nil {
			p.wrong(s)
		}
		p.notify()
		p.mu.Unlock()
		if err != nil && p.ctx.Err() == nil && !(s.guess && errors.Is(err, storage.ErrNotFound)) {
			p.drop(s, err)
		}
	})
}

// layout returns once a share has told the file's geometry.
func (p *pool) layout(ctx context.Context) (chk.Layout, error) {
	ctx, cancel := context.WithCancel(ctx)
	var jobs sync.WaitGroup
	defer jobs.Wait()
	defer cancel()
	failed := make(chan error, p.f.cap.K)
	j := p.newJob(p.first, 0)
	for range p.f.cap.K { // open all that the first chunk will want, but wait for one
		jobs.Go(func() {
			if _, err := p.get(ctx, j); err != nil {
				failed <- err
			}
		})
	}
	for fails := 0; ; {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if l, ok := p.f.chk.Layout(); ok {
			return l, nil
		}
		select {
		case <-changed:
		case <-failed:
			if fails++; fails == p.f.cap.K {
				if ctx.Err() != nil {
					return chk.Layout{}, context.Cause(ctx)
				}
				return chk.Layout{}, p.notEnough(0)
			}
		}
	}
}

// blame notes which shares keep a job waiting, so that others are preferred.
func (p *pool) blame(j *job, arrived map[storage.ShareNum][][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.open {
		if j.used[s.num] && arrived[s.num] == nil {
			s.late++
		}
	}
}

// drop stops using a share. A damaged one is reported to its server, once.
func (p *pool) drop(s *share, why error) {
	p.mu.Lock()
	was := len(p.open)
	p.open = slices.DeleteFunc(p.open, func(o *share) bool { return o == s })
	if s.opened != nil && len(p.open) == was {
		p.mu.Unlock()
		return // another chunk has dropped it already
	}
	what := damage(why)
	if what != "" {
		p.corrupt++
	}
	if rep := p.report[s.peer.ID]; rep != nil {
		rep.Err = why
		rep.Shares = slices.DeleteFunc(rep.Shares, func(n storage.ShareNum) bool { return n == s.num })
	}
	p.notify()
	p.mu.Unlock()
	p.trace.dropped(s.peer.ID, s.num, why)
	if what != "" {
		p.f.c.c.Log.Warn("share is damaged", "server", s.peer.ID, "si", p.f.si.Short(), "shnum", s.num, "what", what)
		go func() { // the reader does not wait for the report; it is bounded by Ask
			ctx, cancel := background(p.ctx, p.f.c.c.Patience.Ask)
			defer cancel()
			s.from.ReportCorrupt(ctx, "does not verify: "+what)
		}()
	}
}

// notEnough says why the file cannot be read, with have good shares at hand.
func (p *pool) notEnough(have int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &NotEnoughSharesError{Have: max(have, len(p.open)), Need: p.f.cap.K, Corrupt: p.corrupt}
	for _, id := range p.order {
		e.Servers = append(e.Servers, *p.report[id])
	}
	return e
}
