package directory

import (
	"context"
	"time"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// Edit changes the directory by f, which gets its newest table and may be
// called again with a newer one when somebody else has written meanwhile: it
// must do the same to each. A table left as it was is not stored. An error of
// f ends the edit and nothing is changed.
func (d *Directory) Edit(ctx context.Context, f func(*dirtable.Table) error, tr *mutable.Trace) error {
	return d.edit(ctx, func(t *dirtable.Table, _ bool) error { return f(t) }, tr)
}

// edit is Edit for an f that is told whether it was called before. If it was,
// the table may hold what f did then: a write that collided is not always one
// that was lost.
func (d *Directory) edit(ctx context.Context, f func(t *dirtable.Table, again bool) error, tr *mutable.Trace) error {
	if d.file == nil || !d.Writable() {
		return caps.ErrNotWritable
	}
	again := false
	return d.file.Modify(ctx, func(old []byte) ([]byte, error) {
		t, err := dirtable.Parse(d.cap, old)
		if err != nil {
			return nil, err
		}
		if err := f(t, again); err != nil {
			return nil, err
		}
		again = true
		if !t.Changed() {
			return old, nil
		}
		return t.Bytes(), nil
	}, tr)
}

// Setting is a child to be linked: see dirtable.Table.Set.
type Setting struct {
	Name     string
	Child    dirtable.Child
	Metadata *dirtable.Metadata // nil: keep those of the link, if there is one
}

// Set links a child under name and reports whether it took the place of
// another. dirtable.ErrExists as replace demands, dirtable.ErrName,
// ErrNotStorable, caps.ErrNotWritable.
func (d *Directory) Set(ctx context.Context, name string, child dirtable.Child, md *dirtable.Metadata, replace dirtable.Replace, tr *mutable.Trace) (replaced bool, err error) {
	now := d.c.c.Now()
	err = d.edit(ctx, func(t *dirtable.Table, again bool) error {
		e, had := t.Entry(name)
		if again && had && linked(e, child, now) {
			return nil
		}
		replaced = had
		return named(name, t.Set(name, child, md, replace, now))
	}, tr)
	return replaced, err
}

// Place links a child under a name that must be free (dirtable.ErrExists). make
// gives the child once that is known, and each time it is asked: the directory
// is fetched while the child is being made.
func (d *Directory) Place(ctx context.Context, name string, make func() (dirtable.Child, error), tr *mutable.Trace) error {
	now := d.c.c.Now()
	return d.edit(ctx, func(t *dirtable.Table, again bool) error {
		e, had := t.Entry(name)
		if had && !again {
			return named(name, dirtable.ErrExists)
		}
		child, err := make()
		if err != nil {
			return err
		}
		if had && linked(e, child, now) {
			return nil
		}
		return named(name, t.Set(name, child, nil, dirtable.Never, now))
	}, tr)
}

// SetMany links many children at once: all of them or, with an error that
// names the first that could not be, none.
func (d *Directory) SetMany(ctx context.Context, children []Setting, replace dirtable.Replace, tr *mutable.Trace) error {
	now := d.c.c.Now()
	return d.edit(ctx, func(t *dirtable.Table, again bool) error {
		for _, c := range children {
			if e, had := t.Entry(c.Name); again && had && linked(e, c.Child, now) {
				continue
			}
			if err := t.Set(c.Name, c.Child, c.Metadata, replace, now); err != nil {
				return named(c.Name, err)
			}
		}
		return nil
	}, tr)
}

// linked reports whether e is a link to child that was made at now, as by an
// earlier try of the same edit.
func linked(e dirtable.Entry, child dirtable.Child, now time.Time) bool {
	have, err := e.Child()
	if err != nil || have.Read != child.Read || have.Write != nil && have.Write != child.Write {
		return false
	}
	m, err := e.Metadata()
	if err != nil {
		return false
	}
	changed, ok := m.Changed()
	return ok && changed.UnixMicro() == now.UnixMicro()
}

// named adds the name of the child to an error about it.
func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return &ChildError{name, err}
}

// SetMetadata changes the metadata of a link, all but its times.
// dirtable.ErrNoChild.
func (d *Directory) SetMetadata(ctx context.Context, name string, md dirtable.Metadata, tr *mutable.Trace) error {
	now := d.c.c.Now()
	return d.Edit(ctx, func(t *dirtable.Table) error { return named(name, t.SetMetadata(name, md, now)) }, tr)
}

// Delete removes a link and returns the child, as far as it can be understood.
// dirtable.ErrNoChild, dirtable.ErrWrongType.
func (d *Directory) Delete(ctx context.Context, name string, want dirtable.Type, tr *mutable.Trace) (old dirtable.Child, err error) {
	err = d.edit(ctx, func(t *dirtable.Table, again bool) error {
		e, had := t.Entry(name)
		if again && !had {
			return nil
		}
		if had {
			old, _ = e.Child() // nonsense can be deleted too
		}
		return named(name, t.Delete(name, want))
	}, tr)
	return old, err
}

// Rename gives a child another name: see dirtable.Table.Rename.
func (d *Directory) Rename(ctx context.Context, from, to string, replace dirtable.Replace, tr *mutable.Trace) error {
	now := d.c.c.Now()
	var moved dirtable.Child
	return d.edit(ctx, func(t *dirtable.Table, again bool) error {
		e, had := t.Entry(from)
		if there, ok := t.Entry(to); again && !had && ok && linked(there, moved, now) {
			return nil
		}
		if had {
			moved, _ = e.Child()
		}
		return named(from, t.Rename(from, to, replace, now))
	}, tr)
}

// MoveTo links the child from in another directory, under the name to, and
// then removes it here, so that it is always in one of the two: in both, if the
// second step fails. A child that somebody puts in its place meanwhile stays.
// Errors as those of Set and Delete.
func (d *Directory) MoveTo(ctx context.Context, from string, dest *Directory, to string, replace dirtable.Replace, tr *mutable.Trace) error {
	if !d.Writable() || !dest.Writable() {
		return caps.ErrNotWritable
	}
	if index(d.cap) == index(dest.cap) {
		return d.Rename(ctx, from, to, replace, tr)
	}
	e, err := d.Get(ctx, from, tr)
	if err != nil {
		return err
	}
	child, err := e.Child()
	if err != nil {
		return named(from, err)
	}
	md, err := e.Metadata()
	if err != nil {
		md = dirtable.Metadata{}
	}
	if _, err := dest.Set(ctx, to, child, &md, replace, tr); err != nil {
		return err
	}
	return d.Edit(ctx, func(t *dirtable.Table) error {
		e, had := t.Entry(from)
		if !had {
			return nil // somebody else has moved or deleted it
		}
		if now, err := e.Child(); err != nil || now != child {
			return nil
		}
		return named(from, t.Delete(from, dirtable.Any))
	}, tr)
}

func index(c caps.Cap) ids.Index {
	si, _ := caps.Index(c)
	return si
}
