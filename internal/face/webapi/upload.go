package webapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
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
	opts, err := q.newFile()
	if err != nil {
		return err
	}
	body, err := h.receive(q, q.r.Body, opts.format.mutable())
	if err != nil {
		return err
	}
	defer body.Close()
	c, _, err := h.storeNew(q.r.Context(), body, opts)
	if err != nil {
		return err
	}
	return q.text(c.Reveal())
}

// newFile is how a new file is to be stored.
type newFile struct {
	format format
	key    *ssk.PrivateKey // of a mutable file; nil: a new one
}

// newFile reads what the arguments say of a new file. The default is an
// immutable one.
func (q *request) newFile() (n newFile, err error) {
	if n.format, err = q.format(chkFormat); err == nil && n.format.mutable() {
		n.key, err = q.privateKey()
	}
	return n, err
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
	op   *operation
	key  caps.Key // zero: not known yet
	name string   // in the form that it came in; ""
}

// errUnused ends the operation of a file that was sent with a request which had
// no use for it.
var errUnused = errorf(http.StatusBadRequest, "The file was not stored: the answer to its request says why.")

// Close gives the space back, and ends the operation if nothing else has.
func (r *received) Close() error {
	r.op.end(errUnused)
	return r.Spool.Close()
}

// slotMemory is how much of what goes into a mutable file is kept in memory:
// all of it will be there, several times, when it is written.
const slotMemory = 16 << 20

// receive spools a file that the client sends, and derives its key meanwhile
// unless it is certain that the file goes into a mutable one.
func (h *Handler) receive(q *request, from io.Reader, mutable bool) (r *received, err error) {
	op, err := h.beginUpload(q)
	if err != nil {
		return nil, err
	}
	defer func() {
		switch {
		case err != nil:
			op.end(err)
		case r == nil:
			op.end(errFault)
		}
	}()
	if n := q.r.ContentLength; n > 0 {
		if limit := h.c.Spool.Max; limit > 0 && n-maxField > limit {
			return nil, spool.ErrTooLarge // before it was sent, if the client waits to be told
		}
		op.size(n) // with a form around it, nearly
	}
	in := &body{Reader: from, op: op}
	where := h.c.Spool
	if mutable {
		where.Memory, where.Expect = max(where.Memory, slotMemory), q.r.ContentLength
	} else if !h.c.Convergence.IsZero() {
		in.keyer = h.c.Files.NewKeyer(h.c.Convergence)
	}
	s, err := spool.Fill(in, where)
	q.resume() // the silence after a file is no fault
	if err != nil {
		return nil, fmt.Errorf("receiving the file: %w", err)
	}
	r = &received{Spool: s, op: op}
	if in.keyer != nil {
		r.key = in.keyer.Key()
	}
	return r, nil
}

// body counts what a client sends.
type body struct {
	io.Reader
	op    *operation
	keyer *immutable.Keyer // nil: none
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.keyer != nil {
		b.keyer.Write(p[:n])
	}
	b.op.add(n)
	return n, err
}

// storeNew stores a file that was received and ends its operation. The result
// is nil for a mutable file.
func (h *Handler) storeNew(ctx context.Context, body *received, n newFile) (caps.Cap, *immutable.Result, error) {
	c, res, err := h.storeBody(ctx, body, n)
	body.op.end(err)
	return c, res, err
}

// storeBody does so without ending the operation.
func (h *Handler) storeBody(ctx context.Context, body *received, n newFile) (caps.Cap, *immutable.Result, error) {
	if n.format.mutable() {
		c, err := h.createMutable(ctx, body, n)
		return c, nil, err
	}
	res, err := h.upload(ctx, body.op, body)
	if err != nil {
		return nil, nil, err
	}
	return res.Cap, res, nil
}

// refuse ends the operation of a file that is not wanted.
func (r *received) refuse(err error) error {
	r.op.end(err)
	return err
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

// postFile stores the file of a form that names no directory.
func (h *Handler) postFile(q *request, file *received) error {
	if file == nil {
		return errNoFile
	}
	opts, err := q.newFile()
	if err == nil {
		err = q.checkWhenDone()
	}
	if err != nil {
		return file.refuse(err)
	}
	c, res, err := h.storeNew(q.r.Context(), file, opts)
	if err != nil {
		return err
	}
	if q.arg("when_done") == "" && takesHTML(q.r) {
		return h.uploaded(q, c, res)
	}
	return q.done(http.StatusOK, c.Reveal())
}
