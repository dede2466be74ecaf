package webapi

import (
	"net/http"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// The types of objects in JSON.
const (
	fileType    = "filenode"
	dirType     = "dirnode"
	unknownType = "unknown"
)

// typeOf is the type of what a cap leads to.
func typeOf(c caps.Cap) string {
	switch c.(type) {
	case caps.Dir:
		return dirType
	case caps.Unknown, nil:
		return unknownType
	}
	return fileType
}

// formatOf is how the object of a known cap is stored.
func formatOf(c caps.Cap) format {
	if d, ok := c.(caps.Dir); ok {
		c = d.File()
	}
	switch c := c.(type) {
	case caps.SSK:
		return mutableFormat(c.MDMF)
	case caps.SSKRead:
		return mutableFormat(c.MDMF)
	case caps.SSKVerifier:
		return mutableFormat(c.MDMF)
	}
	return chkFormat
}

func mutableFormat(mdmf bool) format {
	if mdmf {
		return mdmfFormat
	}
	return sdmfFormat
}

// object is what JSON says of a file, a directory or something unknown,
// without a directory's children.
type object struct {
	child    dirtable.Child
	size     int64              // -1: not known
	metadata *dirtable.Metadata // of the link to it; nil: none
}

// objectOf is what caps alone say.
func objectOf(c dirtable.Child) object {
	o := object{child: c, size: -1}
	if n, ok := caps.Size(c.Cap()); ok {
		o.size = n
	}
	return o
}

// facts writes what there is besides caps, as pairs of an object that is open.
func (o object) facts(j *jsonWriter) {
	c := o.child.Cap()
	kind := typeOf(c)
	if kind == unknownType {
		return
	}
	j.key("mutable")
	j.bool(caps.Mutable(c))
	if kind == dirType {
		return
	}
	j.key("format")
	j.text(string(formatOf(c)))
	if o.size >= 0 {
		j.key("size")
		j.number(o.size)
	}
}

func (o object) ro(j *jsonWriter) {
	if o.child.Read != nil {
		j.key("ro_uri")
		j.text(o.child.Read.Reveal())
	}
}

func (o object) rw(j *jsonWriter) {
	if o.child.Write != nil {
		j.key("rw_uri")
		j.text(o.child.Write.Reveal())
	}
}

func (o object) verify(j *jsonWriter) {
	if o.child.Cap() == nil {
		return
	}
	if v, ok := caps.Verifier(o.child.Cap()); ok {
		j.key("verify_uri")
		j.text(v.Reveal())
	}
}

func (o object) meta(j *jsonWriter) {
	if o.metadata != nil {
		j.key("metadata")
		j.raw(o.metadata.JSON())
	}
}

// pair writes ["filenode", {…}], with the pairs that write makes. The order
// of pairs means nothing, but it is the Python gateway's.
func (o object) pair(j *jsonWriter, write ...func(*jsonWriter)) {
	j.begin('[')
	j.next()
	j.text(typeOf(o.child.Cap()))
	j.next()
	j.begin('{')
	for _, w := range write {
		w(j)
	}
	j.end('}')
	j.end(']')
}

// objectJSON answers t=json for what is no directory. immutable: it is in a
// directory that can never change.
func (h *Handler) objectJSON(q *request, o object, immutable bool) error {
	unknown := func(j *jsonWriter) {
		if typeOf(o.child.Cap()) != unknownType {
			return
		}
		u, ok := o.child.Cap().(caps.Unknown)
		if o.child.Write != nil || immutable || ok && u.Immutable() {
			j.key("mutable")
			j.bool(o.child.Write != nil)
		}
	}
	return h.streamJSON(q, func(j *jsonWriter) { o.pair(j, o.facts, o.ro, o.rw, o.verify, unknown, o.meta) })
}

// streamJSON answers with JSON that is written piece by piece.
func (h *Handler) streamJSON(q *request, write func(*jsonWriter)) error {
	q.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if q.Header().Get("Cache-Control") == "" {
		q.Header().Set("Cache-Control", "no-store")
	}
	j := newJSONWriter(h.patient(q))
	write(j)
	j.w.WriteByte('\n')
	return gone(j.w.Flush())
}

// patient writes to a client that may be slow, but not silent.
type patient struct {
	q    *request
	rc   *http.ResponseController
	idle time.Duration
}

func (h *Handler) patient(q *request) *patient {
	return &patient{q: q, rc: http.NewResponseController(q), idle: h.c.Idle}
}

func (p *patient) Write(b []byte) (int, error) {
	p.rc.SetWriteDeadline(time.Now().Add(p.idle))
	return p.q.Write(b)
}

// entryObject is a child of a directory. ok is false for nonsense, which is
// left out of listings.
func entryObject(e dirtable.Entry) (o object, ok bool) {
	c, err := e.Child()
	if err != nil {
		return o, false
	}
	m, err := e.Metadata()
	if err != nil {
		m = dirtable.Metadata{}
	}
	o = objectOf(c)
	o.metadata = &m
	return o, true
}

// dirJSON answers t=json for a directory.
func (h *Handler) dirJSON(q *request, dir dirtable.Child, t *dirtable.Table) error {
	return h.streamJSON(q, func(j *jsonWriter) {
		j.begin('[')
		j.next()
		j.text(dirType)
		j.next()
		j.begin('{')
		j.key("children")
		j.begin('{')
		for name, e := range t.All() {
			if o, ok := entryObject(e); ok {
				j.key(name)
				o.pair(j, o.facts, o.meta, o.rw, o.ro, o.verify)
			}
		}
		j.end('}')
		o := object{child: dir}
		o.ro(j)
		o.rw(j)
		o.verify(j)
		j.key("mutable")
		j.bool(!t.Immutable())
		j.end('}')
		j.end(']')
	})
}
