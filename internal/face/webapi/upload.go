package webapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/spool"
)

// OperationHeader is the request header by which a client names an upload, to
// find it in /status while the answer is not there yet.
const OperationHeader = "X-Tahoe-Operation"

// errFault ends operations that a panic has left.
var errFault = errorf(http.StatusInternalServerError, "The gateway has a fault; its log says more.")

var operationID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// put stores the body as a new file and answers with its cap.
func (h *Handler) put(q *request) error {
	if err := q.immutableWanted(); err != nil {
		return err
	}
	op, err := h.beginUpload(q)
	if err != nil {
		return err
	}
	defer op.end(errFault) // if nothing else has
	body, err := h.receive(q, op, q.r.Body)
	if err != nil {
		op.end(err)
		return err
	}
	defer body.Close()
	res, err := h.store(q.r.Context(), op, body)
	if err != nil {
		return err
	}
	return q.text(res.Cap.Reveal())
}

// immutableWanted reads format= and mutable=: an error unless a CHK file is
// wanted, which is the default.
func (q *request) immutableWanted() error {
	switch format := q.arg("format"); strings.ToUpper(format) {
	case "CHK":
		return nil
	case "SDMF", "MDMF":
		return notYet("Mutable files")
	case "":
		mutable, err := q.flag("mutable")
		if err == nil && mutable {
			return notYet("Mutable files")
		}
		return err
	default:
		return errorf(http.StatusBadRequest, "The format %q is not known; there are CHK, SDMF and MDMF.", clean(format))
	}
}

func (h *Handler) beginUpload(q *request) (*operation, error) {
	id := q.r.Header.Get(OperationHeader)
	if id != "" && !operationID.MatchString(id) {
		return nil, errorf(http.StatusBadRequest, "The header %s must be 1 to 64 letters, digits, - or _.", OperationHeader)
	}
	return h.ops.begin(upload, id, receiving, -1), nil
}

// received is a file that a client has sent. Close it.
type received struct {
	*spool.Spool
	key caps.Key // zero: not known yet
}

// receive spools a file that the client sends, and derives its key meanwhile.
func (h *Handler) receive(q *request, op *operation, from io.Reader) (*received, error) {
	if n := q.r.ContentLength; n > 0 {
		if limit := h.c.Spool.Max; limit > 0 && n-maxField > limit {
			return nil, spool.ErrTooLarge // before it was sent, if the client waits to be told
		}
		op.size(n) // with a form around it, nearly
	}
	rc := http.NewResponseController(q)
	in := &body{Reader: from, op: op, rc: rc, idle: h.c.Idle}
	if !h.c.Convergence.IsZero() {
		in.keyer = h.c.Files.NewKeyer(h.c.Convergence)
	}
	s, err := spool.Fill(in, h.c.Spool)
	rc.SetReadDeadline(time.Time{}) // the silence after a body is no fault
	if err != nil {
		return nil, fmt.Errorf("receiving the file: %w", err)
	}
	r := &received{Spool: s}
	if in.keyer != nil {
		r.key = in.keyer.Key()
	}
	return r, nil
}

// body counts what a client sends, and bounds its silence.
type body struct {
	io.Reader
	op    *operation
	rc    *http.ResponseController
	idle  time.Duration
	keyer *immutable.Keyer // nil: none
}

func (b *body) Read(p []byte) (int, error) {
	b.rc.SetReadDeadline(time.Now().Add(b.idle))
	n, err := b.Reader.Read(p)
	if b.keyer != nil {
		b.keyer.Write(p[:n])
	}
	b.op.add(n)
	return n, err
}

// store uploads a spooled file and ends op.
func (h *Handler) store(ctx context.Context, op *operation, body *received) (*immutable.Result, error) {
	res, err := h.upload(ctx, op, body)
	op.end(err)
	return res, err
}

func (h *Handler) upload(ctx context.Context, op *operation, body *received) (*immutable.Result, error) {
	op.size(body.Size())
	if body.Size() > caps.MaxLIT {
		op.enter(waiting)
		h.waitToStore(ctx, op)
	}
	op.enter(hashing)
	src := immutable.Source{ReadSeeker: &source{ReadSeeker: body, op: op}, Size: body.Size(), Convergence: h.c.Convergence, Key: body.key}
	res, err := h.c.Files.Upload(ctx, src, op.trace())
	if err != nil {
		return nil, err
	}
	if si, ok := caps.Index(res.Cap); ok {
		op.index(si)
	}
	h.stats.filesUploaded.Add(1)
	h.stats.bytesUploaded.Add(res.Size)
	return res, nil
}

// source counts the first reading of a file, which is for its key where that
// could not be derived as the file came in. It ends when the file is rewound.
type source struct {
	io.ReadSeeker
	op     *operation
	hashed bool
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if !s.hashed {
		s.op.add(n)
	}
	return n, err
}

func (s *source) Seek(off int64, whence int) (int64, error) {
	s.hashed = true
	s.op.enter(sending)
	return s.ReadSeeker.Seek(off, whence)
}

