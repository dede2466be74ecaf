package webapi

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// rowsMost is how many children one page shows: what browsers take in their
// stride.
const rowsMost = 1000

// dirPage is what a directory's page shows, but for its rows.
type dirPage struct {
	Title               string
	Cap, ReadOnly       string // ReadOnly: for others to have
	Writable, Immutable bool
	Problem             string // why it cannot be read; "": it can
	Count, Shown        int64
	Long, Earlier       bool
	Find, FindWords     string
	Next                string // the last name shown, when there are more
	Bad                 int    // entries left out as nonsense
}

// dirRow is a child in it.
type dirRow struct {
	Name, Words string // Words is the name, fit to be shown
	Kind        string
	Link, About string
	Here        string // the page of the directory; "" where it cannot be changed
	Size        int64
	Changed     time.Time
}

// kindWords say what a cap leads to.
func kindWords(c caps.Cap) string {
	switch {
	case c == nil || typeOf(c) == unknownType:
		return "unknown"
	case caps.IsDir(c) && !caps.Mutable(c):
		return "directory, immutable"
	case caps.IsDir(c) && !caps.Writable(c):
		return "directory, read-only"
	case caps.IsDir(c):
		return "directory"
	case !caps.Mutable(c):
		return "file"
	case !caps.Writable(c):
		return "mutable file, read-only"
	}
	return "mutable file"
}

// dirTitle says what a directory's page is about, without its cap.
func dirTitle(c caps.Cap) string {
	title := "Directory"
	switch {
	case !caps.Mutable(c):
		title = "Immutable directory"
	case !caps.Writable(c):
		title = "Read-only directory"
	}
	if si, ok := caps.Index(c); ok {
		title += " " + si.String()[:5] + "…"
	}
	return title
}

// pageOf is the page of a directory that may be unreadable (t nil, why).
func pageOf(c caps.Dir, t *dirtable.Table, why error) dirPage {
	p := dirPage{Title: dirTitle(c), Cap: c.Reveal(), Writable: caps.Writable(c), Immutable: !caps.Mutable(c)}
	if read, ok := caps.Read(c); ok && (p.Writable || p.Immutable) {
		p.ReadOnly = read.Reveal()
	}
	if why != nil {
		p.Problem = unreadable(why)
		return p
	}
	p.Count = int64(t.Len())
	p.Long = t.Len() > 50
	return p
}

// dirHTML shows a directory to people. One that cannot be read has a page too,
// as its caps and what is known of it are worth something.
func (h *Handler) dirHTML(q *request, c caps.Dir, t *dirtable.Table, why error) error {
	p := pageOf(c, t, why)
	hdr := q.Header()
	hdr.Set("Content-Type", "text/html; charset=utf-8")
	hdr.Set("Content-Security-Policy", pagePolicy)
	hdr.Set("Cache-Control", "no-store")
	w := bufio.NewWriterSize(h.patient(q), 64<<10)
	if q.r.Method == http.MethodHead {
		return nil
	}
	var rows []dirRow
	if t != nil {
		p.Find = strings.TrimSpace(q.arg("find"))
		p.FindWords = clean(p.Find)
		rows = p.choose(t, q.arg("after"), h.barred)
	}
	if err := pages.ExecuteTemplate(w, "dirhead", p); err != nil {
		return pageError(err)
	}
	for _, r := range rows {
		if err := pages.ExecuteTemplate(w, "dirrow", r); err != nil {
			return pageError(err)
		}
	}
	if err := pages.ExecuteTemplate(w, "dirfoot", p); err != nil {
		return pageError(err)
	}
	return gone(w.Flush())
}

// pageError tells a client that left from a page that cannot be made.
func pageError(err error) error {
	return fmt.Errorf("making the page of a directory: %w", errors.Join(errGone, err))
}

// choose picks the rows of a page: those after a name, and with the words
// looked for in theirs. barred says of what is prohibited that it is.
func (p *dirPage) choose(t *dirtable.Table, after string, barred func(caps.Cap) string) []dirRow {
	here := ""
	if p.Writable {
		here = "/uri/" + quote(p.Cap) + "/"
	}
	p.Earlier = after != ""
	find := strings.ToLower(p.Find)
	var rows []dirRow
	more := false
	for name, e := range t.All() {
		if find != "" && !strings.Contains(strings.ToLower(name), find) {
			continue
		}
		p.Shown++
		if name <= after || more {
			continue
		}
		if len(rows) == rowsMost {
			more = true
			if find == "" {
				break
			}
			continue
		}
		o, ok := entryObject(e)
		if !ok {
			p.Bad++
			continue
		}
		row := rowOf(p.Cap, name, o, here)
		if why := barred(o.child.Cap()); why != "" {
			row.Link, row.Kind = "", why
		}
		rows = append(rows, row)
	}
	if more {
		p.Next = rows[len(rows)-1].Name
	}
	return rows
}

func rowOf(dir, name string, o object, here string) dirRow {
	c := o.child.Cap()
	r := dirRow{Name: name, Words: clean(name), Kind: kindWords(c), Here: here, Size: o.size}
	r.Changed, _ = o.metadata.Changed()
	switch {
	case typeOf(c) == unknownType:
		r.About = "/uri/" + quote(dir) + "/" + quote(name) + "?t=info"
	case caps.IsDir(c):
		r.Link = "/uri/" + quote(c.Reveal()) + "/"
		r.About = r.Link + "?t=info"
		r.Size = -1
	default:
		// Not below the directory: a page that is shown must not learn of
		// the directory's cap from its URL, nor of its own write cap.
		show := c
		if o.child.Read != nil {
			show = o.child.Read
		}
		r.Link = fileLink(show, name)
		r.About = "/uri/" + quote(c.Reveal()) + "?t=info"
	}
	return r
}

// fileLink is where a file is shown under its name.
func fileLink(c caps.Cap, name string) string {
	return "/file/" + quote(c.Reveal()) + "/@@named=/" + quote(name)
}

// changePage is a form about one child.
type changePage struct {
	Name, Words string
	Here        string // the page of the directory
	Cap         string // of the child; "": not shown
}

// changeForm answers t=rename-form and t=unlink-form.
func (h *Handler) changeForm(q *request, c caps.Dir, page string, child caps.Cap) error {
	name := q.arg("name")
	if name == "" {
		return errorf(http.StatusBadRequest, "The argument name= is needed: the name of a child.")
	}
	if !caps.Writable(c) {
		return caps.ErrNotWritable
	}
	return h.render(q, http.StatusOK, page, changePage{
		Name: name, Words: clean(name), Here: "/uri/" + quote(c.Reveal()) + "/", Cap: reveal(child)})
}
