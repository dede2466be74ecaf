package filestore

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

const (
	// ahead is how many directories are fetched at once.
	ahead = 8
	// aheadBytes is how large the tables may be that wait for their turn,
	// together; the directory whose turn it is is fetched in any case.
	aheadBytes = 32 << 20
)

// Item is something that a walk has come to.
type Item struct {
	// Path leads to it from the root, which has none.
	Path []string
	// Child is its caps.
	Child dirtable.Child
	// Entry is the link to it. It has no meaning for the root.
	Entry dirtable.Entry
}

// Cap is the most powerful cap there is; nil if nothing is known.
func (i Item) Cap() caps.Cap { return i.Child.Cap() }

// Type is what a walk tells apart: dirtable.File, dirtable.Directory, or
// dirtable.Any for things that can be neither read nor listed here.
func (i Item) Type() dirtable.Type {
	switch c := i.Cap().(type) {
	case caps.Dir:
		if readable(c) {
			return dirtable.Directory
		}
	case caps.CHK, caps.LIT, caps.SSK, caps.SSKRead:
		return dirtable.File
	}
	return dirtable.Any
}

// Visitor is told what a walk comes to, by one goroutine. An error it returns
// ends the walk.
type Visitor struct {
	// Visit is called for every object, of a directory before it is fetched.
	Visit func(Item) error
	// Listed is called with a directory's size in bytes and the number of
	// children in it that make sense. nil: nobody wants to know.
	Listed func(i Item, size int64, children int) error
	// Unreadable is called for a directory that cannot be fetched; without an
	// error the walk goes on beside it. nil: that ends the walk.
	Unreadable func(Item, error) error
}

// Walk visits root and all that can be reached from it, each object once
// however many links lead to it, by whatever caps: what has the same verify
// cap is the same. The order is that of the reference: a directory, then what
// is unknown in it, its files, and its subdirectories with all that is in
// them; names in the order of their bytes. Children that make no sense are
// left out.
//
// Directories that will be needed next are fetched meanwhile. Memory holds
// some tables (see aheadBytes), the directories that are known and not
// visited, and 16 bytes for each object. A directory that cannot be fetched is
// a *PathError; one that is prohibited is visited, and not entered.
func (s *Store) Walk(ctx context.Context, root *directory.Directory, v Visitor) error {
	ctx, cancel := context.WithCancel(ctx)
	w := &walk{store: s, visitor: v, seen: map[[16]byte]bool{}}
	defer w.fetching.Wait()
	defer cancel()
	w.isNew(root.Cap())
	w.stack = []*turn{{item: Item{Child: directory.ChildOf(root.Cap())}}}
	for len(w.stack) > 0 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		w.fetchAhead(ctx)
		top := len(w.stack) - 1
		t := w.stack[top]
		w.stack[top] = nil
		w.stack = w.stack[:top]
		if err := w.directory(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// walk is one Walk. Only Walk's goroutine touches it, but for the atomics.
type walk struct {
	store   *Store
	visitor Visitor
	seen    map[[16]byte]bool
	stack   []*turn // directories to visit; the last is next

	fetching sync.WaitGroup
	running  atomic.Int32
	waiting  atomic.Int64 // bytes of tables that wait for their turn
}

// turn is a directory that waits to be visited.
type turn struct {
	item  Item
	done  chan struct{} // nil: not being fetched
	table *dirtable.Table
	err   error
}

// isNew reports whether an object is seen for the first time. What has no
// verify cap always is.
func (w *walk) isNew(c caps.Cap) bool {
	v, ok := caps.Verifier(c)
	if !ok {
		return true
	}
	sum := sha256.Sum256([]byte(v.Reveal()))
	id := [16]byte(sum[:])
	if w.seen[id] {
		return false
	}
	w.seen[id] = true
	return true
}

// fetchAhead starts to fetch the next directory, and some behind it.
func (w *walk) fetchAhead(ctx context.Context) {
	for i, t := range slices.Backward(w.stack[max(0, len(w.stack)-ahead):]) {
		next := i == min(len(w.stack), ahead)-1
		if t.done == nil && (next || w.running.Load() < ahead && w.waiting.Load() < aheadBytes) {
			w.fetch(ctx, t)
		}
	}
}

func (w *walk) fetch(ctx context.Context, t *turn) {
	t.done = make(chan struct{})
	w.running.Add(1)
	w.fetching.Go(func() {
		defer close(t.done)
		defer w.running.Add(-1)
		if t.err = w.store.c.Blacklist.Check(t.item.Cap()); t.err != nil {
			return
		}
		var dir *directory.Directory
		if dir, t.err = w.store.c.Directories.Open(t.item.Cap().(caps.Dir)); t.err != nil {
			return
		}
		if t.table, t.err = dir.List(ctx, nil); t.err == nil {
			w.waiting.Add(t.table.Size())
		}
	})
}

// directory visits a directory and the files in it, and stacks its
// subdirectories.
func (w *walk) directory(ctx context.Context, t *turn) error {
	if err := w.visitor.Visit(t.item); err != nil {
		return err
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if t.err != nil {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if len(t.item.Path) > 0 && blacklist.Prohibited(t.err) {
			return nil // it is there, and nobody is to know what is in it
		}
		if w.visitor.Unreadable == nil {
			return &PathError{t.item.Path, len(t.item.Path) - 1, t.err}
		}
		return w.visitor.Unreadable(t.item, t.err)
	}
	w.waiting.Add(-t.table.Size())
	items := children(t.item.Path, t.table)
	if w.visitor.Listed != nil {
		if err := w.visitor.Listed(t.item, t.table.Size(), len(items)); err != nil {
			return err
		}
	}
	return w.children(items)
}

// children are those that make sense, in order.
func children(path []string, table *dirtable.Table) []Item {
	items := make([]Item, 0, table.Len())
	for name, e := range table.All() {
		if child, err := e.Child(); err == nil {
			items = append(items, Item{append(slices.Clip(path), name), child, e})
		}
	}
	return items
}

// children visits unknown things and files, and stacks directories.
func (w *walk) children(items []Item) error {
	var files, dirs []Item
	for _, i := range items {
		switch i.Type() {
		case dirtable.Any:
			if err := w.visitor.Visit(i); err != nil {
				return err
			}
		case dirtable.File:
			if w.isNew(i.Cap()) {
				files = append(files, i)
			}
		case dirtable.Directory:
			if w.isNew(i.Cap()) {
				dirs = append(dirs, i)
			}
		}
	}
	for _, i := range files {
		if err := w.visitor.Visit(i); err != nil {
			return err
		}
	}
	for _, i := range slices.Backward(dirs) {
		i.Entry = i.Entry.Alone() // else the whole table waits with it
		w.stack = append(w.stack, &turn{item: i})
	}
	return nil
}
