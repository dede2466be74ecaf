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

// view is what is known of all servers, to write on.
type view struct {
	peers []storage.Peer    // in permuted order
	known map[string]*known // by server; those that have not answered are missing
}

// newView has the servers; those unknown, known is nil, are taken to hold
// nothing.
func newView(peers []storage.Peer, k map[string]*known) *view {
	if k == nil {
		k = map[string]*known{}
		for _, p := range peers {
			k[p.ID] = &known{shares: map[storage.ShareNum]held{}}
		}
	}
	return &view{peers, k}
}

// versions lists what is known, newest first.
func (m *view) versions() []Seen {
	t := tally{}
	for _, k := range m.known {
		for num, h := range k.shares {
			t.see(h.version, num, h.proven, h.good)
		}
	}
	return t.list()
}

// next is what a new version has to be like: the parameters of the file as it
// is, and a sequence number above all that were proven.
func (m *view) next() (like ssk.Version, seqnum uint64, ok bool) {
	list := m.versions()
	if len(list) == 0 {
		return like, 0, false
	}
	like = list[0].Version
	if b, ok := best(list); ok {
		like = b
	}
	return like, list[0].Version.Seqnum + 1, true
}

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

	start   time.Time
	results chan written
	pending int
	busy    map[string]int                       // calls under way, by server
	homes   map[storage.ShareNum]map[string]bool // true: it is there; false: on its way
	failed  map[string]error
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
		p.check[num] = e.Share(num)[:ssk.MaxCheckstring]
	}
	p.write = func(num storage.ShareNum) []storage.SlotPatch { return []storage.SlotPatch{{Data: e.Share(num)}} }
	return p.run()
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
// them in permuted order.
func (p *publication) room(load map[string][]storage.ShareNum, num storage.ShareNum) (storage.Peer, bool) {
	var fit []storage.Peer
	for _, peer := range p.m.peers {
		if _, has := p.homes[num][peer.ID]; !has && p.m.known[peer.ID] != nil && p.failed[peer.ID] == nil {
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
// though the caller has gone: half a version is worse than an old one.
func (p *publication) run() error {
	p.start = time.Now()
	p.results = make(chan written, len(p.m.peers)*(p.version.N+1))
	p.busy, p.failed, p.seen = map[string]int{}, map[string]error{}, map[ssk.Checkstring]bool{}
	p.homes = map[storage.ShareNum]map[string]bool{}
	jobs := p.plan()
	for _, peer := range p.m.peers {
		p.send(peer, jobs[peer.ID])
	}
	first, answered := p.pending, 0
	patience := &p.f.c.c.Patience
	late := time.NewTimer(p.f.c.patience(p.length) + time.Second)
	defer late.Stop()
	for overdue := 0; p.pending > 0; {
		select {
		case r := <-p.results:
			answered++
			p.take(r)
			if answered > first/2 {
				late.Reset(max(patience.Straggle, 3*time.Since(p.start)))
			}
		case <-late.C:
			overdue++
			if overdue > 1 && p.placed() >= p.version.K {
				return p.end()
			}
			p.rehome(true)
			late.Reset(max(patience.Straggle, time.Since(p.start)))
		}
	}
	return p.end()
}

// send writes shares to a server, with one call.
func (p *publication) send(peer storage.Peer, nums []storage.ShareNum) {
	if len(nums) == 0 {
		return
	}
	writes := map[storage.ShareNum]storage.SlotWrite{}
	for _, num := range nums {
		if p.homes[num] == nil {
			p.homes[num] = map[string]bool{}
		}
		p.homes[num][peer.ID] = false
		test := storage.SlotTest{Len: 1}
		if k := p.m.known[peer.ID]; len(k.shares[num].check) > 0 {
			check := k.shares[num].check
			test = storage.SlotTest{Len: int64(len(check)), Specimen: check}
		}
		writes[num] = storage.SlotWrite{Tests: []storage.SlotTest{test}, Writes: p.write(num), NewLength: &p.length}
	}
	p.pending++
	p.busy[peer.ID]++
	p.f.c.wg.Go(func() { p.results <- p.sendOne(peer, nums, writes) })
}

func (p *publication) sendOne(peer storage.Peer, nums []storage.ShareNum, writes map[storage.ShareNum]storage.SlotWrite) written {
	c, si := p.f.c, p.f.o.si
	var size int64
	for _, w := range writes {
		for _, patch := range w.Writes {
			size += int64(len(patch.Data))
		}
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, c.patience(size))
	defer cancel()
	res, err := peer.Server.TestAndWrite(ctx, si, p.f.writeEnabler(peer), c.leaseSecrets(si, peer), writes, []storage.Span{{Len: ssk.MaxCheckstring}})
	r := written{peer: peer, nums: nums, err: err}
	switch {
	case err != nil:
		if p.arrived(c.ctx, peer, nums, err) {
			r.err = nil
		}
	default:
		p.judge(&r, res)
	}
	o := p.f.o
	if r.err != nil || r.clash {
		o.forgetServer(peer.ID)
	} else {
		for _, num := range nums {
			o.wrote(peer.ID, num, held{check: p.check[num], version: p.version, proven: true, good: true})
		}
	}
	err = r.err
	if r.clash {
		err = &UncoordinatedError{Seen: r.seen}
	}
	p.tr.wrote(peer.ID, len(nums), err, time.Since(start))
	return r
}

// judge sees from what the server held before whether anybody else has been
// there.
func (p *publication) judge(r *written, res *storage.SlotResult) {
	before := p.m.known[r.peer.ID]
	same := true // all shares are those of this version: the server has taken them before
	for num, pieces := range res.Data {
		if len(pieces) != 1 {
			continue
		}
		check, ours := pieces[0], slices.Contains(r.nums, num)
		if ours && bytes.Equal(check, p.check[num]) {
			continue
		}
		same = same && !ours
		if bytes.Equal(check, before.shares[num].check) || bytes.Equal(check, p.check[num]) {
			continue
		}
		if c, err := ssk.ParseCheckstring(check); err == nil {
			if ours || c.Seqnum >= p.version.Seqnum {
				r.seen = append(r.seen, c)
			}
			if c.Seqnum >= p.version.Seqnum {
				r.clash = true
			}
		}
	}
	if res.Applied {
		return
	}
	for _, num := range r.nums {
		if _, has := res.Data[num]; !has {
			same = false
		}
	}
	r.clash = !same
}

// arrived asks whether a server has taken the shares although its answer was
// lost.
func (p *publication) arrived(ctx context.Context, peer storage.Peer, nums []storage.ShareNum, err error) bool {
	for _, refusal := range []error{storage.ErrNoSpace, storage.ErrTooLarge, storage.ErrBadWriteEnabler, storage.ErrRefused} {
		if errors.Is(err, refusal) {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.f.c.c.Patience.Ask)
	defer cancel()
	held, err := peer.Server.ReadSlot(ctx, p.f.o.si, nums, []storage.Span{{Len: ssk.MaxCheckstring}})
	if err != nil {
		return false
	}
	for _, num := range nums {
		if pieces := held[num]; len(pieces) != 1 || !bytes.Equal(pieces[0], p.check[num]) {
			return false
		}
	}
	return true
}

// take notes an answer and finds other homes for what was refused.
func (p *publication) take(r written) {
	p.pending--
	p.busy[r.peer.ID]--
	for _, c := range r.seen {
		p.seen[c] = true
	}
	switch {
	case r.clash:
		p.clash = true
		p.failed[r.peer.ID] = errClash
	case r.err != nil:
		p.failed[r.peer.ID] = r.err
		p.f.c.c.Log.Debug("server took no share", "server", r.peer.ID, "si", p.f.o.si.Short(), "err", r.err)
	default:
		for _, num := range r.nums {
			p.homes[num][r.peer.ID] = true
		}
		return
	}
	for _, num := range r.nums {
		delete(p.homes[num], r.peer.ID)
	}
	p.rehome(false)
}

var errClash = errors.New("another writer was there")

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

// Overwrite replaces the contents, whatever they are. If the servers were
// looked at lately it takes one round trip, otherwise two.
//
// Errors: ErrNotWritable, *UnrecoverableError when no share with
// the file's key is found, *NotEnoughServersError, *UncoordinatedError.
func (f *File) Overwrite(ctx context.Context, src []byte, tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	m, remembered, err := f.look(ctx, true, tr)
	if err != nil {
		return err
	}
	err = f.overwrite(ctx, m, src, tr)
	if _, clash := errors.AsType[*UncoordinatedError](err); clash && remembered {
		// Nobody interfered with this write: what was remembered was out of date.
		if m, _, err = f.look(ctx, false, tr); err != nil {
			return err
		}
		err = f.overwrite(ctx, m, src, tr)
	}
	return err
}

func (f *File) overwrite(ctx context.Context, m *view, src []byte, tr *Trace) error {
	like, seqnum, _ := m.next()
	key, err := f.key(ctx)
	if err != nil {
		return err
	}
	seqnum = max(seqnum, f.o.newestSeen().Seqnum+1) // servers that are away may hold that
	what := ssk.Config{Key: key, MDMF: like.MDMF, K: like.K, N: like.N, Seqnum: seqnum, Random: f.c.c.Random}
	return f.publishWhole(ctx, m, what, src, tr)
}

func (o *object) hasKey() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.key != nil
}

// key returns the file's key, from a share if it is not known yet.
func (f *File) key(ctx context.Context) (*ssk.PrivateKey, error) {
	f.o.mu.Lock()
	key, sample := f.o.key, f.o.sample
	f.o.mu.Unlock()
	if key != nil {
		return key, nil
	}
	if sample == nil {
		return nil, errNoKey
	}
	ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
	defer cancel()
	key, err := sample.PrivateKey(ctx, *f.write)
	if err != nil {
		return nil, fmt.Errorf("getting the file's key: %w", err)
	}
	f.o.learnKey(key)
	return key, nil
}

var errNoKey = errors.New("no share with the file's key was found")

// look returns what all servers hold, relying on memory if it may. It asks
// those that memory does not tell of.
func (f *File) look(ctx context.Context, remember bool, tr *Trace) (m *view, remembered bool, err error) {
	peers := f.c.c.Servers.ForUpload(f.o.si)
	since := time.Now()
	if remember {
		since = since.Add(-f.c.c.Patience.Fresh)
	}
	unknown := peers
	if remember {
		have := f.o.knownSince(since)
		unknown = slices.DeleteFunc(slices.Clone(peers), func(p storage.Peer) bool { return have[p.ID] != nil })
		remembered = len(unknown) < len(peers)
	}
	var s *survey
	if len(unknown) > 0 || !remembered {
		head := int64(readHead) // the key comes with it
		if f.o.hasKey() {
			head = ssk.HeadSize
		}
		s = f.newSurvey(true, unknown, head, tr)
		s.known, s.joins, s.since = len(peers)-len(unknown), remember, since
		if err := s.run(ctx); err != nil {
			return nil, false, err
		}
		remembered = remembered || s.joined.Load()
	}
	m = newView(peers, f.o.knownSince(since))
	if _, _, ok := m.next(); !ok {
		if remembered {
			return f.look(ctx, false, tr)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, false, s.notEnough()
	}
	return m, remembered, nil
}
