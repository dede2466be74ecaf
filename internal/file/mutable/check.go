package mutable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/grid/happiness"
	"tahoe-go/internal/storage"
)

// CheckOptions say how thorough a check is. The zero value asks servers what
// they hold and proves the version of each share.
type CheckOptions struct {
	Verify   bool // read every byte of every share and prove it
	AddLease bool // add or renew our lease on every share found
}

// CheckResult is what a check found.
type CheckResult struct {
	SI       storage.Index
	Verified bool // every byte was read
	// Versions are all that were seen, with the number of their distinct good
	// shares, newest first.
	Versions []Seen
	// Sharemap has the servers, sorted, that hold each good share of each
	// version.
	Sharemap map[ssk.Version]map[storage.ShareNum][]string
	// Corrupt are the shares that were found damaged, by number and server.
	Corrupt []CorruptShare
	// Servers were asked, in permuted order. One whose Err is set did not
	// answer, or not to the end.
	Servers []ServerReport
}

// CorruptShare is a share that does not verify, and where it lies.
type CorruptShare struct {
	Server string
	Num    storage.ShareNum
	What   string
}

// Best is the newest version that can be rebuilt. If there is none it is the
// newest seen, and zero if no share was found.
func (r *CheckResult) Best() (v ssk.Version, recoverable bool) {
	if v, ok := best(r.Versions); ok {
		return v, true
	}
	if len(r.Versions) > 0 {
		v = r.Versions[0].Version
	}
	return v, false
}

// Count says of how many versions there are enough shares, and of how many
// not.
func (r *CheckResult) Count() (recoverable, unrecoverable int) {
	for _, s := range r.Versions {
		if s.Shares >= s.Version.K {
			recoverable++
		} else {
			unrecoverable++
		}
	}
	return recoverable, unrecoverable
}

// Good is the number of distinct good shares of the best version.
func (r *CheckResult) Good() int {
	v, _ := r.Best()
	return len(r.Sharemap[v])
}

// Wrong is the number of shares of other versions.
func (r *CheckResult) Wrong() (n int) {
	best, _ := r.Best()
	for v, shares := range r.Sharemap {
		for _, servers := range shares {
			if v != best {
				n += len(servers)
			}
		}
	}
	return n
}

// Recoverable reports whether some version can be read.
func (r *CheckResult) Recoverable() bool {
	_, ok := r.Best()
	return ok
}

// Healthy reports whether every share of one version is there, and none of
// any other.
func (r *CheckResult) Healthy() bool {
	v, ok := r.Best()
	return ok && len(r.Versions) == 1 && r.Good() == v.N
}

// holdings are the good shares of the best version by server.
func (r *CheckResult) holdings() map[string][]storage.ShareNum {
	held := map[string][]storage.ShareNum{}
	v, _ := r.Best()
	for num, servers := range r.Sharemap[v] {
		for _, s := range servers {
			held[s] = append(held[s], num)
		}
	}
	return held
}

// Hosts is the number of servers with good shares of the best version.
func (r *CheckResult) Hosts() int { return len(r.holdings()) }

// Happy is the servers of happiness that these shares make.
func (r *CheckResult) Happy() int { return happiness.Happiness(r.holdings()) }

