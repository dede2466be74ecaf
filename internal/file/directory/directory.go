// Package directory reads, makes and changes directories: tables of names,
// kept in a mutable file (SDMF or MDMF), or in an immutable one (CHK, or LIT
// when it is tiny).
//
// What a table holds and how it is written is dirtable's; keeping files is
// mutable's and immutable's. It follows no links: see filestore. Nothing is
// remembered between operations, so a directory read is a directory fetched.
//
// Start with New, Client.Create and Client.Open; then Directory.List, Set,
// Delete and MoveTo.
package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/kit/redact"
)

// MaxSize is the largest table of an immutable directory that is read, in
// bytes: room for a million children. All of it is held in memory.
const MaxSize = 256 << 20

// Errors to branch on, besides those of dirtable, caps.ErrNotWritable and
// those of the files. None shows a cap or a name.
var (
	// ErrNotReadable: the cap grants checking only.
	ErrNotReadable = errors.New("the cap of the directory does not grant reading it")
	// ErrTooLarge: the table has more than MaxSize bytes.
	ErrTooLarge = errors.New("the directory is too large to be read")
)

// ChildError says which of several children an error is about. The name is
// for those who gave it: Error does not show it.
type ChildError struct {
	Name string
	Err  error
}

// Error is that of Err.
func (e *ChildError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ChildError) Unwrap() error { return e.Err }

// Config is where directories are kept.
type Config struct {
	Mutable   *mutable.Client
	Immutable *immutable.Client
	// Convergence is the secret within whose circle equal immutable
	// directories get equal caps; zero: no two caps alike.
	Convergence redact.Secret
	Now         func() time.Time // of links; nil: time.Now
}

// Client makes and opens directories. It may be used concurrently.
type Client struct{ c Config }

// New returns a Client.
func New(c Config) *Client {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{c}
}

// Now is the time that links are given.
func (c *Client) Now() time.Time { return c.c.Now() }

// Directory is one directory. It may be used concurrently; edits of one
// directory take turns.
type Directory struct {
	c    *Client
	cap  caps.Dir
	file file // nil for an immutable directory
}

// file is what a directory needs of the mutable file it is kept in.
type file interface {
	Read(ctx context.Context, tr *mutable.Trace) ([]byte, ssk.Version, error)
	Modify(ctx context.Context, f func(old []byte) ([]byte, error), tr *mutable.Trace) error
}

var _ file = (*mutable.File)(nil)

// Open prepares to use a directory. It asks nobody yet. ErrNotReadable for a
// verifier.
func (c *Client) Open(dir caps.Dir) (*Directory, error) {
	switch f := dir.File().(type) {
	case caps.SSK, caps.SSKRead:
		file, err := c.c.Mutable.Open(f)
		if err != nil {
			return nil, fmt.Errorf("opening a directory: %w", err)
		}
		return &Directory{c, dir, file}, nil
	case caps.CHK:
		if f.Size > MaxSize {
			return nil, ErrTooLarge
		}
		return &Directory{c, dir, nil}, nil
	case caps.LIT:
		return &Directory{c, dir, nil}, nil
	}
	return nil, ErrNotReadable
}

// Cap is the cap that the directory was opened with.
func (d *Directory) Cap() caps.Dir { return d.cap }

// Writable reports whether children can be set and deleted.
func (d *Directory) Writable() bool { return caps.Writable(d.cap) }

// Mutable reports whether the directory may change.
func (d *Directory) Mutable() bool { return d.file != nil }

// List fetches the directory. The table is the caller's. dirtable.ErrSyntax
// when what is stored is no directory.
func (d *Directory) List(ctx context.Context, tr *mutable.Trace) (*dirtable.Table, error) {
	data, err := d.read(ctx, tr)
	if err != nil {
		return nil, err
	}
	return dirtable.Parse(d.cap, data)
}

func (d *Directory) read(ctx context.Context, tr *mutable.Trace) ([]byte, error) {
	if d.file != nil {
		data, _, err := d.file.Read(ctx, tr)
		return data, err
	}
	switch f := d.cap.File().(type) {
	case caps.LIT:
		return f.Data(), nil
	case caps.CHK:
		file, err := d.c.c.Immutable.Open(f)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer // grows with what has arrived and is proven
		err = file.ReadRange(ctx, &b, 0, f.Size, nil)
		return b.Bytes(), err
	}
	panic("directory: internal error: opened with a cap of kind " + string(d.cap.Kind()))
}

// Get fetches the directory and finds a child. dirtable.ErrNoChild.
func (d *Directory) Get(ctx context.Context, name string, tr *mutable.Trace) (dirtable.Entry, error) {
	t, err := d.List(ctx, tr)
	if err != nil {
		return dirtable.Entry{}, err
	}
	e, ok := t.Entry(name)
	if !ok {
		return dirtable.Entry{}, &ChildError{name, dirtable.ErrNoChild}
	}
	return e, nil
}

// Format prints the tag of the cap, for every verb.
func (d *Directory) Format(w fmt.State, _ rune) { io.WriteString(w, d.cap.String()) }
