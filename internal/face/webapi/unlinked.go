package webapi

import (
	"context"
	"io"
	"net/http"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
)

// The values of t= whose body is the JSON of children, whatever its type.
const (
	mkdirWithChildren = "mkdir-with-children"
	mkdirImmutable    = "mkdir-immutable"
	setChildren       = "set_children"
	setChildrenToo    = "set-children"
)

// takesChildren reports whether the URL says that the body is children.
func (q *request) takesChildren() bool {
	switch q.query.Get("t") {
	case mkdirWithChildren, mkdirImmutable, setChildren, setChildrenToo:
		return true
	}
	return false
}

// postUnlinked answers POST /uri: it makes what is in no directory yet.
func (h *Handler) postUnlinked(q *request) error {
	if q.takesChildren() {
		switch t := q.t(); t {
		case mkdirWithChildren, mkdirImmutable:
			kids, err := q.children(t == mkdirImmutable)
			if err != nil {
				return err
			}
			return h.mkdirUnlinked(q, kids, t == mkdirImmutable)
		}
		return errUnlinkedT
	}
	file, err := h.readForm(q)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	switch q.t() {
	case "", "upload":
		return h.postFile(q, file)
	case "mkdir":
		if q.bodyKind() == "" {
			if n, _ := io.ReadFull(q.r.Body, make([]byte, 1)); n > 0 {
				return errorf(http.StatusBadRequest, "t=mkdir takes no body. To make a directory with children use t=mkdir-with-children.")
			}
		}
		return h.mkdirUnlinked(q, nil, false)
	case mkdirWithChildren, mkdirImmutable:
		return errorf(http.StatusBadRequest, "t=%s must be in the URL, and the body the children as JSON.", q.t())
	}
	return errUnlinkedT
}

var errUnlinkedT = errorf(http.StatusBadRequest,
	"/uri takes GET with uri=, PUT, PUT with t=mkdir, and POST with t=upload, t=mkdir, t=mkdir-with-children or t=mkdir-immutable.")

// mkdirUnlinked makes a directory and answers with its cap.
func (h *Handler) mkdirUnlinked(q *request, kids []given, immutable bool) error {
	make, err := h.newDir(q, kids, immutable)
	if err == nil {
		err = q.checkWhenDone()
	}
	if err != nil {
		return err
	}
	result, err := q.flag("redirect_to_result")
	if err != nil {
		return err
	}
	var made caps.Dir
	err = h.change(q, func(ctx context.Context, op *operation) error {
		if made, err = make(ctx, op); err == nil {
			op.object(made)
		}
		return err
	})
	if err != nil {
		return err
	}
	if result {
		q.Header().Set("Location", "/uri/"+quote(made.Reveal())+"/")
		q.Header().Set("Cache-Control", "no-store")
		q.WriteHeader(http.StatusSeeOther)
		return nil
	}
	return q.done(http.StatusOK, made.Reveal())
}

// newDir reads what the arguments say of a new directory and returns what
// makes it.
func (h *Handler) newDir(q *request, kids []given, immutable bool) (func(context.Context, *operation) (caps.Dir, error), error) {
	children := make([]directory.NewChild, len(kids))
	for i, k := range kids {
		children[i] = directory.NewChild{Name: k.name, Child: k.child}
		if k.metadata != nil {
			children[i].Metadata = *k.metadata
		}
	}
	if immutable {
		return func(ctx context.Context, op *operation) (caps.Dir, error) {
			return h.c.Directories.CreateImmutable(ctx, children, op.trace())
		}, nil
	}
	opts, err := h.dirOptions(q)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, op *operation) (caps.Dir, error) {
		made, err := h.c.Directories.Create(ctx, opts, children, op.mutableTrace())
		return made, keyTaken(opts.Key, err)
	}, nil
}

// dirOptions reads how a new directory is to be stored.
func (h *Handler) dirOptions(q *request) (directory.CreateOptions, error) {
	f, err := q.mutableFormat(mutableFormat(h.c.MDMF))
	if err != nil {
		return directory.CreateOptions{}, err
	}
	key, err := q.privateKey()
	return directory.CreateOptions{MDMF: f == mdmfFormat, Key: key}, err
}
