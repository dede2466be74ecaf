package webapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/version"
)

// The pages are HTML with one style sheet inside and no script, image or font.
//
//go:embed templates
var files embed.FS

var style = func() string {
	b, err := files.ReadFile("templates/style.css")
	if err != nil {
		panic("webapi: internal error: " + err.Error())
	}
	return string(b)
}()

// pagePolicy allows the one style sheet, and forms that stay here.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}()

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"style":   func() template.CSS { return template.CSS(style) },
	"size":    func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) },
	"comma":   humanize.Comma,
	"ago":     ago,
	"lasting": func(t time.Time) string { return strings.TrimSpace(humanize.RelTime(t, time.Now(), "", "")) },
	"time":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"version": func() string { return version.Application },
	"quote":   quote,
	"quoteslash": func(s string) string {
		bare, folder := strings.CutSuffix(s, "/")
		if s = quote(bare); folder {
			s += "/"
		}
		return s
	},
	"shares": func(nums any) string {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(nums), " ", ", "), "[]")
	},
}).ParseFS(files, "templates/*.html"))

// ago puts a time into words.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanize.Time(t)
}

// render answers with a page. Pages may show caps and the state of the node:
// they are not to be kept.
func (h *Handler) render(q *request, status int, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	hdr := q.Header()
	hdr.Set("Content-Type", "text/html; charset=utf-8")
	hdr.Set("Content-Security-Policy", pagePolicy)
	hdr.Set("Cache-Control", "no-store")
	q.WriteHeader(status)
	_, err := q.Write(b.Bytes())
	return gone(err)
}

// overview is what the welcome page shows.
type overview struct {
	Nickname, NodeID, Version string
	Ready                     bool
	Summary                   string // a sentence
	Ladder                    []Rung
	Introducers               []introducerView
	Introduced                int // introducers that are connected
	Servers                   []serverView
	Connected                 int
	ToStore                   int // of them that may be given new shares
	K, Happy, N               int
	MaxSize                   int64 // of an upload; 0: no limit
	Now                       time.Time
}

func (h *Handler) overview() overview {
	o := overview{
		Nickname: clean(h.c.Nickname), NodeID: h.c.NodeID, Version: version.Application,
		Ladder: h.ladder(), Introducers: h.introducers(), Servers: h.servers(), K: h.c.K, Happy: h.c.Happy, N: h.c.N, MaxSize: h.c.Spool.Max, Now: h.c.Now(),
	}
	o.Connected = connected(o.Servers)
	for _, v := range o.Introducers {
		if v.Connected() {
			o.Introduced++
		}
	}
	o.ToStore = connected(slices.DeleteFunc(slices.Clone(o.Servers), serverView.barred))
	o.Ready = o.ToStore >= max(1, o.Happy)
	o.Summary = o.summarise()
	return o
}

// ladder is Config.Ladder, fit to be shown.
func (h *Handler) ladder() []Rung {
	rungs := []Rung{}
	for _, r := range h.c.Ladder() {
		r.Text, r.Details = clean(r.Text), slices.Clone(r.Details)
		for i := range r.Details {
			r.Details[i] = clean(r.Details[i])
		}
		rungs = append(rungs, r)
	}
	return rungs
}

func (o *overview) summarise() string {
	of := fmt.Sprintf("%d of %d storage servers connected", o.Connected, len(o.Servers))
	if o.ToStore < o.Connected {
		of += fmt.Sprintf(", of which %d get no new shares, as no grid manager vouches for them", o.Connected-o.ToStore)
	}
	stop := hindrance(o.Ladder)
	switch {
	case len(o.Servers) == 0 && len(o.Introducers) == 0:
		return "No storage server is known yet: add one with tahoe add-server, or an introducer to private/introducers.yaml."
	case len(o.Servers) == 0 && o.Introduced == 0:
		return "No storage server is known yet, and no introducer is connected that could name one."
	case len(o.Servers) == 0:
		return "No storage server is known yet: the introducers have not named any."
	case o.Ready:
		return of + "."
	case stop != "":
		return fmt.Sprintf("%s; %d are needed to store files. %s.", of, o.Happy, strings.TrimSuffix(stop, "."))
	}
	return fmt.Sprintf("%s; %d are needed to store files.", of, o.Happy)
}

// uploadedPage shows the result of an upload.
type uploadedPage struct {
	Cap              string
	Literal          bool // the cap is the file
	Mutable          bool
	Size             int64
	Pushed, Existing int
	Happy            int
	Servers          []immutable.ServerReport
	Took             time.Duration
}

// uploaded shows it. res is nil for a mutable file.
func (h *Handler) uploaded(q *request, c caps.Cap, res *immutable.Result) error {
	if res == nil {
		return h.render(q, http.StatusOK, "uploaded.html", uploadedPage{Cap: c.Reveal(), Mutable: true, Size: -1})
	}
	_, lit := res.Cap.(caps.LIT)
	p := uploadedPage{Cap: res.Cap.Reveal(), Literal: lit, Size: res.Size, Pushed: res.Pushed, Existing: res.Existing, Happy: res.Happy,
		Took: (res.Took.Key + res.Took.Place + res.Took.Push).Round(time.Millisecond)}
	for _, s := range res.Servers {
		s.Name = clean(s.Name)
		p.Servers = append(p.Servers, s)
	}
	return h.render(q, http.StatusOK, "uploaded.html", p)
}
