package webapi

import (
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

// file answers GET and HEAD for an immutable file. name is the end of the URL
// or "".
func (h *Handler) file(q *request, c caps.Cap, name string) error {
	if _, ok := caps.Size(c); !ok {
		return errorf(http.StatusBadRequest, "The cap is not that of a file.")
	}
	t := q.t()
	switch t {
	case "info":
		return h.info(q, c)
	case "", "json", "uri", "readonly-uri":
	default:
		return errorf(http.StatusBadRequest, "GET of a file takes no t=, or t=json, t=info, t=uri or t=readonly-uri.")
	}
	if v, ok := c.(caps.CHKVerifier); ok {
		return errorf(http.StatusBadRequest, "A cap of the kind %s grants checking a file, not reading it.", v.Kind())
	}
	if si, ok := caps.Index(c); ok {
		// Not quoted, as the Python gateway sends it. An immutable file has
		// the same tag forever.
		etag := si.String() + "-" + t
		q.Header()["Etag"] = []string{etag}
		q.Header().Set("Cache-Control", "private, no-cache")
		if matches(q.r.Header.Get("If-None-Match"), etag) {
			q.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	switch t {
	case "json":
		return q.json("text/plain", fileJSON(c))
	case "uri", "readonly-uri":
		return q.text(c.Reveal())
	}
	return h.content(q, c, name)
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

// fileJSON is what t=json says of a file.
func fileJSON(c caps.Cap) any {
	facts := map[string]any{"mutable": false, "format": "CHK", "ro_uri": c.Reveal()}
	if n, ok := caps.Size(c); ok {
		facts["size"] = n
	}
	if v, ok := caps.Verifier(c); ok {
		facts["verify_uri"] = v.Reveal()
	}
	return []any{"filenode", facts}
}

// unknown answers for a cap of a kind that this program does not know.
func (h *Handler) unknown(q *request, c caps.Unknown) error {
	if !errors.Is(c.Err(), caps.ErrUnknownKind) {
		return c.Err()
	}
	if q.r.Method == http.MethodGet || q.r.Method == http.MethodHead {
		switch q.t() {
		case "json":
			facts := map[string]any{}
			if c.ReadOnly() {
				facts["ro_uri"] = c.Reveal()
			} else {
				facts["rw_uri"] = c.Reveal()
			}
			if c.Immutable() {
				facts["mutable"] = false
			}
			return q.json("text/plain", []any{"unknown", facts})
		case "info":
			return h.info(q, c)
		}
	}
	return errorf(http.StatusBadRequest, "The cap is of a kind that is not known here. It can only be asked for with t=json or t=info.")
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

// content sends a file's bytes, or the range asked for.
func (h *Handler) content(q *request, c caps.Cap, name string) error {
	size, _ := caps.Size(c)
	if given := q.arg("filename"); given != "" {
		name = given
	}
	if name == "" {
		name = "unknown"
	}
	save, err := q.flag("save")
	if err != nil {
		return err
	}
	hdr := q.Header()
	kind := contentType(name)
	hdr.Set("Content-Type", kind)
	hdr.Set("Content-Security-Policy", policyFor(kind))
	hdr.Set("Accept-Ranges", "bytes")
	if save || kind == "application/pdf" { // browsers show no PDF in a sandbox
		hdr.Set("Content-Disposition", attachment(name))
	}
	off, n, status := int64(0), size, http.StatusOK
	if r := q.r.Header.Get("Range"); r != "" && h.sameFile(q) {
		first, count, ok, err := parseRange(r, size)
		if err != nil {
			return err
		}
		if ok {
			off, n, status = first, count, http.StatusPartialContent
			hdr.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, size))
		}
	}
	hdr.Set("Content-Length", strconv.FormatInt(n, 10))
	out := &stream{q: q, status: status, rc: http.NewResponseController(q), idle: h.c.Idle}
	if q.r.Method == http.MethodHead || n == 0 {
		out.begin()
		return nil
	}
	if lit, ok := c.(caps.LIT); ok {
		_, err := out.Write(lit.Data()[off : off+n])
		return err
	}
	return h.download(q.r.Context(), c.(caps.CHK), out, off, n)
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
