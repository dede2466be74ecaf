package webapi

import (
	"context"
	"fmt"
	"net/http"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// target is what a URL leads to: /uri/CAP, or /uri/DIRCAP/and/names/below.
type target struct {
	child dirtable.Child // its caps; none: nothing of that name is there

	// Where it is linked. nil: it is a cap by itself.
	parent   *directory.Directory
	name     string
	metadata *dirtable.Metadata

	// missing are the names that lead from parent to what is not there: the
	// last is its own, those before are of directories to be made.
	missing []string
}

// cap is the target's most powerful cap, nil if there is none.
func (t *target) cap() caps.Cap { return t.child.Cap() }

// there reports whether there is something.
func (t *target) there() bool { return len(t.missing) == 0 }

// what names the target in a sentence.
func (t *target) what() string {
	if t.name == "" {
		return "The cap"
	}
	return fmt.Sprintf("The cap of the child %q", clean(t.name))
}

// alone is the target that a cap is by itself.
func alone(c caps.Cap) *target {
	t := &target{}
	if caps.Writable(c) {
		t.child.Write = c
	}
	if read, ok := caps.Read(c); ok {
		t.child.Read = read
	} else if t.child.Write == nil {
		t.child.Read = c // nothing is known of it
	}
	return t
}

// readable reports whether a cap grants reading, not checking only.
func readable(c caps.Cap) bool {
	if d, ok := c.(caps.Dir); ok {
		c = d.File()
	}
	switch c.(type) {
	case caps.CHK, caps.LIT, caps.SSK, caps.SSKRead:
		return true
	}
	return false
}

// resolve follows the names below a cap, one round trip for each. The target
// need not be there.
func (h *Handler) resolve(ctx context.Context, op *operation, root caps.Cap, names []string) (*target, error) {
	if len(names) == 0 {
		return alone(root), nil
	}
	if !caps.IsDir(root) {
		return nil, errInTheWay(names[0])
	}
	found, err := h.c.Store.Lookup(ctx, root, names, op.wayTrace())
	if len(found.Missing) > 0 {
		return &target{parent: found.Parent, name: names[len(names)-1], missing: found.Missing}, nil
	}
	if err != nil {
		return nil, err
	}
	t := &target{parent: found.Parent, name: found.Name}
	if t.child, err = found.Entry.Child(); err != nil {
		return nil, errorf(http.StatusBadRequest, "The directory's entry for %q makes no sense.", clean(t.name))
	}
	if m, err := found.Entry.Metadata(); err == nil {
		t.metadata = &m
	}
	return t, nil
}

// dirAt finds a directory that is there, to change it.
func (h *Handler) dirAt(ctx context.Context, op *operation, root caps.Cap, names []string) (*directory.Directory, error) {
	t, err := h.resolve(ctx, op, root, names)
	if err != nil {
		return nil, err
	}
	if !t.there() {
		return nil, errNoChild(t.missing[0])
	}
	c, ok := t.cap().(caps.Dir)
	if !ok {
		return nil, errorf(http.StatusBadRequest, "%s is not that of a directory.", t.what())
	}
	return h.openDir(op, c)
}

// openDir opens a directory to change it.
func (h *Handler) openDir(op *operation, c caps.Dir) (*directory.Directory, error) {
	if !caps.Writable(c) {
		return nil, caps.ErrNotWritable
	}
	op.object(c)
	return h.openDirectory(c)
}

// place links what is new where a target is to be, and makes the directories
// that lead there. It reports whether that took the place of another.
func (h *Handler) place(ctx context.Context, op *operation, t *target, child dirtable.Child, replace dirtable.Replace) (replaced bool, err error) {
	if !t.parent.Writable() {
		return false, caps.ErrNotWritable
	}
	op.object(t.parent.Cap())
	path := t.missing
	if t.there() {
		path = []string{t.name}
	}
	return h.c.Store.Link(ctx, t.parent, path, child, nil, replace, op.wayTrace())
}
