package webapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
)

// file answers GET and HEAD for a file. The target's name is the end of the
// URL or "".
func (h *Handler) file(q *request, t *target) error {
	c, kind := t.cap(), q.t()
	if typeOf(c) != fileType {
		return errorf(http.StatusBadRequest, "The cap is not that of a file.")
	}
	switch kind {
	case "info":
		return h.info(q, t.child, t.name)
	case "", "json", "uri", "readonly-uri":
	default:
		return errorf(http.StatusBadRequest, "GET of a file takes no t=, or t=json, t=info, t=uri or t=readonly-uri.")
	}
	if !readable(c) {
		return errorf(http.StatusBadRequest, "A cap of the kind %s grants checking a file, not reading it.", c.Kind())
	}
	if kind == "" {
		if err := h.c.Blacklist.Check(c); err != nil {
			return err
		}
		// For an answer without a body too: browsers take the policy of that
		// for what they have.
		q.Header().Set("Content-Security-Policy", policyFor(contentType(q.fileName(t.name))))
	}
	if si, ok := caps.Index(c); ok && !caps.Mutable(c) {
		// An immutable file has the same tag forever.
		if q.unchanged(si.String() + "-" + kind) {
			return nil
		}
	}
	switch kind {
	case "json":
		return h.fileJSON(q, t)
	case "uri":
		return q.text(c.Reveal())
	case "readonly-uri":
		return q.text(t.child.Read.Reveal())
	}
	if caps.Mutable(c) {
		return h.mutableContent(q, t.child.Read, t.name)
	}
	size, _ := caps.Size(c)
	out, off, n, err := h.beginContent(q, t.name, size)
	if err != nil || out == nil {
		return err
	}
	if lit, ok := c.(caps.LIT); ok {
		_, err := out.Write(lit.Data()[off : off+n])
		return err
	}
	return h.download(q.r.Context(), c.(caps.CHK), out, off, n)
}

// unchanged sets the entity tag of what never changes and reports whether the
// client has it already, in which case it has been told so. The tag is not
// quoted, as the Python gateway sends it.
func (q *request) unchanged(etag string) bool {
	q.Header()["Etag"] = []string{etag}
	q.Header().Set("Cache-Control", "private, no-cache")
	if !matches(q.r.Header.Get("If-None-Match"), etag) {
		return false
	}
	q.WriteHeader(http.StatusNotModified)
	return true
}

// matches reports whether a list of entity tags has etag, quoted or not.
func matches(list, etag string) bool {
	for tag := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ' ' || r == ',' }) {
		if tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// fileJSON answers t=json of a file. The size of a mutable one is asked of
// servers; if they cannot tell, it is left out.
func (h *Handler) fileJSON(q *request, t *target) error {
	o := objectOf(t.child)
	o.metadata = t.metadata
	if caps.Mutable(t.cap()) {
		if v, err := h.version(q, t.child.Read); err == nil {
			o.size = v.Size
		}
	}
	return h.objectJSON(q, o, false)
}

// errUnknownCap: little can be done with a cap of the future.
var errUnknownCap = errorf(http.StatusBadRequest, "The cap is of a kind that is not known here. It can only be asked for with t=json or t=info.")

// unknown answers GET for a cap of a kind that this program does not know.
func (h *Handler) unknown(q *request, t *target) error {
	switch kind := q.t(); {
	case kind == "json":
		o := objectOf(t.child)
		o.metadata = t.metadata
		return h.objectJSON(q, o, t.parent != nil && !caps.Mutable(t.parent.Cap()))
	case kind == "info" && t.cap() != nil:
		return h.info(q, t.child, t.name)
	case kind == "uri" && t.cap() != nil:
		return q.text(t.cap().Reveal())
	case kind == "readonly-uri" && t.child.Read != nil:
		return q.text(t.child.Read.Reveal())
	}
	return errUnknownCap
}

// json answers with a value, spaced as the Python gateway does.
func (q *request) json(kind string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	q.Header().Set("Content-Type", kind+"; charset=utf-8")
	if q.Header().Get("Cache-Control") == "" {
		q.Header().Set("Cache-Control", "no-store")
	}
	_, err = q.Write(append(b, '\n'))
	return gone(err)
}

// storedPolicy makes whatever was stored inert: it runs no script, asks
// nobody for anything, and is of no site, so of this gateway's neither.
const storedPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; media-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mediaPolicy is that of sound and video, which run nothing. The page that a
// browser puts around them fetches them again by their URL, and from inside a
// sandbox that would be a foreign site's request, which the guard refuses.
const mediaPolicy = "default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// policyFor returns the policy of stored content of a type.
func policyFor(kind string) string {
	if strings.HasPrefix(kind, "audio/") || strings.HasPrefix(kind, "video/") {
		return mediaPolicy
	}
	return storedPolicy
}

// beginContent decides which bytes of a file are to be sent, and how they are
// to be taken. out is nil when there are none: then the answer is complete.
func (h *Handler) beginContent(q *request, name string, size int64) (out *stream, off, n int64, err error) {
	name = q.fileName(name)
	save, err := q.flag("save")
	if err != nil {
		return nil, 0, 0, err
	}
	hdr := q.Header()
	kind := contentType(name)
	hdr.Set("Content-Type", kind)
	if prefersHTML(q.r) && plainText(kind) {
		hdr.Set("Content-Type", kind+"; charset=utf-8") // browsers take what says nothing for Latin-1
	}
	hdr.Set("Content-Security-Policy", policyFor(kind))
	hdr.Set("Accept-Ranges", "bytes")
	if save || kind == "application/pdf" { // browsers show no PDF in a sandbox
		hdr.Set("Content-Disposition", attachment(name))
	}
	status := http.StatusOK
	n = size
	if r := q.r.Header.Get("Range"); r != "" && h.sameFile(q) {
		first, count, ok, err := parseRange(r, size)
		if err != nil {
			return nil, 0, 0, err
		}
		if ok {
			off, n, status = first, count, http.StatusPartialContent
			hdr.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, size))
		}
	}
	hdr.Set("Content-Length", strconv.FormatInt(n, 10))
	out = &stream{q: q, status: status, rc: http.NewResponseController(q), idle: h.c.Idle}
	if q.r.Method == http.MethodHead || n == 0 {
		out.begin()
		return nil, 0, 0, nil
	}
	return out, off, n, nil
}

