package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// giveUp is how many files in a row may fail before the rest is not tried.
const giveUp = 10

// copyAll copies what has been placed below a target: files first, several at
// a time, then directories from the deepest up, each with all it holds in one
// request. What could not be copied is left out, and said.
func (c *copying) copyAll(ctx context.Context, target *dest, start time.Time) error {
	if c.f.dryRun {
		return c.showPlan(target.all())
	}
	if !target.grid {
		if err := c.makeFolders(target); err != nil {
			return fail("", "%v", err)
		}
	}
	jobs, made := target.all()
	var total int64
	for _, j := range jobs {
		total += max(0, j.from.size) * int64(ones(!j.linked()))
	}
	c.meter.begin(len(jobs), total)
	stopped := c.runJobs(ctx, jobs)
	if ctx.Err() != nil {
		return storeError("", context.Canceled, exitFailed)
	}
	r := result{Directories: made}
	for _, j := range jobs {
		if j.done {
			r.Files++
			r.Linked += ones(j.linked())
			r.Bytes += j.moved
		}
	}
	if target.grid && (r.Files > 0 || stopped == nil) {
		c.meter.finishing(made)
		if _, err := c.finish(ctx, target, make(chan struct{}, c.f.parallel)); err != nil {
			c.meter.end()
			return storeError("what was stored could not be linked at "+target.shown, err, exitFailed)
		}
	}
	c.meter.end()
	failed := c.meter.failures()
	if stopped != nil || len(failed) > 0 {
		if r.Failed = failed; c.f.store.json {
			r.Seconds = seconds(start)
			c.printJSON(r)
		}
		if stopped != nil {
			return storeError(fmt.Sprintf("%d of %s copied, and the rest was given up", r.Files, plural(len(jobs), "file")), stopped, exitFailed)
		}
		return fail("", "%s copied, %d not", plural(r.Files, "file"), len(failed))
	}
	return c.success("files copied", r, start)
}

