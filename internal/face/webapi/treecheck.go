package webapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
)

// checksAtOnce is how many objects of a tree are checked at the same time.
const checksAtOnce = 8

// maxChecked bounds the results that one operation remembers; of more objects
// only those that are not healthy are kept.
const maxChecked = 20_000

// maxSick bounds these, and the damaged shares that are listed. All are
// counted.
const maxSick = 100_000

// treeCheck says how everything in a directory and below is checked.
type treeCheck struct {
	immutable.CheckOptions
	repair bool // what is not healthy
}

// checkTree checks a directory and everything below it, and repairs it if so
// told. A directory that cannot be read is checked all the same, and the rest
// too. found is called for each object, by one goroutine at a time, and stats
// as well; without repair Before is what was found.
func (h *Handler) checkTree(ctx context.Context, c caps.Dir, how treeCheck, stats *filestore.Stats, mu *sync.Mutex,
	found func(filestore.Item, *repaired) error) error {
	h.c.Grid.Wait(ctx, h.c.N)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checksAtOnce)
	err := h.walk(ctx, c, filestore.Visitor{
		Visit: func(it filestore.Item) error {
			g.Go(func() error {
				r, err := h.checkOne(ctx, it.Cap(), how)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				stats.Add(it)
				return found(it, r)
			})
			return ctx.Err()
		},
		Listed: func(_ filestore.Item, size int64, children int) error {
			mu.Lock()
			defer mu.Unlock()
			stats.AddListed(size, children)
			return nil
		},
		Unreadable: func(filestore.Item, error) error { return nil },
	})
	if failed := g.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return failed
	}
	return err
}

func (h *Handler) checkOne(ctx context.Context, c caps.Cap, how treeCheck) (*repaired, error) {
	if how.repair {
		return h.repair(ctx, c, how.CheckOptions, nil)
	}
	found, err := h.check(ctx, c, how.CheckOptions, nil)
	if err != nil {
		return nil, err
	}
	return &repaired{SI: found.SI, Before: found, After: found}, nil
}

// checkWork checks a directory and everything below it, under a handle.
type checkWork struct {
	h      *Handler
	origin caps.Dir
	how    treeCheck

	mu                  sync.Mutex // guards below
	stats               filestore.Stats
	checked             int
	before, after       tally
	attempted, repaired int
	results             map[string]*repaired // by storage index
	sick                []sickObject
}

// tally counts the objects of a tree, before or after a repair.
type tally struct {
	healthy, unhealthy, unreadable, damaged int
	corrupt                                 [][3]any // the first of the damaged shares
}

func (t *tally) add(c *checked) {
	if c.Results.Healthy {
		t.healthy++
	} else {
		t.unhealthy++
	}
	if !*c.Results.Recoverable {
		t.unreadable++
	}
	t.damaged += len(c.Results.Corrupt)
	t.corrupt = append(t.corrupt, c.Results.Corrupt[:min(len(c.Results.Corrupt), maxSick-len(t.corrupt))]...)
}

// sickObject is one that was not healthy before.
type sickObject struct {
	path []string
	*repaired
}

var _ parted = (*checkWork)(nil)

func (w *checkWork) run(ctx context.Context) error {
	return w.h.checkTree(ctx, w.origin, w.how, &w.stats, &w.mu, w.found)
}

// found notes the results of one object. w.mu is held.
func (w *checkWork) found(it filestore.Item, r *repaired) error {
	if r.SI == "" {
		return nil // in its cap, or unknown
	}
	w.checked++
	w.before.add(r.Before)
	w.after.add(r.After)
	if r.Attempted {
		w.attempted++
		if *r.Successful {
			w.repaired++
		}
	}
	ill := !r.Before.Results.Healthy && len(w.sick) < maxSick
	if ill {
		w.sick = append(w.sick, sickObject{it.Path, r})
	}
	if ill || len(w.results) < maxChecked {
		if w.results == nil {
			w.results = map[string]*repaired{}
		}
		w.results[r.SI] = r
	}
	return nil
}

// show answers at /operations/HANDLE.
func (w *checkWork) show(q *request, hd *handle, output string) error {
	done := hd.finished()
	if output == "json" {
		return q.json("text/plain", w.facts(done))
	}
	return w.h.render(q, http.StatusOK, "operation.html", w.page(hd.name, done))
}

