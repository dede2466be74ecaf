package webapi

import (
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
)

// static serves the folder of web.static. It is the user's own, not the
// grid's: its pages may run their scripts, but they are of the gateway's
// origin then, so they get no scripts here either.
func (h *Handler) static(q *request, rest []string) error {
	if h.c.Static == "" {
		return errNoPage
	}
	if err := q.allow(http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	name := path.Join(rest...)
	if name == "" {
		name = "."
	}
	if !fs.ValidPath(name) || strings.Contains(name, `\`) || slices.ContainsFunc(rest, hidden) {
		return errNoPage
	}
	root, err := os.OpenRoot(h.c.Static)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	defer root.Close()
	f, info, err := openStatic(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	slash := len(rest) == 0 || rest[len(rest)-1] == ""
	if info.IsDir() {
		if len(rest) == 0 || !slash {
			return q.redirect(q.r.URL.EscapedPath()+"/", q.query)
		}
		if index, info, err := openStatic(root, path.Join(name, "index.html")); err == nil {
			defer index.Close()
			if info.Mode().IsRegular() {
				return h.staticFile(q, index, info)
			}
		}
		return h.staticFolder(q, f, name)
	}
	if slash {
		return errNoPage
	}
	return h.staticFile(q, f, info)
}

// hidden reports whether a name begins with a dot: what is not meant to be
// seen, as .git and .htpasswd.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// openStatic opens a file or folder and nothing else: opening a pipe would
// wait for who writes to it. The error is errNoPage, whatever the reason.
func openStatic(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	info, err := root.Stat(name)
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return nil, nil, errNoPage
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, errNoPage
	}
	if info, err = f.Stat(); err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		f.Close()
		return nil, nil, errNoPage
	}
	return f, info, nil
}

func (h *Handler) staticFile(q *request, f *os.File, info fs.FileInfo) error {
	kind := contentType(info.Name())
	if !strings.HasPrefix(kind, "text/") {
		q.Header().Set("Content-Type", kind)
	} else {
		q.Header().Set("Content-Type", mime.FormatMediaType(kind, map[string]string{"charset": "utf-8"}))
	}
	q.Header().Set("Content-Security-Policy", staticPolicy)
	q.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(q, q.r, info.Name(), info.ModTime(), f)
	return nil
}

// staticPolicy lets a page use the style sheets, images and fonts around it.
const staticPolicy = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; media-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// maxFolder bounds a listing of a folder.
const maxFolder = 10_000

type staticPage struct {
	Path  string
	Up    bool
	Names []string // folders end with a slash
	More  bool
}

func (h *Handler) staticFolder(q *request, f *os.File, name string) error {
	list, err := f.ReadDir(maxFolder)
	if err != nil && len(list) > 0 {
		return errNoPage
	}
	p := staticPage{Path: clean(strings.TrimPrefix(name, ".")), Up: name != ".", More: len(list) == maxFolder}
	for _, e := range list {
		n := e.Name()
		if hidden(n) {
			continue
		}
		if e.IsDir() {
			n += "/"
		}
		p.Names = append(p.Names, n)
	}
	return h.render(q, http.StatusOK, "static.html", p)
}