// runJobs copies files, and returns why it gave up, if it did.
func (c *copying) runJobs(ctx context.Context, jobs []*job) (stopped error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan *job)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards inARow and stopped
	inARow := 0
	for range min(c.f.parallel, len(jobs)) {
		wg.Go(func() {
			for j := range next {
				err := c.run(ctx, j)
				mu.Lock()
				switch {
				case err == nil:
					inARow, j.done = 0, true
					c.meter.fileDone(j)
				case ctx.Err() != nil:
				default:
					c.meter.failed(j.from.shown, unwrapStored(err))
					_, gone := errors.AsType[*webclient.UnreachableError](err)
					if inARow++; gone || inARow == giveUp {
						stopped = err
						cancel()
					}
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		select {
		case next <- j:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	return stopped
}

func (c *copying) run(ctx context.Context, j *job) error {
	switch {
	case !j.into.grid:
		return c.fetch(ctx, j, j.into.below(j.from.name))
	case j.linked():
		j.child = j.from.node.Child()
		if len(j.from.node.Metadata) > 0 {
			j.child.Metadata = j.from.node.Metadata
		}
		return nil
	}
	return c.send(ctx, j)
}

// send stores a file on the grid.
func (c *copying) send(ctx context.Context, j *job) error {
	src, size, err := c.open(ctx, j.from)
	if err != nil {
		return err
	}
	defer src.Close()
	counted := &countingReader{r: src}
	var body io.Reader = counted
	if isLiteral(size) && j.over.Cap == nil {
		data, err := io.ReadAll(io.LimitReader(counted, caps.MaxLIT+1))
		if err != nil {
			return fmt.Errorf("reading the file: %w", err)
		}
		if len(data) <= caps.MaxLIT {
			j.child.Cap, j.moved = caps.NewLIT(data), counted.n
			return nil
		}
		body, size = io.MultiReader(bytes.NewReader(data), counted), -1 // it has grown
	}
	cap, _, err := c.gw.PutAt(ctx, j.over, body, size, webclient.PutOptions{Progress: c.meter.transfer(j)})
	if err != nil {
		return err
	}
	if j.over.Cap == nil {
		j.child.Cap = cap
	}
	j.moved = counted.n
	return nil
}

// isLiteral reports whether a file of n bytes is its own cap.
func isLiteral(n int64) bool { return n >= 0 && n <= caps.MaxLIT }

// open opens what is to be sent. The size is -1 if it is not known.
func (c *copying) open(ctx context.Context, t *thing) (io.ReadCloser, int64, error) {
	if t.file != "" {
		file, err := os.Open(t.file)
		if err != nil {
			return nil, 0, err
		}
		return file, regularSize(file), nil
	}
	r, w := io.Pipe()
	p := &piped{PipeReader: r}
	p.end.Go(func() {
		_, err := c.gw.Get(ctx, t.node.Read, w, webclient.GetOptions{})
		w.CloseWithError(err)
	})
	return p, -1, nil
}

// piped is a download that is read as it comes.
type piped struct {
	*io.PipeReader
	end sync.WaitGroup
}

func (p *piped) Close() error {
	p.PipeReader.Close() // the download cannot write any more, and ends
	p.end.Wait()
	return nil
}

// fetch writes a file here.
func (c *copying) fetch(ctx context.Context, j *job, path string) error {
	t := j.from
	n, err := writeFile(path, func(w io.Writer) (int64, error) {
		switch {
		case t.file != "":
			src, err := os.Open(t.file)
			if err != nil {
				return 0, err
			}
			defer src.Close()
			return io.Copy(w, src)
		case c.f.capsOnly:
			n, err := io.Copy(w, strings.NewReader(t.node.Read.Reveal()))
			return n, err
		}
		if lit, ok := t.node.Read.(caps.LIT); ok {
			n, err := w.Write(lit.Data())
			return int64(n), err
		}
		return c.gw.Get(ctx, t.node.Read, w, webclient.GetOptions{Progress: c.meter.transfer(j)})
	})
	j.moved = n
	return err
}

// makeFolders makes the folders of a destination here. What should have gone
// into one below it that cannot be made is left out, and that is said.
func (c *copying) makeFolders(d *dest) error {
	if d.missing {
		if err := os.MkdirAll(d.path, 0o777); err != nil {
			return err
		}
	}
	d.dirs = slices.DeleteFunc(d.dirs, func(sub *dest) bool {
		err := c.makeFolders(sub)
		if err != nil {
			c.meter.failed(sub.shown, err)
		}
		return err != nil
	})
	return nil
}

// finish makes a directory of the grid, or changes one that is there, once
// those below it are finished. slots bounds the requests under way. The child
// returned is for the directory above; its Cap is nil if that has it already.
func (c *copying) finish(ctx context.Context, d *dest, slots chan struct{}) (webclient.Child, error) {
	children := map[string]webclient.Child{}
	for _, j := range d.jobs {
		if j.done && j.child.Cap != nil {
			children[j.from.name] = j.child
		}
	}
	subs := make([]webclient.Child, len(d.dirs))
	group, below := errgroup.WithContext(ctx)
	for i, sub := range d.dirs {
		group.Go(func() (err error) {
			subs[i], err = c.finish(below, sub, slots)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return webclient.Child{}, err
	}
	for i, sub := range d.dirs {
		if subs[i].Cap != nil {
			children[sub.name] = subs[i]
		}
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return webclient.Child{}, context.Cause(ctx)
	}
	if !d.missing {
		if len(children) == 0 {
			return webclient.Child{}, nil
		}
		return webclient.Child{}, c.gw.SetChildren(ctx, d.at, children, webclient.OnlyFiles)
	}
	for name, child := range children {
		child.Metadata = stamped(child.Metadata, time.Now())
		children[name] = child
	}
	cap, err := c.gw.Mkdir(ctx, d.at, webclient.MkdirOptions{Children: children})
	c.meter.dirDone()
	return webclient.Child{Cap: cap}, err
}

// stamped adds to metadata when a child was linked, which a directory does
// itself, but not where it is made with all it holds.
func stamped(metadata any, now time.Time) map[string]any {
	all := map[string]any{}
	if text, ok := metadata.(json.RawMessage); ok {
		json.Unmarshal(text, &all)
	}
	if all == nil { // null
		all = map[string]any{}
	}
	seconds := float64(now.UnixMicro()) / 1e6
	all["tahoe"] = map[string]float64{"linkcrtime": seconds, "linkmotime": seconds}
	return all
}
