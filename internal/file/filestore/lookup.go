package filestore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// Errors to branch on, besides those of directory and dirtable.
var (
	// ErrNotDirectory: something that is no directory is in the way.
	ErrNotDirectory = errors.New("it is not a directory")
	// ErrEmptyName: a path with nothing between two slashes.
	ErrEmptyName = errors.New("the path has an empty name in it")
)

// PathError says where on a path something went wrong. Names are for those
// who gave them: Error does not show them.
type PathError struct {
	Path []string
	// At is the index in Path of the name that is missing or wrong; -1 for
	// the root.
	At  int
	Err error
}

// Error tells the place by its number.
func (e *PathError) Error() string {
	if e.At < 0 {
		return fmt.Sprintf("at the root of the path: %v", e.Err)
	}
	return fmt.Sprintf("at name %d of %d in the path: %v", e.At+1, len(e.Path), e.Err)
}

// Unwrap returns Err.
func (e *PathError) Unwrap() error { return e.Err }

// Found is what a path leads to, or how far it goes.
type Found struct {
	// Node is at the end of the path; nil if that is missing.
	Node Node
	// Parent is the last directory on the path, the root of which has none:
	// then Parent is nil, Name empty and Entry without meaning.
	Parent *directory.Directory
	// Name is the child's in Parent, in NFC: of Node or of the first that is
	// missing.
	Name string
	// Entry is the link to Node. It is without meaning if that is missing.
	Entry dirtable.Entry
	// Missing are the names from the first that does not exist.
	Missing []string
}

// Lookup follows path from root: one round trip a level, or one for all levels
// that were followed before and have not changed. A name that is not there is
// a *PathError with dirtable.ErrNoChild, and Found is filled so far as to
// create it. ErrNotDirectory when something else is in the way, and a
// *blacklist.ProhibitedError when that is a directory that must not be used.
func (s *Store) Lookup(ctx context.Context, root caps.Cap, path []string, tr *mutable.Trace) (Found, error) {
	node, err := s.Open(root)
	if err != nil {
		return Found{}, &PathError{path, -1, err}
	}
	found, _, err := s.follow(ctx, node, path, false, tr)
	return found, err
}

// List is Lookup, and fetches what is found if it is a directory; otherwise
// the table is nil.
func (s *Store) List(ctx context.Context, root caps.Cap, path []string, tr *mutable.Trace) (Found, *dirtable.Table, error) {
	node, err := s.Open(root)
	if err != nil {
		return Found{}, nil, &PathError{path, -1, err}
	}
	return s.follow(ctx, node, path, true, tr)
}

func (s *Store) follow(ctx context.Context, node Node, path []string, list bool, tr *mutable.Trace) (Found, *dirtable.Table, error) {
	if i := slices.Index(path, ""); i >= 0 {
		return Found{}, nil, &PathError{path, i, ErrEmptyName}
	}
	expected := s.expect(ctx, node, path, list, tr)
	defer expected.stop()
	found := Found{Node: node}
	for i, name := range path {
		dir, ok := found.Node.(*Directory)
		if !ok {
			return Found{}, nil, &PathError{path, i - 1, whyNot(found.Node)}
		}
		found = Found{Parent: dir.Directory, Name: norm.NFC.String(name)}
		table, err := expected.fetch(ctx, i, dir)
		if err != nil {
			return Found{}, nil, &PathError{path, i - 1, err}
		}
		entry, ok := table.Entry(name)
		if !ok {
			found.Missing = path[i:]
			return found, nil, &PathError{path, i, dirtable.ErrNoChild}
		}
		found.Entry = entry
		child, err := entry.Child()
		if err != nil {
			return Found{}, nil, &PathError{path, i, err}
		}
		if found.Node, err = s.OpenChild(child); err != nil {
			return Found{}, nil, &PathError{path, i, err}
		}
		s.links.remember(dir.Directory.Cap(), found.Name, found.Node.Cap())
	}
	dir, ok := found.Node.(*Directory)
	if p, prohibited := found.Node.(*Prohibited); prohibited && list {
		return Found{}, nil, &PathError{path, len(path) - 1, p.Err}
	}
	if !list || !ok {
		return found, nil, nil
	}
	table, err := expected.fetch(ctx, len(path), dir)
	if err != nil {
		return Found{}, nil, &PathError{path, len(path) - 1, err}
	}
	return found, table, nil
}

// whyNot says why a path cannot go on at something that is no Directory.
func whyNot(n Node) error {
	if p, ok := n.(*Prohibited); ok && caps.IsDir(p.cap) {
		return p.Err
	}
	return ErrNotDirectory
}
