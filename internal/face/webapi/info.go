package webapi

import (
	"crypto/rand"
	"net/http"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// infoPage shows what is known of an object.
type infoPage struct {
	Kind, Words              string // of the cap: as programs name it, and in words
	Cap, Read, Write, Verify string
	Index, Version           string
	Size                     int64 // -1: not known
	K, N                     int
	Problem                  string // why its size is not known
	Show, Save               string // URLs; ""
	Directory                bool
	Deep                     []deepForm
	Checkable, Overwrite     bool
	Repairable               bool // by what the cap grants
}

// deepForm starts an operation over all that is below a directory.
type deepForm struct {
	T, Handle, Title, Text string
	Check                  bool
}

// info answers t=info.
func (h *Handler) info(q *request, child dirtable.Child, name string) error {
	c := child.Cap()
	p := infoPage{Kind: string(c.Kind()), Words: kindWords(c), Cap: c.Reveal(), Size: -1}
	if child.Read != nil && (readable(child.Read) || typeOf(c) == unknownType) {
		p.Read = child.Read.Reveal()
	}
	if child.Write != nil {
		p.Write = child.Write.Reveal()
	}
	if n, ok := caps.Size(c); ok {
		p.Size = n
	}
	if si, ok := caps.Index(c); ok {
		p.Index = si.String()
	}
	if v, ok := caps.Verifier(c); ok {
		p.Verify = v.Reveal()
	}
	file := c
	if d, ok := c.(caps.Dir); ok {
		file = d.File()
		p.Directory = readable(c)
	}
	switch f := file.(type) {
	case caps.CHK:
		p.K, p.N = f.K, f.N
	case caps.CHKVerifier:
		p.K, p.N = f.K, f.N
	case caps.SSK, caps.SSKRead:
		h.infoVersion(q, f, &p)
	}
	if e := translateProhibited(h.c.Blacklist.Check(c)); e != nil {
		p.Problem = e.text
	}
	p.Checkable = p.Verify != ""
	_, p.Repairable = caps.Repair(c)
	switch {
	case p.Directory:
		p.Show = "/uri/" + quote(p.Cap) + "/"
		for _, d := range []deepForm{
			{"start-deep-stats", "", "Count it", "How many files and directories there are, and their sizes.", false},
			{"start-manifest", "", "List it", "Every path below with its cap.", false},
			{"start-deep-check", "", "Check it", "Whether all shares of all of it are there.", true},
		} {
			d.Handle = rand.Text()
			p.Deep = append(p.Deep, d)
		}
	case readable(c):
		p.Overwrite = caps.Writable(c)
		p.Show = "/uri/" + quote(child.Read.Reveal())
		if name != "" {
			p.Show = fileLink(child.Read, name)
		}
		p.Save = p.Show + "?save=true"
	}
	return h.render(q, http.StatusOK, "info.html", p)
}
