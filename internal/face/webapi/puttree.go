package webapi

import (
	"context"
	"io"
	"net/http"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// putTree answers PUT at /uri/CAP and below.
func (h *Handler) putTree(q *request, root caps.Cap, names []string) error {
	if !caps.IsDir(root) && len(names) > 0 {
		return errInTheWay(names[0])
	}
	switch q.t() {
	case "":
		return h.putFile(q, root, names)
	case "mkdir":
		return h.putDir(q, root, names)
	case "uri":
		return h.putLink(q, root, names)
	}
	return errorf(http.StatusBadRequest, "PUT takes no t=, or t=mkdir or t=uri.")
}

// fileArgs are what a request says of a file to be written at a place.
type fileArgs struct {
	newFile
	replace dirtable.Replace
	offset  int64 // -1: none: the whole file
}

func (q *request) fileArgs() (a fileArgs, err error) {
	if a.newFile, err = q.newFile(); err != nil {
		return a, err
	}
	if a.replace, err = q.replace(); err != nil {
		return a, err
	}
	off, given, err := q.offset()
	if !given {
		off = -1
	}
	a.offset = off
	return a, err
}

// putFile stores the body at a place in a directory, or in a mutable file.
func (h *Handler) putFile(q *request, root caps.Cap, names []string) error {
	a, err := q.fileArgs()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if err := overwritable(alone(root), a); err != nil {
			if err == errImmutable {
				q.Header().Set("Allow", "GET, HEAD, POST")
			}
			return err
		}
	}
	if q.r.Header.Get("Content-Range") != "" {
		return errorf(http.StatusNotImplemented, "Content-Range is not supported with PUT; offset= writes into mutable files.")
	}
	body, err := h.receive(q, q.r.Body, len(names) == 0 || a.format.mutable())
	if err != nil {
		return err
	}
	defer body.Close()
	c, created, err := h.storeAt(q, body, a, func(ctx context.Context, op *operation) (*target, error) { return h.resolve(ctx, op, root, names) })
	if err != nil {
		return err
	}
	if created {
		return q.answer(http.StatusCreated, c.Reveal())
	}
	return q.text(c.Reveal())
}

// storeAt stores a file that was received at the place that find leads to, and
// ends its operation.
func (h *Handler) storeAt(q *request, body *received, a fileArgs, find func(context.Context, *operation) (*target, error)) (c caps.Cap, created bool, err error) {
	defer func() { body.op.end(err) }()
	ctx := q.r.Context()
	body.op.enter(waiting)
	h.c.Grid.Wait(ctx, h.c.K)
	t, err := find(ctx, body.op)
	if err != nil {
		return nil, false, err
	}
	if t.there() {
		if err := overwritable(t, a); err != nil {
			return nil, false, err
		}
		if caps.Mutable(t.cap()) && typeOf(t.cap()) == fileType {
			body.op.object(t.cap())
			return t.cap(), false, h.overwrite(ctx, body, t.cap(), a.offset)
		}
	}
	if a.offset > 0 {
		return nil, false, errorf(http.StatusBadRequest, "offset= is for mutable files that are there already.")
	}
	if !t.parent.Writable() {
		return nil, false, caps.ErrNotWritable
	}
	if c, _, err = h.storeBody(ctx, body, a.newFile); err != nil {
		return nil, false, err
	}
	replaced, err := h.place(ctx, body.op, t, directory.ChildOf(c), a.replace)
	return c, !replaced, err
}

// overwritable says why a file must not be written where something is.
func overwritable(t *target, a fileArgs) error {
	c := t.cap()
	switch {
	case caps.IsDir(c) && a.replace == dirtable.OnlyFiles:
		return errTaken(t.name)
	case caps.IsDir(c):
		return errorf(http.StatusBadRequest, "%s is that of a directory, and a file cannot be written over it.", t.what())
	case a.replace == dirtable.Never:
		return errTaken(t.name)
	case typeOf(c) == fileType && caps.Mutable(c):
		if !caps.Writable(c) {
			return caps.ErrNotWritable
		}
	case a.offset >= 0:
		return errorf(http.StatusBadRequest, "offset= is for mutable files. %s is that of an immutable one.", t.what())
	case t.parent == nil && typeOf(c) == unknownType:
		return errUnknownCap
	case t.parent == nil:
		return errImmutable
	}
	return nil
}

// putDir makes a directory, and those that lead to it. One that is there
// already will do.
func (h *Handler) putDir(q *request, root caps.Cap, names []string) error {
	opts, err := h.dirOptions(q)
	if err != nil {
		return err
	}
	made, err := h.mkdirAt(q, root, names, opts)
	if err != nil {
		return err
	}
	return q.done(http.StatusOK, made.Reveal())
}

// mkdirAt returns the directory at a path, made if need be.
func (h *Handler) mkdirAt(q *request, root caps.Cap, names []string, opts directory.CreateOptions) (made caps.Cap, err error) {
	c, ok := root.(caps.Dir)
	if !ok {
		return nil, errInTheWay("")
	}
	if len(names) == 0 {
		return root, nil
	}
	d, err := h.openDirectory(c)
	if err != nil {
		return nil, err
	}
	err = h.change(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		d, err := h.c.Store.Mkdirs(ctx, d, names, opts, op.mutableTrace())
		if err == nil {
			made = d.Cap()
		}
		return err
	})
	return made, err
}

// putLink links the cap in the body at a place.
func (h *Handler) putLink(q *request, root caps.Cap, names []string) error {
	replace, err := q.replace()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errorf(http.StatusBadRequest, "t=uri links a cap at a place in a directory: PUT /uri/DIRCAP/NAME?t=uri.")
	}
	text, err := io.ReadAll(io.LimitReader(q.r.Body, maxField))
	if err != nil {
		return err
	}
	child, err := givenCap(text)
	if err != nil {
		return err
	}
	if err := h.linkAt(q, root, names, child, replace); err != nil {
		return err
	}
	return q.text(child.Cap().Reveal())
}

// linkAt links a child at a path, and makes the directories that lead there.
func (h *Handler) linkAt(q *request, root caps.Cap, names []string, child dirtable.Child, replace dirtable.Replace) error {
	c, ok := root.(caps.Dir)
	if !ok {
		return errInTheWay(names[0])
	}
	d, err := h.openDirectory(c)
	if err != nil {
		return err
	}
	return h.change(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		_, err := h.c.Store.Link(ctx, d, names, child, nil, replace, op.mutableTrace())
		return err
	})
}
