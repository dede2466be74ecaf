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

// checkTree checks a directory and everything below it. A directory that
// cannot be read is checked all the same, and the rest too. found is called
// for each object, by one goroutine at a time, and stats as well.
func (h *Handler) checkTree(ctx context.Context, c caps.Dir, o immutable.CheckOptions, stats *filestore.Stats, mu *sync.Mutex,
	found func(filestore.Item, *checked) error) error {
	h.c.Grid.Wait(ctx, h.c.N)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checksAtOnce)
	err := h.walk(ctx, c, filestore.Visitor{
		Visit: func(it filestore.Item) error {
			g.Go(func() error {
				r, err := h.check(ctx, it.Cap(), o, nil)
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

// checkWork checks a directory and everything below it, under a handle.
type checkWork struct {
	h      *Handler
	origin caps.Dir
	o      immutable.CheckOptions

	mu                                      sync.Mutex // guards below
	stats                                   filestore.Stats
	checked, healthy, unhealthy, unreadable int
	corrupt                                 [][3]any
	results                                 map[string]*checked // by storage index
	sick                                    []sickObject
}

type sickObject struct {
	path []string
	*checked
}

var _ parted = (*checkWork)(nil)

func (w *checkWork) run(ctx context.Context) error {
	return w.h.checkTree(ctx, w.origin, w.o, &w.stats, &w.mu, func(it filestore.Item, c *checked) error {
		if c.SI == "" {
			return nil // in its cap, or unknown
		}
		w.checked++
		if c.Results.Healthy {
			w.healthy++
		} else {
			w.unhealthy++
			w.sick = append(w.sick, sickObject{it.Path, c})
		}
		if !*c.Results.Recoverable {
			w.unreadable++
		}
		w.corrupt = append(w.corrupt, c.Results.Corrupt...)
		if !c.Results.Healthy || len(w.results) < maxChecked {
			if w.results == nil {
				w.results = map[string]*checked{}
			}
			w.results[c.SI] = c
		}
		return nil
	})
}

// show answers at /operations/HANDLE.
func (w *checkWork) show(q *request, hd *handle, output string) error {
	done := hd.finished()
	w.mu.Lock()
	defer w.mu.Unlock()
	root := ""
	if si, ok := caps.Index(w.origin); ok {
		root = si.String()
	}
	slices.SortFunc(w.sick, func(a, b sickObject) int { return slices.Compare(a.path, b.path) })
	if output == "json" {
		sick := make([][2]any, 0, len(w.sick))
		for _, s := range w.sick {
			sick = append(sick, [2]any{append([]string{}, s.path...), s.checked})
		}
		return q.json("text/plain", map[string]any{
			"finished": done, "root-storage-index": cmp.Or(root, "<none>"), "count-objects-checked": w.checked, "count-objects-healthy": w.healthy,
			"count-objects-unhealthy": w.unhealthy, "count-objects-unrecoverable": w.unreadable, "count-corrupt-shares": len(w.corrupt),
			"list-corrupt-shares": append([][3]any{}, w.corrupt...), "list-unhealthy-files": sick, "stats": &w.stats,
		})
	}
	p := deepPage{Title: "Check of a directory and all below", Handle: hd.name, Origin: root, Finished: done}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"Objects checked", w.checked}, {"Healthy", w.healthy}, {"Not healthy", w.unhealthy}, {"Of these cannot be read", w.unreadable}, {"Damaged shares", len(w.corrupt)},
	} {
		p.Figures = append(p.Figures, figure{f.name, humanize.Comma(int64(f.value))})
	}
	for _, s := range w.sick[:min(len(w.sick), shownMost)] {
		p.Unhealthy = append(p.Unhealthy, manifestRow{Path: pathWords(s.path), Cap: s.Summary, Link: "/operations/" + quote(hd.name) + "/" + s.SI})
	}
	return w.h.render(q, http.StatusOK, "operation.html", p)
}

// showPart answers at /operations/HANDLE/SI.
func (w *checkWork) showPart(q *request, si string) error {
	w.mu.Lock()
	c := w.results[si]
	w.mu.Unlock()
	if c == nil {
		return errNoPart
	}
	return w.h.showCheck(q, c)
}

// pathWords shows the path to an object.
func pathWords(path []string) string {
	if len(path) == 0 {
		return "(the directory itself)"
	}
	return clean(strings.Join(path, "/"))
}
