package mutable

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// publication is a new version on its way to the servers.
type publication struct {
	f       *File
	m       *view
	tr      *Trace
	version ssk.Version
	write   func(num storage.ShareNum) []storage.SlotPatch
	length  int64                       // of each share afterwards
	inPlace bool                        // write makes the share of the one that is there
	check   map[storage.ShareNum][]byte // the first bytes of each share afterwards

	ctx     context.Context // of the calls: ends with the next write
	start   time.Time
	results chan written
	pending int
	busy    map[string]int                       // calls under way, by server
	homes   map[storage.ShareNum]map[string]bool // true: it is there; false: on its way
	failed  map[string]error
	lost    map[string][][]storage.ShareNum // what servers were sent, by calls, that were not heard
	out     *outage
	seen    map[ssk.Checkstring]bool
	clash   bool // somebody else has written
}

// written is a server's answer to a call.
type written struct {
	peer  storage.Peer
	nums  []storage.ShareNum
	clash bool
	seen  []ssk.Checkstring
	err   error
}

// publishWhole encodes data and publishes it.
func (f *File) publishWhole(ctx context.Context, m *view, what ssk.Config, data []byte, tr *Trace) error {
	if len(data) > MaxWrite {
		return fmt.Errorf("writing %d bytes: %w", len(data), ErrTooLarge)
	}
	start := time.Now()
	e, err := ssk.Encode(ctx, what, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	tr.encoded(int64(len(data)), time.Since(start))
	p := &publication{f: f, m: m, tr: tr, version: e.Version, length: e.ShareSize(), check: map[storage.ShareNum][]byte{}}
	for num := range storage.ShareNum(e.Version.N) {
		p.check[num] = bytes.Clone(e.Share(num)[:ssk.MaxCheckstring]) // it is kept, the share is not
	}
	p.write = func(num storage.ShareNum) []storage.SlotPatch { return []storage.SlotPatch{{Data: e.Share(num)}} }
	return p.run(ctx)
}

// plan assigns shares to servers: each that is held is replaced where it is,
// whatever is there, so that nothing stale is left; the missing go to the
// servers with fewest, in permuted order.
func (p *publication) plan() map[string][]storage.ShareNum {
	jobs := map[string][]storage.ShareNum{}
	homeless := map[storage.ShareNum]bool{}
	for num := range storage.ShareNum(p.version.N) {
		homeless[num] = true
	}
	for _, peer := range p.m.peers {
		if k := p.m.known[peer.ID]; k != nil {
			for num := range k.shares {
				if int(num) < p.version.N {
					jobs[peer.ID] = append(jobs[peer.ID], num)
					delete(homeless, num)
				}
			}
		}
	}
	for _, num := range slices.Sorted(maps.Keys(homeless)) {
		if peer, ok := p.room(jobs, num); ok {
			jobs[peer.ID] = append(jobs[peer.ID], num)
		}
	}
	return jobs
}

// room finds the server for one more share: that with fewest, the first of
// them in permuted order that may be given any.
func (p *publication) room(load map[string][]storage.ShareNum, num storage.ShareNum) (storage.Peer, bool) {
	var fit []storage.Peer
	for _, peer := range p.m.peers {
		if _, has := p.homes[num][peer.ID]; !has && !peer.NoNewShares && p.m.known[peer.ID] != nil && p.failed[peer.ID] == nil {
			fit = append(fit, peer)
		}
	}
	if len(fit) == 0 {
		return storage.Peer{}, false
	}
	return slices.MinFunc(fit, func(a, b storage.Peer) int { return cmp.Compare(len(load[a.ID]), len(load[b.ID])) }), true
}

// run writes all shares at once, what is refused elsewhere, and returns when
// every share has found a home or no server is left. Once begun it goes on
// though the caller has gone: half a version is worse than an old one. While
// servers are lost and the caller is there it waits for them with this very
// version, so that what has arrived already counts and nothing is done twice.
func (p *publication) run(ctx context.Context) error {
	if end := p.f.o.stragglers; end != nil {
		end()
	}
	p.ctx, p.f.o.stragglers = context.WithCancel(p.f.c.ctx)
	defer p.leave(p.f.o.stragglers)
	p.start = time.Now()
	p.results = make(chan written, len(p.m.peers)*(p.version.N+1))
	p.busy, p.failed, p.seen = map[string]int{}, map[string]error{}, map[ssk.Checkstring]bool{}
	p.homes = map[storage.ShareNum]map[string]bool{}
	p.lost, p.out = map[string][][]storage.ShareNum{}, &outage{f: p.f, good: p.start, gone: map[string]bool{}}
	jobs := p.plan()
	for _, peer := range p.m.peers {
		p.send(peer, jobs[peer.ID])
	}
	p.gather()
	for p.short() && p.await(ctx) {
		p.gather()
	}
	return p.end()
}

// leave ends the calls' context once the last answer is there, or none is
// wanted.
func (p *publication) leave(end context.CancelFunc) {
	left, results := p.pending, p.results
	if left == 0 {
		end()
		return
	}
	p.f.c.wg.Go(func() {
		for range left {
			<-results
		}
		end()
	})
}

// gather takes answers until there are none to come, or enough for those late
// not to matter.
func (p *publication) gather() {
	start, first, answered := time.Now(), p.pending, 0
	patience := &p.f.c.c.Patience
	late := time.NewTimer(p.f.c.patience(p.length) + time.Second)
	defer late.Stop()
	for overdue := 0; p.pending > 0; {
		select {
		case r := <-p.results:
			answered++
			p.take(r)
			if answered > first/2 {
				late.Reset(max(patience.Straggle, 3*time.Since(start)))
			}
		case <-late.C:
			overdue++
			if overdue > 1 && p.placed() >= p.version.K {
				return
			}
			p.rehome(true)
			late.Reset(max(patience.Straggle, time.Since(start)))
		}
	}
}

// take notes an answer and finds other homes for what was refused.
func (p *publication) take(r written) {
	p.pending--
	p.busy[r.peer.ID]--
	for _, c := range r.seen {
		p.seen[c] = true
	}
	switch {
	case r.clash && p.m.alone:
		p.failed[r.peer.ID] = errLie
	case r.clash:
		p.clash = true
		p.failed[r.peer.ID] = errClash
	case r.err != nil:
		p.failed[r.peer.ID] = r.err
		if !storage.Answered(r.err) {
			p.lost[r.peer.ID] = append(p.lost[r.peer.ID], r.nums)
		}
		p.f.c.c.Log.Debug("server took no share", "server", r.peer.ID, "si", p.f.o.si.Short(), "err", r.err)
	default:
		for _, num := range r.nums {
			p.homes[num][r.peer.ID] = true
		}
		p.out.good = time.Now()
		return
	}
	for _, num := range r.nums {
		delete(p.homes[num], r.peer.ID)
	}
	p.rehome(false)
}

var (
	errClash = errors.New("another writer was there")
	errLie   = errors.New("it says that it holds shares of a file that is new")
)

// rehome sends the shares that have no home, nor are on their way to one, to
// further servers; if late, those too that have been on their way for long.
func (p *publication) rehome(late bool) {
	if p.clash || p.inPlace {
		return
	}
	load, jobs := map[string][]storage.ShareNum{}, map[string][]storage.ShareNum{}
	for num, homes := range p.homes {
		for id := range homes {
			load[id] = append(load[id], num)
		}
	}
	for num := range storage.ShareNum(p.version.N) {
		there, coming := false, false
		for _, is := range p.homes[num] {
			there, coming = there || is, coming || !is
		}
		if there || coming && !late {
			continue
		}
		if peer, ok := p.room(load, num); ok && (!late || p.busy[peer.ID] == 0) {
			load[peer.ID] = append(load[peer.ID], num)
			jobs[peer.ID] = append(jobs[peer.ID], num)
		}
	}
	for _, peer := range p.m.peers {
		p.send(peer, jobs[peer.ID])
	}
}

// placed counts the shares that have a home.
func (p *publication) placed() (n int) {
	for _, homes := range p.homes {
		if slices.Contains(slices.Collect(maps.Values(homes)), true) {
			n++
		}
	}
	return n
}

// end tells how it went.
func (p *publication) end() error {
	n, o := p.placed(), p.f.o
	if n >= p.version.K {
		o.noteNewest(p.version)
	}
	p.tr.published(p.version, n, time.Since(p.start))
	if p.clash {
		o.forgetServer("")
		seen := slices.Collect(maps.Keys(p.seen))
		slices.SortFunc(seen, func(a, b ssk.Checkstring) int { return cmp.Compare(b.Seqnum, a.Seqnum) })
		return &UncoordinatedError{Seen: seen, ours: p.version}
	}
	if n < p.version.K {
		return p.notEnough(n)
	}
	if n < p.version.N {
		p.f.c.c.Log.Warn("some shares of a mutable file found no server", "si", o.si.Short(), "placed", n, "of", p.version.N)
	}
	return nil
}

func (p *publication) notEnough(placed int) error {
	e := &NotEnoughServersError{Placed: placed, Want: p.version.K, N: p.version.N, Reports: p.reports()}
	for _, r := range e.Reports {
		if r.Err != nil {
			e.Errs = append(e.Errs, fmt.Errorf("%s: %w", cmp.Or(r.Name, r.ID), r.Err))
		}
	}
	return e
}

// reports says of every server what became of it.
func (p *publication) reports() []ServerReport {
	out := make([]ServerReport, 0, len(p.m.peers))
	for _, peer := range p.m.peers {
		r := ServerReport{ID: peer.ID, Name: peer.Name, Err: p.failed[peer.ID]}
		for num, homes := range p.homes {
			if homes[peer.ID] {
				r.Shares = append(r.Shares, num)
			}
		}
		slices.Sort(r.Shares)
		if r.Err == nil && (p.m.known[peer.ID] == nil || p.busy[peer.ID] > 0) {
			r.Err = errSlow
		}
		out = append(out, r)
	}
	return out
}