// page is what people see. Whoever reads it slowly must not hold up the walk.
func (w *checkWork) page(handle string, done bool) deepPage {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sort()
	p := deepPage{Title: "Check of a directory and all below", Handle: handle, Origin: w.root(), Finished: done, Figures: []figure{w.count("Objects checked", w.checked)}}
	if w.how.repair {
		p.Repair, p.Title = true, "Check and repair of a directory and all below"
		p.Figures = append(p.Figures, w.count("Repairs attempted", w.attempted), w.count("Repaired", w.repaired), w.count("Not repaired", w.attempted-w.repaired))
		p.Figures = append(append(p.Figures, w.before.figures(", before")...), w.after.figures(", now")...)
	} else {
		p.Figures = append(p.Figures, w.before.figures("")...)
	}
	for _, s := range w.sick[:min(len(w.sick), shownMost)] {
		text := s.Before.Summary
		if w.how.repair {
			text += ". " + cmp.Or(s.Failure, "Repaired.")
		}
		p.Unhealthy = append(p.Unhealthy, manifestRow{Path: pathWords(s.path), Cap: text, Link: "/operations/" + quote(handle) + "/" + s.SI})
	}
	return p
}

// sort orders the list by path. w.mu is held.
func (w *checkWork) sort() {
	slices.SortFunc(w.sick, func(a, b sickObject) int { return slices.Compare(a.path, b.path) })
}

func (w *checkWork) count(name string, n int) figure {
	return figure{name, humanize.Comma(int64(n))}
}

func (t *tally) figures(when string) (list []figure) {
	for _, f := range []struct {
		name  string
		value int
	}{{"Healthy", t.healthy}, {"Not healthy", t.unhealthy}, {"Of these cannot be read", t.unreadable}, {"Damaged shares", t.damaged}} {
		list = append(list, figure{f.name + when, humanize.Comma(int64(f.value))})
	}
	return list
}

func (w *checkWork) root() string {
	if si, ok := caps.Index(w.origin); ok {
		return si.String()
	}
	return ""
}

// facts is the result as JSON has it. The names are the Python gateway's; with
// repair most are said of before and after. "truncated", which is ours, says
// that the lists do not hold all.
func (w *checkWork) facts(done bool) map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sort()
	stats := w.stats // to be read when the lock is given back
	stats.Histogram = slices.Clone(stats.Histogram)
	sick := make([][2]any, 0, len(w.sick))
	for _, s := range w.sick {
		sick = append(sick, [2]any{append([]string{}, s.path...), s.Before})
	}
	facts := map[string]any{
		"finished": done, "root-storage-index": cmp.Or(w.root(), "<none>"), "count-objects-checked": w.checked,
		"list-corrupt-shares": append([][3]any{}, w.before.corrupt...), "list-unhealthy-files": sick, "stats": &stats,
		"truncated": w.before.unhealthy > len(w.sick) || max(w.before.damaged, w.after.damaged) > maxSick,
	}
	if !w.how.repair {
		w.before.facts(facts, "")
		return facts
	}
	w.before.facts(facts, "-pre-repair")
	w.after.facts(facts, "-post-repair")
	facts["count-repairs-attempted"], facts["count-repairs-successful"], facts["count-repairs-unsuccessful"] = w.attempted, w.repaired, w.attempted-w.repaired
	facts["list-remaining-corrupt-shares"] = append([][3]any{}, w.after.corrupt...)
	return facts
}

func (t *tally) facts(facts map[string]any, when string) {
	facts["count-objects-healthy"+when], facts["count-objects-unhealthy"+when] = t.healthy, t.unhealthy
	facts["count-objects-unrecoverable"+when], facts["count-corrupt-shares"+when] = t.unreadable, t.damaged
}

// showPart answers at /operations/HANDLE/SI.
func (w *checkWork) showPart(q *request, si string) error {
	w.mu.Lock()
	r := w.results[si]
	w.mu.Unlock()
	switch {
	case r == nil:
		return errNoPart
	case w.how.repair:
		return w.h.showRepair(q, r)
	}
	return w.h.showCheck(q, r.Before)
}

// pathWords shows the path to an object.
func pathWords(path []string) string {
	if len(path) == 0 {
		return "(the directory itself)"
	}
	return clean(strings.Join(path, "/"))
}
