package mutable

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// outage is how one operation bears with servers that are lost in the middle,
// as when tor restarts: it asks again until they answer, for Patience.Outage
// after it last got on.
type outage struct {
	f    *File
	good time.Time // when it last got on
	// gone has the servers that it has had to do with, and those that were
	// heard of the file within Outage before. True: not heard since it failed,
	// or not connected.
	gone   map[string]bool
	struck time.Time // when most were gone; zero: they never were
	back   time.Time // when most were back; zero: they are not
}

func (f *File) newOutage() *outage {
	o := &outage{f: f, good: time.Now(), gone: map[string]bool{}}
	for id := range f.o.knownSince(o.good.Add(-f.c.c.Patience.Outage)) {
		o.gone[id] = true // unless it is listed
	}
	return o
}

// lost reports whether err, of a server's part in a read, may be the network's.
func lost(err error) bool {
	_, damaged := errors.AsType[*ssk.CorruptError](err)
	return err != nil && !storage.Answered(err) && !damaged && err != errChanged && !errors.Is(err, ssk.ErrUnsupported)
}

// again says whether to ask the servers once more before anything is written,
// after a pause: most of those there were are lost, or were, and not all are
// back. What few servers say during an outage must not be taken for all there
// is, nor few be given all shares. failed has those of peers that were not
// heard. The error is ctx's.
func (o *outage) again(ctx context.Context, peers []storage.Peer, failed map[string]bool) (bool, error) {
	if o.f.c.c.Patience.Outage == 0 {
		return false, nil
	}
	o.see(func(yield func(string, bool) bool) {
		for _, p := range peers {
			if !yield(p.ID, failed[p.ID]) {
				return
			}
		}
	})
	if !o.wait(time.Now()) || o.over() {
		return false, nil
	}
	return true, o.pause(ctx, "most storage servers are lost")
}

// wait reports whether too many servers are gone to go on without them.
func (o *outage) wait(now time.Time) bool {
	gone := o.count()
	switch {
	case 2*gone > len(o.gone):
		if o.back = (time.Time{}); o.struck.IsZero() {
			o.struck = now
		}
		return true
	case gone == 0 || o.struck.IsZero(): // a few are away at any time
		return false
	case o.back.IsZero():
		o.back = now
	}
	// Most are back. The last may take as long again.
	return now.Sub(o.back) < max(o.f.c.c.Patience.Straggle, o.back.Sub(o.struck))
}

// over reports whether the operation has waited for long enough.
func (o *outage) over() bool { return time.Since(o.good) >= o.f.c.c.Patience.Outage }

// pass says whether err, with which an attempt has ended, may pass by itself,
// and the attempt should be made again: after a pause, that has gone by.
func (o *outage) pass(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil || o.over() || !o.mayPass(err) {
		return false
	}
	return o.pause(ctx, err.Error()) == nil
}

// mayPass reports whether servers are missing because they were not heard, as
// opposed to having no good share.
func (o *outage) mayPass(err error) bool {
	if errors.Is(err, errKeyAway) {
		return true
	}
	if e, ok := errors.AsType[*NewerError](err); ok {
		return o.count() > 0 || e.Newer == o.f.o.newestSeen()
	}
	e, ok := errors.AsType[*UnrecoverableError](err)
	if !ok {
		return false
	}
	o.see(func(yield func(string, bool) bool) {
		for _, r := range e.Reports {
			if !yield(r.ID, r.Err == errSlow || lost(r.Err)) {
				return
			}
		}
	})
	return len(e.Reports) == 0 || o.count() > 0
}

// see takes in which of the servers that are connected were not heard.
func (o *outage) see(servers iter.Seq2[string, bool]) {
	for id := range o.gone {
		o.gone[id] = true
	}
	for id, gone := range servers {
		o.gone[id] = gone
	}
}

// count is how many servers are gone.
func (o *outage) count() (n int) {
	for _, is := range o.gone {
		if is {
			n++
		}
	}
	return n
}

// pause lets a little time go by. Its error is ctx's.
func (o *outage) pause(ctx context.Context, why string) error {
	o.f.c.c.Log.Info("waiting for storage servers to come back", "si", o.f.o.si.Short(), "why", why)
	t := time.NewTimer(o.f.c.c.Patience.Hedge)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// short reports whether servers that were lost are worth waiting for: few
// shares of the version are placed, or most servers were lost, and hold shares
// of an older version that readers might take for the newest. They are not if
// there was a collision.
func (p *publication) short() bool {
	if p.clash || len(p.lost) == 0 {
		return false
	}
	p.out.see(func(yield func(string, bool) bool) {
		for id := range p.busy {
			if !yield(id, p.lost[id] != nil) {
				return
			}
		}
	})
	return p.out.wait(time.Now()) || p.placed() < max(p.version.K, p.version.N/2+1)
}

// await waits until servers that were lost are connected again, and sends them
// what they had been sent. False when that took too long, or nobody waits.
func (p *publication) await(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.f.c.ctx, cancel)()
	for !p.out.over() {
		if p.out.pause(ctx, fmt.Sprintf("%d of %d shares are placed", p.placed(), p.version.N)) != nil {
			return false
		}
		if p.resend(p.f.c.c.Servers.ForRead(p.f.o.si)); p.pending > 0 || len(p.lost) == 0 {
			return true
		}
	}
	return false
}

// resend sends those of peers that were lost what must be replaced there, and
// what has no home elsewhere. Each call is made again by itself: it may have
// been done, which shows only if nothing is added to it.
func (p *publication) resend(peers []storage.Peer) {
	for _, peer := range peers {
		calls := p.lost[peer.ID]
		delete(p.lost, peer.ID)
		if len(calls) > 0 {
			delete(p.failed, peer.ID)
		}
		for _, nums := range calls {
			p.send(peer, slices.DeleteFunc(nums, func(num storage.ShareNum) bool {
				_, held := p.m.known[peer.ID].shares[num]
				return !held && len(p.homes[num]) > 0
			}))
		}
	}
}
