package webapi

import (
	"context"
	"errors"
	"net/http"

	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// change runs what writes to mutable files and directories, as an operation
// in /status, once servers are connected.
func (h *Handler) change(q *request, f func(context.Context, *operation) error) error {
	op := h.ops.begin(publish, q.operationID(), waiting, -1)
	defer op.end(errFault) // if nothing else has
	h.waitToStore(q.r.Context(), op)
	op.enter(sending)
	err := f(q.r.Context(), op)
	op.end(err)
	if err == nil {
		h.stats.filesPublished.Add(1)
	}
	return err
}

// look runs what reads, and once more when servers come that were missing.
func (h *Handler) look(q *request, f func(context.Context, *operation) error) error {
	op := h.ops.begin(retrieve, q.operationID(), waiting, -1)
	defer op.end(errFault) // if nothing else has
	err := h.withServers(q.r.Context(), op, func() error { return f(q.r.Context(), op) })
	op.end(err)
	return err
}

// withServers waits for k servers and does f. Where that finds too few
// shares, it is done once more when others have come: right after the node's
// start they may be about to answer.
func (h *Handler) withServers(ctx context.Context, op *operation, f func() error) error {
	had := h.c.Grid.Wait(ctx, h.c.K)
	op.enter(fetching)
	err := f()
	if !tooFew(err) {
		return err
	}
	op.enter(waiting)
	if !h.waitToRead(ctx, op, h.c.K, had) {
		return err
	}
	op.enter(fetching)
	return f()
}

// reach finds what a URL leads to, for reading.
func (h *Handler) reach(q *request, root caps.Cap, names []string) (t *target, err error) {
	if len(names) == 0 {
		return alone(root), nil
	}
	if !caps.IsDir(root) {
		return nil, errNotDir(names[0])
	}
	err = h.look(q, func(ctx context.Context, op *operation) error {
		op.object(root)
		t, err = h.resolve(ctx, op, root, names)
		return err
	})
	switch {
	case errors.Is(err, filestore.ErrNotDirectory):
		return nil, errNotDir(names[len(names)-1])
	case err != nil:
		return nil, err
	case !t.there():
		return nil, errNoChild(t.missing[0])
	}
	return t, nil
}

// get answers GET and HEAD at /uri/CAP and below.
func (h *Handler) get(q *request, root caps.Cap, names []string) error {
	t, err := h.reach(q, root, names)
	if err != nil {
		return err
	}
	switch c := t.cap().(type) {
	case caps.Dir:
		return h.getDir(q, c, t)
	case caps.Unknown, nil:
		return h.unknown(q, t)
	}
	return h.file(q, t)
}

// getDir answers GET and HEAD for a directory.
func (h *Handler) getDir(q *request, c caps.Dir, t *target) error {
	kind := q.t()
	if !readable(c) {
		if kind == "info" {
			return h.info(q, t.child, t.name)
		}
		return errorf(http.StatusBadRequest, "A cap of the kind %s grants checking a directory, not reading it.", c.Kind())
	}
	switch kind {
	case "info":
		return h.info(q, t.child, t.name)
	case "rename-form":
		return h.changeForm(q, c, "rename.html", nil)
	case "unlink-form":
		return h.unlinkForm(q, c)
	case "", "json", "uri", "readonly-uri":
	default:
		return errorf(http.StatusBadRequest,
			"GET of a directory takes no t=, or t=json, t=info, t=uri, t=readonly-uri or t=rename-form.")
	}
	if kind == "" || kind == "json" {
		if err := h.c.Blacklist.Check(c); err != nil {
			return err
		}
	}
	if si, ok := caps.Index(c); ok && !caps.Mutable(c) {
		if q.unchanged("DIR:" + si.String() + "-" + kind) {
			return nil
		}
	}
	switch kind {
	case "uri":
		return q.text(c.Reveal())
	case "readonly-uri":
		return q.text(t.child.Read.Reveal())
	}
	table, err := h.list(q, c)
	switch {
	case kind == "":
		return h.dirHTML(q, c, table, err)
	case err != nil:
		return q.errorJSON(err)
	}
	return h.dirJSON(q, t.child, table)
}

// list reads a directory.
func (h *Handler) list(q *request, c caps.Dir) (table *dirtable.Table, err error) {
	d, err := h.openDirectory(c)
	if err != nil {
		return nil, err
	}
	err = h.look(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		table, err = d.List(ctx, op.mutableTrace())
		return err
	})
	if err == nil && caps.Mutable(c) {
		h.stats.filesRetrieved.Add(1)
		h.stats.bytesRetrieved.Add(table.Size())
	}
	return table, err
}

// unlinkForm asks whether a child is to go, and shows its cap so that it can
// be kept.
func (h *Handler) unlinkForm(q *request, c caps.Dir) error {
	table, err := h.list(q, c)
	if err != nil {
		return err
	}
	e, ok := table.Entry(q.arg("name"))
	if !ok {
		return errNoChild(q.arg("name"))
	}
	child, err := e.Child()
	if err != nil {
		child = dirtable.Child{}
	}
	return h.changeForm(q, c, "unlink.html", child.Cap())
}

// errorJSON answers t=json of a directory that cannot be read.
func (q *request) errorJSON(err error) error {
	e := translate(err)
	q.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q.Header().Set("Cache-Control", "no-store")
	q.Header().Del("Etag")
	q.WriteHeader(e.status)
	_, err = q.Write(append(append([]byte(`{"error": `), appendJSON(nil, clean(e.text))...), '}'))
	return gone(err)
}

// deleteTree answers DELETE at /uri/DIRCAP/names: it unlinks, and answers with
// the cap that was linked.
func (h *Handler) deleteTree(q *request, root caps.Cap, names []string) error {
	if len(names) == 0 {
		q.Header().Set("Allow", "GET, HEAD, PUT, POST")
		return errorf(http.StatusMethodNotAllowed, "Only a child of a directory can be unlinked: DELETE /uri/DIRCAP/NAME. A cap by itself cannot.")
	}
	last := len(names) - 1
	var removed dirtable.Child
	err := h.change(q, func(ctx context.Context, op *operation) error {
		d, err := h.dirAt(ctx, op, root, names[:last])
		if err == nil {
			removed, err = d.Delete(ctx, names[last], dirtable.Any, op.mutableTrace())
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.text(reveal(removed.Cap()))
}