// fileName is what a file is to be called: as the request has it, else by its
// name in the URL, which may be "".
func (q *request) fileName(name string) string {
	return cmp.Or(q.arg("filename"), name, "unknown")
}

// sameFile reports whether the condition in If-Range, if any, holds.
func (h *Handler) sameFile(q *request) bool {
	cond := q.r.Header.Get("If-Range")
	return cond == "" || matches(cond, strings.Join(q.Header()["Etag"], ""))
}

// attachment tells browsers to save a file. The first name has the bytes as
// they were given, as the Python gateway sends them; those who know RFC 6266
// take the second.
func attachment(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name)
	s := `attachment; filename="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(plain) + `"`
	if strings.ContainsFunc(plain, func(r rune) bool { return r > 0x7e }) {
		s += "; filename*=UTF-8''" + quote(plain)
	}
	return s
}

// stream sends a body whose status is withheld until the first byte is there:
// until then an error can still be told.
type stream struct {
	q      *request
	op     *operation // nil: none
	status int
	rc     *http.ResponseController
	idle   time.Duration
}

func (s *stream) begin() { s.q.WriteHeader(s.status) }

func (s *stream) Write(p []byte) (int, error) {
	if s.q.status == 0 {
		s.begin()
	}
	s.rc.SetWriteDeadline(time.Now().Add(s.idle))
	n, err := s.q.Write(p)
	if s.op != nil {
		s.op.add(n)
	}
	return n, gone(err)
}

var _ io.Writer = (*stream)(nil)

// download streams n bytes from off.
func (h *Handler) download(ctx context.Context, c caps.CHK, out *stream, off, n int64) error {
	f, err := h.c.Files.Open(c)
	if err != nil {
		return err
	}
	op := h.ops.begin(download, out.q.operationID(), waiting, n)
	defer op.end(errFault) // if nothing else has
	op.index(c.Index())
	out.op = op
	err = h.fetch(ctx, f, c.K, out, off, n)
	op.end(err)
	if err != nil {
		return err
	}
	h.stats.filesDownloaded.Add(1)
	h.stats.bytesDownloaded.Add(n)
	return nil
}

// fetch waits for k servers and reads. Where they have not enough shares, and
// nothing has been sent yet, it tries once more when others have come: right
// after the node's start they may be about to answer.
func (h *Handler) fetch(ctx context.Context, f *immutable.File, k int, out *stream, off, n int64) error {
	servers := h.c.Grid.Wait(ctx, k)
	out.op.enter(fetching)
	err := f.ReadRange(ctx, out, off, n, out.op.trace())
	if _, few := errors.AsType[*immutable.NotEnoughSharesError](err); !few || out.q.status != 0 {
		return err
	}
	out.op.enter(waiting)
	if !h.waitToRead(ctx, out.op, k, servers) {
		return err
	}
	out.op.enter(fetching)
	return f.ReadRange(ctx, out, off, n, out.op.trace())
}

// operationID is the client's word for the operation, or "".
func (q *request) operationID() string {
	if id := q.r.Header.Get(OperationHeader); operationID.MatchString(id) {
		return id
	}
	return ""
}
