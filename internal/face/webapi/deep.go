package webapi

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dustin/go-humanize"

	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/format/caps"
)

// postDeep answers what looks at a directory and everything below it.
func (h *Handler) postDeep(q *request, root caps.Cap, names []string) error {
	kind := q.t()
	o, repair, err := q.checkArgs()
	if err != nil {
		return err
	}
	if strings.HasPrefix(kind, "start-") && q.arg("ophandle") == "" {
		return errNoHandle
	}
	t, err := h.reach(q, root, names)
	if err != nil {
		return err
	}
	c, ok := t.cap().(caps.Dir)
	if !ok || !readable(c) {
		return errorf(http.StatusBadRequest, "%s is not that of a directory that can be read.", t.what())
	}
	switch kind {
	case "stream-manifest":
		return h.streamManifest(q, c)
	case "stream-deep-check":
		return h.streamCheck(q, c, treeCheck{o, repair})
	case "start-deep-check":
		return h.startWork(q, &checkWork{h: h, origin: c, how: treeCheck{o, repair}})
	}
	return h.startWork(q, &deepWork{h: h, kind: strings.TrimPrefix(kind, "start-"), origin: c})
}

// Kinds of deepWork.
const (
	manifest  = "manifest"
	deepSize  = "deep-size"
	deepStats = "deep-stats"
)

// maxManifest bounds what is remembered of a tree for one operation: some
// hundred megabytes. stream-manifest remembers nothing.
const maxManifest = 500_000

// deepWork walks a directory and everything below it.
type deepWork struct {
	h      *Handler
	kind   string
	origin caps.Dir

	mu         sync.Mutex // guards below
	stats      filestore.Stats
	items      []manifestItem // of a manifest, as what follows
	verifycaps map[string]struct{}
	indexes    map[string]struct{}

	listed atomic.Int64 // items
}

func (w *deepWork) weight() int64 { return w.listed.Load() }

type manifestItem struct {
	path []string
	cap  string
}

func (w *deepWork) run(ctx context.Context) error {
	w.mu.Lock()
	w.verifycaps, w.indexes = map[string]struct{}{}, map[string]struct{}{}
	w.mu.Unlock()
	return w.h.walk(ctx, w.origin, filestore.Visitor{Visit: w.visit, Listed: func(_ filestore.Item, size int64, children int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stats.AddListed(size, children)
		return nil
	}})
}

func (w *deepWork) visit(it filestore.Item) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Add(it)
	if w.kind != manifest {
		return nil
	}
	if len(w.items) == maxManifest {
		return errorf(http.StatusRequestEntityTooLarge,
			"There are more than %d objects in the directory and below. POST with t=stream-manifest lists any number.", maxManifest)
	}
	c := it.Cap()
	w.items = append(w.items, manifestItem{it.Path, reveal(c)})
	w.listed.Add(1)
	if c == nil {
		return nil
	}
	if v, ok := caps.Verifier(c); ok {
		w.verifycaps[v.Reveal()] = struct{}{}
	}
	if si, ok := caps.Index(c); ok {
		w.indexes[si.String()] = struct{}{}
	}
	return nil
}

func reveal(c caps.Cap) string {
	if c == nil {
		return ""
	}
	return c.Reveal()
}

// walk visits a directory and everything below it, each object once.
func (h *Handler) walk(ctx context.Context, c caps.Dir, v filestore.Visitor) error {
	h.c.Grid.Wait(ctx, h.c.K)
	d, err := h.openDirectory(c)
	if err != nil {
		return err
	}
	return h.c.Store.Walk(ctx, d, v)
}

// picture is the work as it is now. What it lists is not copied: the list
// only grows, and the sets are looked at when the work is done. The walk goes
// on while a client takes its time to read.
func (w *deepWork) picture() *deepWork {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := &deepWork{h: w.h, kind: w.kind, origin: w.origin, stats: w.stats, items: w.items, verifycaps: w.verifycaps, indexes: w.indexes}
	now.stats.Histogram = slices.Clone(w.stats.Histogram)
	return now
}

