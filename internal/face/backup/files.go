package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// work is a file that the database does not settle.
type work struct {
	item *Item
	old  *Known // to be checked first; nil: to be sent
}

// files gives every file of the tree its cap.
func (b *run) files(ctx context.Context, tree *Tree) error {
	todo, err := b.decide(ctx, tree.Root, nil)
	if err != nil {
		return err
	}
	if b.DryRun {
		b.foresee(todo)
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.Parallel)
	for _, w := range todo {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return b.file(ctx, w) })
	}
	return g.Wait()
}

// decide looks every file of folder up, and returns those that want work.
func (b *run) decide(ctx context.Context, folder *Item, todo []work) ([]work, error) {
	for _, i := range folder.Items {
		if i.Folder {
			var err error
			if todo, err = b.decide(ctx, i, todo); err != nil {
				return nil, err
			}
			continue
		}
		known, ok, err := b.DB.File(ctx, i.Path, i.Stat, !b.IgnoreTimestamps)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			todo = append(todo, work{item: i})
			b.mu.Lock()
			b.progress.TotalBytes += i.Stat.Size
			b.mu.Unlock()
		case b.mustCheck(known):
			todo = append(todo, work{i, &known})
		default:
			b.reuse(i, known)
		}
	}
	return todo, ctx.Err()
}

func (b *run) reuse(i *Item, k Known) {
	i.cap = k.Cap
	b.say(i.Path, Reusing)
	b.done(1, 0, func(r *Result) { r.Files.Reused++ })
}

// foresee says what a run that is not dry would do.
func (b *run) foresee(todo []work) {
	for _, w := range todo {
		if w.old != nil {
			b.say(w.item.Path, Checking)
			w.item.cap = w.old.Cap
			b.done(1, 0, func(r *Result) { r.Files.Checked++; r.Files.Reused++ })
			continue
		}
		f, err := open(w.item.Path)
		if err != nil {
			b.leaveOut(w.item, err)
			continue
		}
		f.Close()
		b.say(w.item.Path, Uploading)
		b.done(1, 0, func(r *Result) { r.Files.New++; r.NewBytes += w.item.Stat.Size })
	}
}

// file checks or sends one file.
func (b *run) file(ctx context.Context, w work) error {
	if w.old != nil {
		healthy, err := b.whole(ctx, w.item.Path, *w.old)
		if err != nil {
			return stopped(w.item, err)
		}
		b.mu.Lock()
		b.r.Files.Checked++
		if !healthy {
			b.progress.TotalBytes += w.item.Stat.Size
		}
		b.mu.Unlock()
		if healthy {
			b.reuse(w.item, *w.old)
			return nil
		}
	}
	b.say(w.item.Path, Uploading)
	err := b.send(ctx, w.item)
	if bad, ok := errors.AsType[*localError](err); ok {
		b.leaveOut(w.item, bad.error)
		return nil
	}
	if err != nil {
		return stopped(w.item, err)
	}
	b.say(w.item.Path, Uploaded)
	b.done(1, 0, func(r *Result) { r.Files.New++; r.NewBytes += w.item.Stat.Size })
	return nil
}

// StoppedError is why a backup has ended early, and at which file or folder.
type StoppedError struct {
	Path string
	Err  error
}

// Error names the path and the cause.
func (e *StoppedError) Error() string { return fmt.Sprintf("%s: %v", e.What(), e.Err) }

// What says what could not be done.
func (e *StoppedError) What() string { return "the backup stopped at " + Quote(e.Path) }

// Unwrap returns the cause.
func (e *StoppedError) Unwrap() error { return e.Err }

func stopped(i *Item, err error) error { return &StoppedError{i.Path, err} }

// leaveOut skips a file that turned out to be unreadable.
func (b *run) leaveOut(i *Item, err error) {
	i.skipped = true
	b.skip(Skipped{Path: i.Path, Why: refusal(i, err), Detail: detailOf(err)})
	b.done(1, 0, nil)
}

// localError is the file's fault, not the grid's.
type localError struct{ error }

// errShrinks: the file had fewer bytes than the system had said.
var errShrinks = errors.New("it becomes shorter while it is read")

// errOther: it is no file any more.
var errOther = errors.New("something else has taken its place")

// tries is how often a file that becomes shorter meanwhile is read.
const tries = 3

// send stores a file and remembers where. One that grows meanwhile is stored
// as long as it was at the start. One that has changed is not remembered, so
// that the next backup sends it again.
func (b *run) send(ctx context.Context, i *Item) error {
	var err error
	for range tries {
		err = b.sendOnce(ctx, i)
		if bad, ok := errors.AsType[*localError](err); !ok || bad.error != errShrinks {
			return err
		}
	}
	return err
}

func (b *run) sendOnce(ctx context.Context, i *Item) error {
	f, err := open(i.Path)
	if err != nil {
		return &localError{err}
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return &localError{err}
	} else if !info.Mode().IsRegular() {
		return &localError{errOther}
	}
	if i.Stat, err = statFile(f); err != nil {
		return &localError{err}
	}
	src := &source{r: io.LimitReader(f, i.Stat.Size), size: i.Stat.Size, report: func(n int64) { b.done(0, n, nil) }}
	cap, err := b.Gateway.Put(ctx, src, i.Stat.Size)
	if sent, bad := src.leave(); bad != nil {
		b.done(0, -sent, nil) // they do not count
		return &localError{bad}
	}
	if err != nil {
		return err
	}
	if !Immutable(cap) {
		return errors.New("the gateway answered with a cap that is not of an immutable file")
	}
	i.cap = cap
	return b.record.add(record{cap: cap, path: i.Path, stat: i.Stat})
}

// source reads a file of known length and remembers what went wrong.
type source struct {
	r      io.Reader
	size   int64
	report func(int64)

	mu   sync.Mutex // guards below
	sent int64
	err  error
}

// Read reads. Less than the whole file is an error.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.report(int64(n))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent += int64(n)
	if err == io.EOF && s.sent < s.size {
		err = errShrinks
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// leave returns how much was read, and why no more could be.
func (s *source) leave() (sent int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.err
}
