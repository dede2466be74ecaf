package directory

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/format/ssk"
)

// NewChild is a child that a directory is made with. Its metadata are taken as
// they are, times and all.
type NewChild struct {
	Name     string
	Child    dirtable.Child
	Metadata dirtable.Metadata
}

// CreateOptions is what a new directory may be told.
type CreateOptions struct {
	MDMF bool            // the layout for large files, otherwise SDMF
	Key  *ssk.PrivateKey // nil: a new one
}

// Create makes a directory that can be changed.
func (c *Client) Create(ctx context.Context, o CreateOptions, children []NewChild, tr *mutable.Trace) (caps.Dir, error) {
	return c.create(ctx, o, func(t *dirtable.Table) error { return put(t, children) }, func(caps.Dir) {}, tr)
}

// create makes a directory that holds what fill puts into its table. named
// learns the cap first: as soon as there is a key, and before fill is called.
func (c *Client) create(ctx context.Context, o CreateOptions, fill func(*dirtable.Table) error, named func(caps.Dir), tr *mutable.Trace) (caps.Dir, error) {
	file, err := c.c.Mutable.Create(ctx, mutable.CreateOptions{MDMF: o.MDMF, Key: o.Key}, func(file caps.SSK) ([]byte, error) {
		dir := dirOf(file)
		named(dir)
		t, err := dirtable.New(dir)
		if err != nil {
			return nil, err
		}
		if err := fill(t); err != nil {
			return nil, err
		}
		return t.Bytes(), nil
	}, tr)
	if err != nil {
		return caps.Dir{}, err
	}
	return dirOf(file), nil
}

// put adds the children that a directory begins with.
func put(t *dirtable.Table, children []NewChild) error {
	for _, c := range children {
		if err := t.Put(c.Name, c.Child, c.Metadata); err != nil {
			return &ChildError{c.Name, err}
		}
	}
	return nil
}

func dirOf(file caps.Cap) caps.Dir {
	dir, err := caps.NewDir(file)
	if err != nil {
		panic("directory: internal error: " + err.Error()) // a file's cap makes one
	}
	return dir
}

// CreateImmutable makes a directory that can never change: of a few dozen
// bytes in its cap alone, otherwise as an immutable file. Its children must be
// immutable too (dirtable.ErrNotImmutable).
func (c *Client) CreateImmutable(ctx context.Context, children []NewChild, tr *immutable.Trace) (caps.Dir, error) {
	t := dirtable.NewImmutable()
	if err := put(t, children); err != nil {
		return caps.Dir{}, err
	}
	data := t.Bytes()
	res, err := c.c.Immutable.Upload(ctx, immutable.Source{
		ReadSeeker: bytes.NewReader(data), Size: int64(len(data)), Convergence: c.c.Convergence,
	}, tr)
	if err != nil {
		return caps.Dir{}, fmt.Errorf("storing an immutable directory: %w", err)
	}
	return dirOf(res.Cap), nil
}

// CreateChain makes directories of which each is the only child of the one
// before: len(names)+1 of them, the links called names. fill puts into the
// innermost, for which o is meant, what it is to hold; nil leaves it empty.
// Caps are known as soon as there are keys, so all are stored at the same time.
// It returns the caps, the outermost first.
func (c *Client) CreateChain(ctx context.Context, names []string, o CreateOptions, fill func(*dirtable.Table) error, tr *mutable.Trace) ([]caps.Dir, error) {
	if fill == nil {
		fill = func(*dirtable.Table) error { return nil }
	}
	dirs := make([]caps.Dir, len(names)+1)
	g, ctx := errgroup.WithContext(ctx)
	var below chan caps.Dir // gives the cap of the directory within
	for i := len(names); i >= 0; i-- {
		own, within := make(chan caps.Dir, 1), below
		below = own
		g.Go(func() (err error) {
			o, fill := o, fill
			if i < len(names) {
				o = CreateOptions{}
				fill = func(t *dirtable.Table) error { return c.linkWithin(ctx, t, names[i], within) }
			}
			dirs[i], err = c.create(ctx, o, fill, func(dir caps.Dir) { own <- dir }, tr)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return dirs, nil
}

// linkWithin links the directory whose cap comes from within.
func (c *Client) linkWithin(ctx context.Context, t *dirtable.Table, name string, within <-chan caps.Dir) error {
	select {
	case dir := <-within:
		if err := t.Set(name, ChildOf(dir), nil, dirtable.Never, c.c.Now()); err != nil {
			return &ChildError{name, err}
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ChildOf is a child that grants all that a cap of a known kind does.
func ChildOf(c caps.Cap) dirtable.Child {
	read, _ := caps.Read(c)
	if caps.Writable(c) {
		return dirtable.Child{Write: c, Read: read}
	}
	return dirtable.Child{Read: read}
}
