package webapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// relinking is what rename and relink are to do.
type relinking struct {
	from, to string
	toDir    caps.Cap // nil: the same directory
	toPath   []string // below it
	replace  dirtable.Replace
}

func (q *request) relinking() (r relinking, err error) {
	rename := q.t() == "rename"
	if r.replace, err = q.replace(); err != nil {
		return r, err
	}
	if r.from, err = childName("from_name", q.arg("from_name")); err != nil {
		return r, err
	}
	if _, there := q.value("to_name"); !there && !rename {
		r.to = r.from
	} else if r.to, err = childName("to_name", strings.TrimSpace(q.arg("to_name"))); err != nil {
		return r, err
	}
	dir, there := q.value("to_dir")
	switch {
	case there && rename:
		return r, errorf(http.StatusBadRequest, "t=rename takes no to_dir=; t=relink does.")
	case there && dir != "":
		text, path, below := strings.Cut(strings.TrimSpace(dir), "/")
		if r.toDir, err = caps.Parse(text); err != nil {
			return r, err
		}
		if below {
			r.toPath, err = childPath(strings.Split(path, "/"))
		}
		if err == nil && !caps.IsDir(r.toDir) {
			err = errNoToDir
		}
	}
	return r, err
}

var errNoToDir = errorf(http.StatusBadRequest, "to_dir= is not the cap of a directory, nor a path from there to one.")

// postRelink gives a child another name, in its directory or another one.
func (h *Handler) postRelink(q *request, root caps.Cap, names []string) error {
	r, err := q.relinking()
	if err != nil {
		return err
	}
	err = h.change(q, func(ctx context.Context, op *operation) error {
		d, err := h.dirAt(ctx, op, root, names)
		if err != nil {
			return err
		}
		into := d
		if r.toDir != nil {
			if into, err = h.toDir(ctx, op, r); err != nil {
				return err
			}
		}
		err = d.MoveTo(ctx, r.from, into, r.to, r.replace, op.mutableTrace())
		if errors.Is(err, dirtable.ErrExists) {
			return errTaken(r.to)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.done(http.StatusOK, "thing moved")
}

// toDir finds the directory that a child is moved to.
func (h *Handler) toDir(ctx context.Context, op *operation, r relinking) (*directory.Directory, error) {
	t, err := h.resolve(ctx, op, r.toDir, r.toPath)
	if errors.Is(err, filestore.ErrNotDirectory) {
		return nil, errNoToDir
	}
	if err != nil {
		return nil, err
	}
	if !t.there() {
		return nil, errNoChild(t.missing[0])
	}
	c, ok := t.cap().(caps.Dir)
	if !ok {
		return nil, errNoToDir
	}
	return h.openDir(op, c)
}