// show answers at /operations/HANDLE.
func (w *deepWork) show(q *request, hd *handle, output string) error {
	done := hd.finished() // first: then all of it is in the picture
	w = w.picture()
	switch {
	case output != "json" && output != "text" && (prefersHTML(q.r) || output == "" && w.kind == manifest):
		return w.html(q, hd, done)
	}
	switch w.kind {
	case manifest:
		if output == "json" {
			return w.manifestJSON(q, done)
		}
		return w.manifestText(q, done)
	case deepSize:
		if output == "json" {
			return q.json("text/plain", map[string]any{"finished": done, "size": &w.stats})
		}
		text := "finished: " + yesNo(done) + "\n"
		if done {
			text += "size: " + number(float64(w.stats.DeepSize())) + "\n"
		}
		return q.text(text)
	}
	return q.statsJSON(&w.stats, done)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// manifestText has a line for each object.
func (w *deepWork) manifestText(q *request, done bool) error {
	q.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q.Header().Set("Cache-Control", "no-store")
	b := bufio.NewWriter(w.h.patient(q))
	b.WriteString("finished: " + yesNo(done) + "\n")
	for _, it := range w.items {
		b.WriteString(strings.Join(it.path, "/") + " " + it.cap + "\n")
	}
	return gone(b.Flush())
}

// manifestJSON has the list only once it is whole.
func (w *deepWork) manifestJSON(q *request, done bool) error {
	return w.h.streamJSON(q, func(j *jsonWriter) {
		j.begin('{')
		j.key("stats")
		j.value(&w.stats)
		j.key("finished")
		j.bool(done)
		j.key("origin")
		j.text(w.originIndex())
		if done {
			j.key("manifest")
			j.begin('[')
			for _, it := range w.items {
				j.next()
				j.begin('[')
				j.next()
				j.texts(it.path)
				j.next()
				j.text(it.cap)
				j.end(']')
			}
			j.end(']')
			j.key("verifycaps")
			j.texts(slices.Sorted(maps.Keys(w.verifycaps)))
			j.key("storage-index")
			j.texts(slices.Sorted(maps.Keys(w.indexes)))
		}
		j.end('}')
	})
}

// originIndex is the storage index of where it began, "" for a literal.
func (w *deepWork) originIndex() string {
	if si, ok := caps.Index(w.origin); ok {
		return si.String()
	}
	return ""
}

// statsJSON answers with deep-stats.
func (q *request) statsJSON(s *filestore.Stats, done bool) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	facts := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &facts); err != nil {
		return err
	}
	facts["finished"], _ = json.Marshal(done)
	return q.json("text/plain", facts)
}

// deepPage shows an operation to people.
type deepPage struct {
	Title, Handle string
	Origin        string
	Finished      bool
	Figures       []figure
	Histogram     []filestore.Bucket
	Items         []manifestRow
	More          int
	Unhealthy     []manifestRow // of a check; Link leads to its result
	Repair        bool          // there was one
}

type manifestRow struct{ Path, Cap, Link string }

// shownMost is how many objects of a manifest a page shows.
const shownMost = 5000

var deepTitles = map[string]string{manifest: "Everything below a directory", deepSize: "Size of a directory and all below", deepStats: "Figures of a directory and all below"}

// html shows it as a page, which looks again by itself until it is done.
func (w *deepWork) html(q *request, hd *handle, done bool) error {
	p := deepPage{Title: deepTitles[w.kind], Handle: hd.name, Origin: w.originIndex(), Finished: done}
	p.Figures, p.Histogram = figuresOf(&w.stats)
	for _, it := range w.items[:min(len(w.items), shownMost)] {
		row := manifestRow{Path: pathWords(it.path), Cap: it.cap}
		if it.cap != "" {
			row.Link = "/uri/" + quote(it.cap)
		}
		p.Items = append(p.Items, row)
	}
	p.More = len(w.items) - len(p.Items)
	return w.h.render(q, http.StatusOK, "operation.html", p)
}

// figuresOf puts deep-stats into words.
func figuresOf(s *filestore.Stats) (list []figure, histogram []filestore.Bucket) {
	bytes := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	return []figure{
		{"Directories", humanize.Comma(s.Directories)},
		{"Files", humanize.Comma(s.Files)},
		{"of them immutable", humanize.Comma(s.ImmutableFiles)},
		{"of them kept in their caps", humanize.Comma(s.LiteralFiles)},
		{"of them mutable", humanize.Comma(s.MutableFiles)},
		{"Of unknown kind", humanize.Comma(s.Unknown)},
		{"Size of the immutable files", bytes(s.SizeImmutableFiles)},
		{"Size of those kept in their caps", bytes(s.SizeLiteralFiles)},
		{"Size of the directories", bytes(s.SizeDirectories)},
		{"Largest directory", bytes(s.LargestDirectory)},
		{"Most children in one", humanize.Comma(s.LargestDirectoryChildren)},
		{"Largest immutable file", bytes(s.LargestImmutableFile)},
	}, s.Histogram
}
