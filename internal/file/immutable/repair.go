package immutable

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
)

// RepairResult is what a repair found and did.
type RepairResult struct {
	Before *CheckResult
	// After is what there is now: what was found, and the shares that servers
	// have acknowledged since. It is Before when nothing was attempted. A
	// damaged share is in its Corrupt still, since it lies where it was.
	After     *CheckResult
	Attempted bool // it was not healthy, and could be read
	// Err is why an attempt did not come to its end. Servers that took no
	// share are not an error: After.Servers has their words.
	Err error
}

// Successful reports whether the file is healthy now.
func (r *RepairResult) Successful() bool { return r.After.Healthy() }

// repairsAtOnce bounds memory: a repair holds what a download and an upload do,
// and a tree may have many files that need one.
const repairsAtOnce = 2

// Repair checks a file and, if shares are missing or damaged and enough of the
// others are left to read it, makes those again and gives them to servers that
// have least of the file. The new shares are byte for byte those that were
// lost, or none is stored. What is whole stays where it is, and a share is
// never replaced in its place: there is no way to.
//
// It reads and writes as a download and an upload do, in memory bounded by
// segments, and takes turns with uploads of the same file. The error is ctx's,
// or that the cap cannot be checked; all else is in the result.
func (c *Client) Repair(ctx context.Context, cap caps.CHKVerifier, o CheckOptions, tr *Trace) (*RepairResult, error) {
	done, err := c.turns.take(ctx, cap.Index)
	if err != nil {
		return nil, err
	}
	defer done()
	before, err := c.Check(ctx, cap, o, tr)
	if err != nil {
		return nil, err
	}
	res := &RepairResult{Before: before, After: before}
	for !res.After.Healthy() && res.After.Recoverable() {
		res.Attempted = true
		r := newRepair(c, res.After, tr)
		select {
		case c.repairs <- struct{}{}:
			res.Err = r.run(ctx)
			<-c.repairs
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		res.After = r.now
		if res.Err != nil || len(r.found) == 0 { // else others are missing than was thought
			break
		}
	}
	if res.Attempted {
		c.c.Log.Info("repair ended", "si", cap.Index.Short(), "before", before.Good(), "now", res.After.Good(), "of", cap.N, "err", res.Err)
	}
	return res, nil
}

// repair is one pass over a file.
type repair struct {
	sending
	cap     caps.CHKVerifier
	now     *CheckResult // what there is; brought up to date at the end
	damaged map[string][]storage.ShareNum

	mu    sync.Mutex // guards below while the file is read
	found []CorruptShare
}

func newRepair(c *Client, was *CheckResult, tr *Trace) *repair {
	r := &repair{cap: was.Cap, now: was, damaged: map[string][]storage.ShareNum{},
		sending: sending{Client: c, trace: tr, si: was.Cap.Index, k: was.Cap.K, n: was.Cap.N}}
	for _, s := range was.Corrupt {
		r.damaged[s.Server] = append(r.damaged[s.Server], s.Num)
	}
	return r
}

// run reads the file and sends what is missing of it. The reading begins at
// once: its first segment tells how large shares are, which servers want to
// know before they give room.
func (r *repair) run(ctx context.Context) error {
	file, err := r.openCiphertext(r.cap, r.damaged)
	if err != nil {
		return err
	}
	p := r.newPlacement(r.c.Servers.ForUpload(r.si))
	p.holdings, p.damaged = r.now.holdings(), r.damaged
	for _, s := range r.now.Servers {
		if s.Err != nil && damage(s.Err) == "" {
			p.failed[s.ID] = s.Err // it will not answer now either
		}
	}
	err = r.copy(ctx, file, p)
	if err != nil && !errors.Is(err, errNobodyLeft) { // nothing was finished
		p.holdings = r.now.holdings()
	}
	r.conclude(p)
	return err
}

// copy takes the ciphertext from file to the servers.
func (r *repair) copy(ctx context.Context, file *File, p *placement) error {
	reading, cancel := context.WithCancel(ctx)
	r.giveUp = cancel
	out, in := io.Pipe()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer out.Close()
	defer cancel()
	wg.Go(func() { in.CloseWithError(file.ReadRange(reading, in, 0, r.cap.Size, r.watch())) })
	text := bufio.NewReader(out)
	if _, err := text.Peek(1); err != nil {
		return err
	}
	l, _ := file.chk.Layout()
	inFlight, err := affordable(l)
	if err != nil {
		return err
	}
	if r.enc, err = file.chk.Again(0, inFlight); err != nil {
		return err
	}
	if err := p.settle(ctx, len(p.peers)+1); err != nil {
		return err
	}
	if len(p.writers) == 0 {
		return nil // nobody has room, or somebody else has been here
	}
	_, err = r.push(ctx, p, text)
	return err
}

// How much memory, in bytes, the segments in flight may take, and the hashes of
// all blocks: the file's maker has chosen how large and how many they are.
const (
	maxInFlight = 256 << 20
	maxHashes   = 1 << 30
)

// affordable is how many segments may be in flight; 0: as many as usual.
func affordable(l chk.Layout) (inFlight int, err error) {
	segment := int64(l.N) * l.BlockSize
	if segment > maxInFlight || l.Segments > maxHashes/32/int64(l.N) {
		return 0, fmt.Errorf("to encode %d segments of %d bytes for %d shares takes too much memory: %w", l.Segments, l.SegmentSize, l.N, chk.ErrUnsupported)
	}
	if segment*int64(runtime.GOMAXPROCS(0)+2) > maxInFlight {
		inFlight = int(maxInFlight / segment)
	}
	return inFlight, nil
}

// watch is a Trace for the reading, which learns of shares that are damaged.
func (r *repair) watch() *Trace {
	t := &Trace{Dropped: func(server string, num storage.ShareNum, why error) {
		r.trace.dropped(server, num, why)
		if what := damage(why); what != "" {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.found = append(r.found, CorruptShare{server, num, what})
		}
	}}
	if r.trace != nil {
		t.Block = r.trace.Block
	}
	return t
}

// conclude brings up to date what there is.
func (r *repair) conclude(p *placement) {
	now := *r.now
	now.Corrupt = slices.Clone(now.Corrupt)
	for _, bad := range r.found {
		same := func(s CorruptShare) bool { return s.Server == bad.Server && s.Num == bad.Num }
		if !slices.ContainsFunc(now.Corrupt, same) {
			now.Corrupt = append(now.Corrupt, bad)
		}
		p.holdings[bad.Server] = slices.DeleteFunc(p.holdings[bad.Server], func(n storage.ShareNum) bool { return n == bad.Num })
	}
	slices.SortFunc(now.Corrupt, func(a, b CorruptShare) int {
		return cmp.Or(cmp.Compare(a.Num, b.Num), cmp.Compare(a.Server, b.Server))
	})
	now.Sharemap = map[storage.ShareNum][]string{}
	for _, id := range slices.Sorted(maps.Keys(p.holdings)) {
		for _, num := range p.holdings[id] {
			now.Sharemap[num] = append(now.Sharemap[num], id)
		}
	}
	now.Servers = slices.Clone(now.Servers)
	for _, rep := range p.reports() {
		i := slices.IndexFunc(now.Servers, func(s ServerReport) bool { return s.ID == rep.ID })
		if i < 0 {
			now.Servers = append(now.Servers, rep)
			continue
		}
		if was := now.Servers[i]; was.Shares != nil && rep.Shares == nil {
			rep.Shares = []storage.ShareNum{} // it has answered
		}
		rep.Err = cmp.Or(rep.Err, now.Servers[i].Err)
		now.Servers[i] = rep
	}
	r.now = &now
}
