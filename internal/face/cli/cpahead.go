package cli

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// lookAhead reads those directories below a target on the grid that sources
// are to be merged with, several at a time: one after another each would cost
// a round trip. place finds them in c.listings.
func (c *copying) lookAhead(ctx context.Context, target *dest, sources []*thing) error {
	if !target.grid || target.missing {
		return nil
	}
	l := &looking{copying: c, slots: make(chan struct{}, c.f.parallel)}
	l.group, l.ctx = errgroup.WithContext(ctx)
	c.listings = map[caps.Cap]webclient.Node{}
	l.below(target, target.have, sources)
	return l.group.Wait()
}

// looking is a lookAhead under way.
type looking struct {
	*copying
	ctx   context.Context // of this lookAhead
	group *errgroup.Group
	slots chan struct{} // one for each request under way

	mu sync.Mutex // guards copying.listings
}

// below looks at the directories that things and a directory have in common.
func (l *looking) below(d *dest, have map[string]webclient.Node, things []*thing) {
	for _, t := range things {
		if !t.dir {
			continue
		}
		if t.name == "" { // a cap by itself: what is in it goes straight in
			l.below(d, have, t.children)
			continue
		}
		old, there := have[t.name]
		if !there || old.Type != webclient.Dir {
			continue
		}
		sub := &dest{grid: true, shown: d.below(t.name), at: webclient.At(old.Cap())}
		l.group.Go(func() error {
			n, err := l.listing(sub)
			if err == nil {
				l.below(sub, n.Children, t.children)
			}
			return err
		})
	}
}

func (l *looking) listing(d *dest) (webclient.Node, error) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-l.ctx.Done():
		return webclient.Node{}, context.Cause(l.ctx)
	}
	l.mu.Lock()
	n, known := l.listings[d.at.Cap]
	l.mu.Unlock()
	if known {
		return n, nil
	}
	n, err := l.gw.Look(l.ctx, d.at)
	if err != nil {
		return n, storeError("nothing was copied: "+d.shown, err, exitFailed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listings[d.at.Cap] = n
	return n, nil
}
