// Package filestore follows caps and links: what a cap stands for, what a path
// leads to, and all that can be reached from a directory.
//
// A cap becomes a Node: *File, *Mutable, *Directory, *Verifier or *Unknown.
// Lookup takes one round trip a level, or one in all where it has been before.
// Walk visits a tree of any depth, with cycles, each object once. What is in a
// directory and how it is changed is directory's.
//
// What the operator's blacklist names is not opened: it is *Prohibited.
//
// Start with New, Store.Open, Store.Lookup and Store.Walk.
package filestore

import (
	"context"
	"fmt"
	"io"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// Config is what files and directories are kept by.
type Config struct {
	Immutable   *immutable.Client
	Mutable     *mutable.Client
	Directories *directory.Client
	// Blacklist names what is refused. nil: nothing is.
	Blacklist *blacklist.List
}

// Store opens and follows caps. It may be used concurrently.
type Store struct {
	c     Config
	links links
}

// New returns a Store.
func New(c Config) *Store { return &Store{c: c} }

// Node is what a cap stands for: *File, *Mutable, *Directory, *Verifier,
// *Unknown or *Prohibited.
type Node interface {
	// Cap is the most powerful cap there is for the node; nil for an Unknown
	// of which nothing is known.
	Cap() caps.Cap
}

// Open returns what c stands for. It asks nobody yet.
func (s *Store) Open(c caps.Cap) (Node, error) {
	if err := s.c.Blacklist.Check(c); err != nil {
		return &Prohibited{c, err}, nil
	}
	switch c := c.(type) {
	case caps.CHK:
		f, err := s.c.Immutable.Open(c)
		if err != nil {
			return nil, err
		}
		return &File{cap: c, size: c.Size, file: f}, nil
	case caps.LIT:
		return &File{cap: c, size: c.Size()}, nil
	case caps.SSK, caps.SSKRead:
		f, err := s.c.Mutable.Open(c)
		if err != nil {
			return nil, err
		}
		return &Mutable{f}, nil
	case caps.Dir:
		if !readable(c) {
			return &Verifier{c}, nil
		}
		d, err := s.c.Directories.Open(c)
		if err != nil {
			return nil, err
		}
		return &Directory{d}, nil
	case caps.CHKVerifier, caps.SSKVerifier:
		return &Verifier{c}, nil
	case caps.Unknown:
		if c.ReadOnly() {
			return &Unknown{dirtable.Child{Read: c}}, nil
		}
		return &Unknown{dirtable.Child{Write: c}}, nil
	}
	return nil, fmt.Errorf("opening a cap: %w", caps.ErrUnknownKind)
}

// OpenChild returns what a link of a directory leads to.
func (s *Store) OpenChild(c dirtable.Child) (Node, error) {
	if c.Cap() == nil {
		return &Unknown{}, nil
	}
	if _, unknown := c.Cap().(caps.Unknown); unknown {
		return &Unknown{c}, nil
	}
	return s.Open(c.Cap())
}

// readable reports whether a directory's cap grants more than checking.
func readable(c caps.Dir) bool {
	switch c.File().(type) {
	case caps.SSK, caps.SSKRead, caps.CHK, caps.LIT:
		return true
	}
	return false
}

// File is an immutable file.
type File struct {
	cap  caps.Cap
	size int64
	file *immutable.File // nil: the cap is the file
}

// Cap is a CHK or a LIT.
func (f *File) Cap() caps.Cap { return f.cap }

// Size is the file's length in bytes.
func (f *File) Size() int64 { return f.size }

// ReadRange writes n bytes from offset off to w: see immutable.File.
func (f *File) ReadRange(ctx context.Context, w io.Writer, off, n int64, tr *immutable.Trace) error {
	if f.file != nil {
		return f.file.ReadRange(ctx, w, off, n, tr)
	}
	if off < 0 || n < 0 || off > f.size || n > f.size-off {
		return fmt.Errorf("range of %d bytes at %d in a file of %d", n, off, f.size)
	}
	_, err := w.Write(f.cap.(caps.LIT).Data()[off : off+n])
	return err
}

// Mutable is a file that can change.
type Mutable struct{ *mutable.File }

// Directory is a directory, whatever it is kept in.
type Directory struct{ *directory.Directory }

// Cap is the cap it was opened with, a caps.Dir.
func (d *Directory) Cap() caps.Cap { return d.Directory.Cap() }

// Verifier is something that can only be checked.
type Verifier struct{ cap caps.Cap }

// Cap is a CHKVerifier, an SSKVerifier or a Dir of either.
func (v *Verifier) Cap() caps.Cap { return v.cap }

// Prohibited is something that must not be used. It may be listed, linked and
// unlinked.
type Prohibited struct {
	cap caps.Cap
	// Err says why: a *blacklist.ProhibitedError, or that the list cannot be
	// read.
	Err error
}

// Cap is the one that it was opened with.
func (p *Prohibited) Cap() caps.Cap { return p.cap }

// Unknown is something of a kind that this program cannot use.
type Unknown struct{ Child dirtable.Child }

// Cap is the one that may grant writing, if there is one.
func (u *Unknown) Cap() caps.Cap { return u.Child.Cap() }
