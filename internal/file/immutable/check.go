package immutable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/grid/happiness"
	"tahoe-go/internal/storage"
)

// CheckOptions say how thorough a check is. The zero value asks servers what
// they hold and believes them.
type CheckOptions struct {
	Verify   bool // read every byte of every share and prove it
	AddLease bool // add or renew our lease on every share found
}

// CheckResult is what a check found.
type CheckResult struct {
	Cap      caps.CHKVerifier
	Verified bool // every byte was read

	// Sharemap has the servers that hold each share: proven to be good if
	// Verified, else by their own word. Sorted.
	Sharemap map[storage.ShareNum][]string
	// Corrupt are the shares that were found damaged, by server and number.
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

// Good is the number of distinct good shares.
func (r *CheckResult) Good() int { return len(r.Sharemap) }

// Healthy reports whether every one of the N shares is there.
func (r *CheckResult) Healthy() bool { return r.Good() == r.Cap.N }

// Recoverable reports whether the file can be read.
func (r *CheckResult) Recoverable() bool { return r.Good() >= r.Cap.K }

// holdings are the good shares by server.
func (r *CheckResult) holdings() map[string][]storage.ShareNum {
	held := map[string][]storage.ShareNum{}
	for num, servers := range r.Sharemap {
		for _, s := range servers {
			held[s] = append(held[s], num)
		}
	}
	return held
}

// Hosts is the number of servers with good shares.
func (r *CheckResult) Hosts() int { return len(r.holdings()) }

// Happy is the servers of happiness that the good shares make.
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
	return fmt.Sprintf("Not Healthy: %d shares (enc %d-of-%d)", r.Good(), r.Cap.K, r.Cap.N)
}

// Check asks every server which shares of the file it holds, and reads and
// proves them all if so told. Damaged shares are reported to their servers.
// What servers fail to do is in the result; the error is ctx's, or that the
// cap cannot be checked.
func (c *Client) Check(ctx context.Context, cap caps.CHKVerifier, o CheckOptions, tr *Trace) (*CheckResult, error) {
	file, err := chk.NewFile(cap)
	if err != nil {
		return nil, err
	}
	ch := &check{c: c, file: file, o: o, trace: tr,
		result: &CheckResult{Cap: cap, Verified: o.Verify, Sharemap: map[storage.ShareNum][]string{}}}
	peers := c.c.Servers.ForRead(cap.Index)
	ch.result.Servers = make([]ServerReport, len(peers))
	turns := make(chan struct{}, outstanding) // verifying, each holds a MiB
	var asking sync.WaitGroup
	for i, peer := range peers {
		ch.result.Servers[i] = ServerReport{ID: peer.ID, Name: peer.Name, Err: context.Canceled}
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			ch.ask(ctx, peer, &ch.result.Servers[i])
		})
	}
	asking.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	for _, servers := range ch.result.Sharemap {
		slices.Sort(servers)
	}
	slices.SortFunc(ch.result.Corrupt, func(a, b CorruptShare) int {
		return cmp.Or(cmp.Compare(a.Num, b.Num), cmp.Compare(a.Server, b.Server))
	})
	return ch.result, nil
}

// check is one check under way.
type check struct {
	c     *Client
	file  *chk.File
	o     CheckOptions
	trace *Trace

	mu     sync.Mutex // guards the maps and lists of below
	result *CheckResult
}

// ask learns what one server holds, proves it if so told, and writes rep.
func (ch *check) ask(ctx context.Context, peer storage.Peer, rep *ServerReport) {
	asked, cancel := context.WithTimeout(ctx, ch.c.c.Patience.Ask)
	defer cancel()
	start := time.Now()
	held, err := peer.Server.Shares(asked, ch.result.Cap.Index)
	nums := slices.Sorted(maps.Keys(held))
	ch.trace.asked(peer.ID, nums, err, time.Since(start))
	if rep.Err = err; err != nil {
		return
	}
	rep.Shares = []storage.ShareNum{} // it did answer
	for _, num := range nums {
		if int(num) >= ch.result.Cap.N {
			continue // of no file that the cap stands for
		}
		if ch.o.Verify {
			if err := ch.verify(ctx, peer, num, held[num]); err != nil {
				rep.Err = err
				continue
			}
		}
		rep.Shares = append(rep.Shares, num)
		ch.trace.placed(peer.ID, num, true)
		ch.mu.Lock()
		ch.result.Sharemap[num] = append(ch.result.Sharemap[num], peer.ID)
		ch.mu.Unlock()
	}
	if ch.o.AddLease && len(nums) > 0 {
		ch.addLease(ctx, peer, rep)
	}
}

func (ch *check) addLease(ctx context.Context, peer storage.Peer, rep *ServerReport) {
	ctx, cancel := context.WithTimeout(ctx, ch.c.c.Patience.Ask)
	defer cancel()
	si := ch.result.Cap.Index
	if err := peer.Server.AddLease(ctx, si, ch.c.leaseSecrets(si, peer)); err != nil && !errors.Is(err, storage.ErrNotFound) {
		rep.Err = cmp.Or(rep.Err, fmt.Errorf("renewing the lease: %w", err))
	}
}

// verify proves every byte of a share. Damage is noted and reported.
func (ch *check) verify(ctx context.Context, peer storage.Peer, num storage.ShareNum, from storage.ShareReader) error {
	src := impatient{from, ch.c.c.Patience.Stall}
	share, err := ch.file.OpenShare(ctx, src, num, -1)
	if err == nil {
		err = share.Verify(ctx)
	}
	if err == nil {
		return nil
	}
	ch.trace.dropped(peer.ID, num, err)
	what := damage(err)
	if what == "" && !errors.Is(err, chk.ErrBadEncoding) {
		return err // the server's failure, or its absence
	}
	ch.mu.Lock()
	ch.result.Corrupt = append(ch.result.Corrupt, CorruptShare{peer.ID, num, cmp.Or(what, err.Error())})
	ch.mu.Unlock()
	if what != "" { // not the fault of the file's maker
		ch.c.c.Log.Warn("share is damaged", "server", peer.ID, "si", ch.result.Cap.Index.Short(), "shnum", num, "what", what)
		ctx, cancel := context.WithTimeout(ctx, ch.c.c.Patience.Ask)
		defer cancel()
		from.ReportCorrupt(ctx, "does not verify: "+what)
	}
	return err
}

// impatient bounds each read of a share.
type impatient struct {
	storage.ShareReader
	limit time.Duration
}

// ReadAt reads, and waits no longer than the limit.
func (r impatient) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit, errStalled)
	defer cancel()
	n, err := r.ShareReader.ReadAt(ctx, p, off)
	if err != nil && err != io.EOF && ctx.Err() != nil && context.Cause(ctx) == errStalled {
		err = errStalled
	}
	return n, err
}
