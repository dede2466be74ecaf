package filestore

import (
	"context"
	"sync"

	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

const (
	// maxLinks is how many links to directories are remembered, some hundred
	// bytes each.
	maxLinks = 4096
	// maxExpected is how many directories of a path are fetched at once.
	maxExpected = 8
)

// links are those to directories that were followed lately. They say what
// will probably be wanted, never what is there.
type links struct {
	mu sync.Mutex // guards below
	to map[link]caps.Dir
}

type link struct {
	from caps.Dir
	name string // in NFC
}

// remember notes where a link led. One that leads to no directory is
// forgotten.
func (l *links) remember(from caps.Dir, name string, to caps.Cap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, ok := to.(caps.Dir)
	if !ok || !readable(dir) {
		delete(l.to, link{from, name})
		return
	}
	if l.to == nil {
		l.to = map[link]caps.Dir{}
	}
	if len(l.to) >= maxLinks {
		for any := range l.to { // in no order
			delete(l.to, any)
			break
		}
	}
	l.to[link{from, name}] = dir
}

func (l *links) recall(from caps.Dir, name string) (caps.Dir, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, ok := l.to[link{from, name}]
	return dir, ok
}

// expected are the directories along a path that are being fetched all at
// once, as links led when they were followed last. A table is used only if the
// link, read anew, still leads there; it was fetched within this operation, so
// it is as new as if it had waited for its turn.
type expected struct {
	cancel  context.CancelFunc
	tr      *mutable.Trace
	fetches []*fetch
	wg      sync.WaitGroup
}

type fetch struct {
	cap   caps.Dir
	done  chan struct{}
	table *dirtable.Table
	err   error
}

// expect begins to fetch node and what will be wanted after it: the last
// directory on the path too, if list is set.
func (s *Store) expect(ctx context.Context, node Node, path []string, list bool, tr *mutable.Trace) *expected {
	ctx, cancel := context.WithCancel(ctx)
	e := &expected{cancel: cancel, tr: tr}
	dir, ok := node.(*Directory)
	if !ok {
		return e
	}
	want := len(path)
	if list {
		want++
	}
	next := dir.Directory
	for len(e.fetches) < min(want, maxExpected) {
		e.start(ctx, next)
		if len(e.fetches) > len(path) {
			break
		}
		cap, ok := s.links.recall(next.Cap(), norm.NFC.String(path[len(e.fetches)-1]))
		if !ok || s.c.Blacklist.Check(cap) != nil {
			break
		}
		var err error
		if next, err = s.c.Directories.Open(cap); err != nil {
			break
		}
	}
	return e
}

func (e *expected) start(ctx context.Context, dir *directory.Directory) {
	f := &fetch{cap: dir.Cap(), done: make(chan struct{})}
	e.fetches = append(e.fetches, f)
	e.wg.Go(func() {
		defer close(f.done)
		f.table, f.err = dir.List(ctx, e.tr)
	})
}

// fetch returns the table of dir, the i-th directory on the path.
func (e *expected) fetch(ctx context.Context, i int, dir *Directory) (*dirtable.Table, error) {
	if i < len(e.fetches) && e.fetches[i].cap == dir.Directory.Cap() {
		f := e.fetches[i]
		select {
		case <-f.done:
			return f.table, f.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	e.cancel() // the path leads elsewhere now
	e.fetches = nil
	return dir.List(ctx, e.tr)
}

// stop gives up what is not wanted any more.
func (e *expected) stop() {
	e.cancel()
	e.wg.Wait()
}