// Limits of a form around the file in it.
const (
	maxField  = 64 << 10 // bytes of one field
	maxFields = 100
)

// post stores the file in a form (or whatever else t= asks for, not yet).
func (h *Handler) post(q *request) error {
	kind, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err == nil && kind == "application/x-www-form-urlencoded" {
		if err := h.readForm(q); err != nil {
			return err
		}
	}
	if err == nil && kind == "multipart/form-data" {
		return h.postForm(q)
	}
	if err := unlinkedKind(q.t()); err != nil {
		return err
	}
	return errNoFile
}

var errNoFile = errorf(http.StatusBadRequest, "The form must be multipart/form-data and have the file in the field named file.")

// unlinkedKind is the error for a t= of POST /uri that is not an upload.
func unlinkedKind(t string) error {
	switch t {
	case "", "upload":
		return nil
	case "mkdir", "mkdir-with-children", "mkdir-immutable":
		return notYet("Directories")
	}
	return errorf(http.StatusBadRequest, "/uri takes GET with uri=, PUT, PUT with t=mkdir, and POST with t=upload or t=mkdir.")
}

func (h *Handler) readForm(q *request) error {
	b, err := io.ReadAll(io.LimitReader(q.r.Body, maxField))
	if err != nil {
		return err
	}
	q.fields = parseQuery(string(b))
	return nil
}

func (h *Handler) postForm(q *request) error {
	op, err := h.beginUpload(q)
	if err != nil {
		return err
	}
	defer op.end(errFault) // if nothing else has
	body, err := h.receiveForm(q, op)
	if err == nil {
		defer body.Close()
		if err = unlinkedKind(q.t()); err == nil {
			err = q.immutableWanted()
		}
	}
	whenDone := q.arg("when_done")
	if err == nil && whenDone != "" {
		_, err = nextPage(whenDone, "x", q.r.Host)
	}
	if err != nil {
		op.end(err)
		return err
	}
	res, err := h.store(q.r.Context(), op, body)
	if err != nil {
		return err
	}
	if whenDone != "" {
		next, err := nextPage(whenDone, res.Cap.Reveal(), q.r.Host)
		if err != nil {
			return err
		}
		return q.redirect(next, nil)
	}
	if !takesHTML(q.r) {
		return q.text(res.Cap.Reveal())
	}
	return h.uploaded(q, res)
}

// receiveForm reads a form to its end: the field named file into a spool, the
// others into q.fields. The file may come before them.
func (h *Handler) receiveForm(q *request, op *operation) (file *received, err error) {
	defer func() {
		if err != nil && file != nil {
			file.Close()
			file = nil
		}
	}()
	mr, err := q.r.MultipartReader()
	if err != nil {
		return nil, errNoFile
	}
	q.fields = url.Values{}
	for range maxFields {
		part, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			if file == nil {
				err = unlinkedKind(q.t())
				if err == nil {
					err = errNoFile
				}
				return nil, err
			}
			// What may follow the form must be read for the server to notice
			// when the client leaves.
			io.Copy(io.Discard, io.LimitReader(q.r.Body, maxField))
			return file, nil
		}
		if err != nil {
			return file, formError(err)
		}
		switch name := part.FormName(); {
		case name == "file" && file == nil:
			file, err = h.receive(q, op, part)
		case name == "file":
			err = errorf(http.StatusBadRequest, "The form has more than one field named file.")
		default:
			err = q.addField(name, part)
		}
		if err != nil {
			return file, formError(err)
		}
	}
	return file, errorf(http.StatusBadRequest, "The form has more than %d fields.", maxFields)
}

func (q *request) addField(name string, part *multipart.Part) error {
	value, err := io.ReadAll(io.LimitReader(part, maxField+1))
	if err != nil {
		return err
	}
	if len(value) > maxField {
		return errorf(http.StatusRequestEntityTooLarge, "A field of the form is longer than %d bytes.", maxField)
	}
	q.fields.Add(name, string(value))
	return nil
}

// formError keeps the errors that translate knows, and says of others what
// they are about.
func formError(err error) error {
	if translate(err).status != http.StatusInternalServerError {
		return err
	}
	return errorf(http.StatusBadRequest, "The form is not well formed, or ended too early.")
}

// nextPage is where when_done= sends the browser, with %(uri)s replaced by the
// cap. Only pages of this gateway are allowed: anywhere else the cap would be
// given away.
func nextPage(whenDone, cap, host string) (string, error) {
	next := strings.ReplaceAll(whenDone, "%(uri)s", quote(cap))
	u, err := url.Parse(next)
	bad := err != nil || u.Opaque != "" || strings.ContainsAny(next, "\\\t\r\n") || strings.HasPrefix(next, "//")
	if !bad && (u.Scheme != "" || u.Host != "") {
		bad = !sameHost(next, host)
	}
	if bad {
		return "", errorf(http.StatusBadRequest, "when_done= must lead to a page of this gateway.")
	}
	return next, nil
}