// Responding are the servers that answered, sorted.
func (r *CheckResult) Responding() []string {
	var ids []string
	for _, s := range r.Servers {
		if s.Err == nil || s.Shares != nil {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// Summary is one line for people.
func (r *CheckResult) Summary() string {
	if r.Healthy() {
		return "Healthy"
	}
	var why []string
	switch n, _ := r.Count(); {
	case len(r.Versions) == 0:
		why = append(why, "no share was found")
	case n == 0:
		why = append(why, "no version can be rebuilt")
	case n > 1:
		why = append(why, fmt.Sprintf("%d versions can be rebuilt", n))
	}
	if some, n := r.Count(); n > 0 && some > 0 {
		why = append(why, fmt.Sprintf("%d versions cannot be rebuilt", n))
	}
	if v, _ := r.Best(); r.Good() < v.N {
		why = append(why, fmt.Sprintf("version %d has %d shares (enc %d-of-%d)", v.Seqnum, r.Good(), v.K, v.N))
	}
	return "Not Healthy: " + strings.Join(why, ", ")
}

// Check asks every server which shares of the file it holds, and reads and
// proves them all if so told. cap is an SSK, SSKRead or SSKVerifier; with an
// SSK the private key in each share is verified too. Damaged shares are
// reported to their servers. What servers fail to do is in the result; the
// error is ctx's, or that the cap cannot be checked.
func (c *Client) Check(ctx context.Context, cap caps.Cap, o CheckOptions, tr *Trace) (*CheckResult, error) {
	var f *File
	if v, ok := cap.(caps.SSKVerifier); ok {
		f = &File{c: c, o: c.objects.get(v)}
	} else {
		var err error
		if f, err = c.Open(cap); err != nil {
			return nil, err
		}
	}
	s := f.newSurvey(true, f.c.c.Servers.ForRead(f.o.si), ssk.HeadSize, tr)
	s.whole, s.anew = true, o.Verify
	if err := s.runToEnd(ctx); err != nil {
		return nil, err
	}
	ch := &check{survey: s, o: o, result: &CheckResult{SI: f.o.si, Verified: o.Verify, Sharemap: map[ssk.Version]map[storage.ShareNum][]string{}}}
	ch.result.Servers = make([]ServerReport, len(s.peers))
	turns := make(chan struct{}, verifying)
	var asking sync.WaitGroup
	for i, peer := range s.peers {
		ch.result.Servers[i] = ServerReport{ID: peer.ID, Name: peer.Name}
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			ch.server(ctx, s.got[peer.ID], &ch.result.Servers[i])
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ch.conclude()
	return ch.result, nil
}

// verifying is how many servers' shares are read at once; each holds a few
// megabytes.
const verifying = 8

// runToEnd asks everybody and waits for all.
func (s *survey) runToEnd(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.tell()
	s.ask(len(s.peers))
	for len(s.pending) > 0 {
		select {
		case a := <-s.answers:
			s.take(a)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// check is one check under way.
type check struct {
	*survey
	o CheckOptions

	mu     sync.Mutex // guards below
	result *CheckResult
	good   []*holding
}

// server proves what one server holds, if so told, and writes rep.
func (ch *check) server(ctx context.Context, a *answer, rep *ServerReport) {
	if rep.Err = a.err; a.err != nil {
		return
	}
	rep.Shares = []storage.ShareNum{} // it did answer
	for _, h := range a.shares {
		err := h.err
		if err == nil && ch.o.Verify {
			if err = ch.verify(ctx, h); err != nil {
				ch.f.drop(h, err, ch.tr)
			}
		}
		ch.mu.Lock()
		if err == nil {
			rep.Shares = append(rep.Shares, h.num)
			ch.good = append(ch.good, h)
		} else {
			rep.Err = err
			if bad, ok := errors.AsType[*ssk.CorruptError](err); ok {
				ch.result.Corrupt = append(ch.result.Corrupt, CorruptShare{a.peer.ID, h.num, bad.What})
			}
		}
		ch.mu.Unlock()
	}
	if ch.o.AddLease && len(a.shares) > 0 {
		ctx, cancel := context.WithTimeout(ctx, ch.f.c.c.Patience.Ask)
		defer cancel()
		err := a.peer.Server.AddLease(ctx, ch.f.o.si, ch.f.c.leaseSecrets(ch.f.o.si, a.peer))
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			rep.Err = cmp.Or(rep.Err, fmt.Errorf("renewing the lease: %w", err))
		}
	}
}

// verify proves every byte of a share.
func (ch *check) verify(ctx context.Context, h *holding) error {
	v := h.version
	ctx, cancel := context.WithTimeout(ctx, ch.f.c.patience(v.Size/int64(v.K)))
	defer cancel()
	err := h.share.Verify(ctx)
	if err == nil && ch.f.write != nil {
		_, err = h.share.PrivateKey(ctx, *ch.f.write)
	}
	if err != nil {
		return explain(ctx, ch.f, h, err)
	}
	ch.f.o.mended(h.damage())
	return nil
}

// conclude counts.
func (ch *check) conclude() {
	r, t := ch.result, tally{}
	for _, h := range ch.good {
		t.see(h.version, h.num, true, true)
	}
	r.Versions = t.list()
	for _, h := range ch.good {
		if r.Sharemap[h.version] == nil {
			r.Sharemap[h.version] = map[storage.ShareNum][]string{}
		}
		r.Sharemap[h.version][h.num] = append(r.Sharemap[h.version][h.num], h.peer.ID)
	}
	for _, shares := range r.Sharemap {
		for _, servers := range shares {
			slices.Sort(servers)
		}
	}
	slices.SortFunc(r.Corrupt, func(a, b CorruptShare) int {
		return cmp.Or(cmp.Compare(a.Num, b.Num), cmp.Compare(a.Server, b.Server))
	})
}
