package webapi

import (
	"context"
	"net/http"
	"strings"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// postTree answers POST at /uri/CAP and below.
func (h *Handler) postTree(q *request, root caps.Cap, names []string) error {
	if !caps.IsDir(root) && len(names) > 0 {
		return errInTheWay(names[0])
	}
	if q.takesChildren() {
		return h.postChildren(q, root, names)
	}
	file, err := h.readForm(q)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	if err := q.checkWhenDone(); err != nil {
		return err
	}
	switch t := q.t(); t {
	case "upload":
		return h.postUpload(q, root, names, file)
	case "mkdir":
		return h.postMkdir(q, root, names, nil, false)
	case "uri":
		return h.postLink(q, root, names)
	case "unlink", "delete":
		return h.postUnlink(q, root, names)
	case "rename", "relink":
		return h.postRelink(q, root, names)
	case "check":
		return h.postCheck(q, root, names)
	case "start-manifest", "start-deep-size", "start-deep-stats", "start-deep-check", "stream-manifest", "stream-deep-check":
		return h.postDeep(q, root, names)
	case mkdirWithChildren, mkdirImmutable, setChildren, setChildrenToo:
		return errorf(http.StatusBadRequest, "t=%s must be in the URL, and the body the children as JSON.", t)
	}
	if !caps.IsDir(root) {
		return errorf(http.StatusBadRequest, "POST to a file needs t=check or t=upload.")
	}
	return errorf(http.StatusBadRequest, "POST to a directory needs t=upload, mkdir, mkdir-with-children, mkdir-immutable, uri, set_children, "+
		"unlink, rename, relink, check, stream-manifest, stream-deep-check, start-manifest, start-deep-size, start-deep-stats or start-deep-check.")
}

// postChildren answers what has children as JSON in its body.
func (h *Handler) postChildren(q *request, root caps.Cap, names []string) error {
	t := q.t()
	kids, err := q.children(t == mkdirImmutable)
	if err != nil {
		return err
	}
	if err := q.checkWhenDone(); err != nil {
		return err
	}
	if t == mkdirWithChildren || t == mkdirImmutable {
		return h.postMkdir(q, root, names, kids, t == mkdirImmutable)
	}
	replace, err := q.replace()
	if err != nil {
		return err
	}
	err = h.change(q, func(ctx context.Context, op *operation) error {
		d, err := h.dirAt(ctx, op, root, names)
		if err != nil {
			return err
		}
		list := make([]directory.Setting, len(kids))
		for i, k := range kids {
			list[i] = directory.Setting{Name: k.name, Child: k.child, Metadata: k.metadata}
		}
		return d.SetMany(ctx, list, replace, op.mutableTrace())
	})
	if err != nil {
		return err
	}
	return q.done(http.StatusOK, "Okay so I did it.")
}

// postUpload stores the file of a form in a directory, or over a file.
func (h *Handler) postUpload(q *request, root caps.Cap, names []string, file *received) error {
	a, err := q.fileArgs()
	a.offset = -1
	if err == nil && len(names) == 0 && !caps.IsDir(root) {
		err = overwritable(alone(root), a)
	}
	switch {
	case file == nil && err != nil:
		return err
	case file == nil:
		return errNoFile
	case err != nil:
		return file.refuse(err)
	}
	c, _, err := h.storeAt(q, file, a, func(ctx context.Context, op *operation) (*target, error) {
		t, err := h.resolve(ctx, op, root, names)
		if err != nil || !t.there() || !caps.IsDir(t.cap()) {
			return t, err
		}
		given := q.arg("name")
		if given == "" {
			given = file.name
		}
		name, err := childName("name", strings.TrimSpace(given))
		if err != nil {
			return nil, err
		}
		into, err := h.resolve(ctx, op, t.cap(), []string{name})
		if err == nil && into.there() && caps.IsDir(into.cap()) {
			err = errorf(http.StatusConflict, "There is a directory named %q, and a file cannot be written over it.", clean(name))
		}
		return into, err
	})
	if err != nil {
		return err
	}
	return q.done(http.StatusOK, c.Reveal())
}

// postMkdir makes a directory: in the one at the path, under name=, or without
// that at the path itself. What it holds is there before it is linked.
func (h *Handler) postMkdir(q *request, root caps.Cap, names []string, kids []given, immutable bool) error {
	make, err := h.newDir(q, kids, immutable)
	if err != nil {
		return err
	}
	replace, err := q.replace()
	if err != nil {
		return err
	}
	plain := kids == nil && !immutable && q.t() == "mkdir"
	if !plain {
		replace = dirtable.Never // as the Python gateway has it
	}
	if q.arg("name") == "" {
		if plain {
			return h.putDir(q, root, names)
		}
		if len(names) == 0 {
			return errorf(http.StatusBadRequest, "The argument name= is needed: that of the new directory.")
		}
	} else {
		name, err := childName("name", q.arg("name"))
		if err != nil {
			return err
		}
		names = append(names[:len(names):len(names)], name)
	}
	var made caps.Dir
	err = h.change(q, func(ctx context.Context, op *operation) error {
		t, err := h.resolve(ctx, op, root, names)
		switch {
		case err != nil:
			return err
		case !t.parent.Writable():
			return caps.ErrNotWritable
		case t.there() && (replace == dirtable.Never || replace == dirtable.OnlyFiles && caps.IsDir(t.cap())):
			return errTaken(t.name)
		}
		if made, err = make(ctx, op); err != nil {
			return err
		}
		_, err = h.place(ctx, op, t, directory.ChildOf(made), replace)
		return err
	})
	if err != nil {
		return err
	}
	return q.done(http.StatusOK, made.Reveal())
}

// postLink links the cap in uri= under name=.
func (h *Handler) postLink(q *request, root caps.Cap, names []string) error {
	name, err := childName("name", q.arg("name"))
	if err != nil {
		return err
	}
	replace, err := q.replace()
	if err != nil {
		return err
	}
	child, err := givenCap([]byte(q.arg("uri")))
	if err != nil {
		return err
	}
	if err := h.linkAt(q, root, append(names[:len(names):len(names)], name), child, replace); err != nil {
		return err
	}
	return q.done(http.StatusOK, child.Cap().Reveal())
}

// postUnlink removes a child.
func (h *Handler) postUnlink(q *request, root caps.Cap, names []string) error {
	name := q.arg("name")
	if name == "" {
		return errorf(http.StatusBadRequest, "The argument name= is needed: the name of a child.")
	}
	err := h.change(q, func(ctx context.Context, op *operation) error {
		d, err := h.dirAt(ctx, op, root, names)
		if err == nil {
			_, err = d.Delete(ctx, name, dirtable.Any, op.mutableTrace())
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.done(http.StatusOK, "thing unlinked")
}
