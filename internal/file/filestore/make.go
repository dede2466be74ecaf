package filestore

import (
	"context"
	"errors"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// lostRaces is how often somebody else may make what is being made.
const lostRaces = 5

// Mkdirs returns the directory at path below root and makes what is missing of
// it: all at once, then linked, so that nothing half made is ever seen. o is
// for the last directory, if that is new. ErrNotDirectory when something else
// is in the way, caps.ErrNotWritable.
func (s *Store) Mkdirs(ctx context.Context, root *directory.Directory, path []string, o directory.CreateOptions, tr *mutable.Trace) (*directory.Directory, error) {
	for try := 1; ; try++ {
		found, _, err := s.follow(ctx, &Directory{root}, path, false, tr)
		if err == nil {
			dir, ok := found.Node.(*Directory)
			if !ok {
				return nil, &PathError{path, len(path) - 1, whyNot(found.Node)}
			}
			return dir.Directory, nil
		}
		if found.Missing == nil {
			return nil, err
		}
		var dirs []caps.Dir
		err = s.grow(ctx, found, func(ctx context.Context) (_ []caps.Dir, err error) {
			dirs, err = s.c.Directories.CreateChain(ctx, found.Missing[1:], o, nil, tr)
			return dirs, err
		}, tr)
		if errors.Is(err, dirtable.ErrExists) && try < lostRaces {
			continue // somebody else has made it meanwhile: use theirs
		}
		if err != nil {
			return nil, &PathError{path, len(path) - len(found.Missing), err}
		}
		return s.c.Directories.Open(dirs[len(dirs)-1])
	}
}

// grow makes directories while found.Parent is fetched, and then links the
// first there under the first missing name.
func (s *Store) grow(ctx context.Context, found Found, create func(context.Context) ([]caps.Dir, error), tr *mutable.Trace) error {
	if !found.Parent.Writable() {
		return caps.ErrNotWritable
	}
	ctx, cancel := context.WithCancel(ctx)
	var dirs []caps.Dir
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		dirs, failed = create(ctx)
	}()
	err := found.Parent.Place(ctx, found.Missing[0], func() (dirtable.Child, error) {
		<-done
		if failed != nil {
			return dirtable.Child{}, failed
		}
		return directory.ChildOf(dirs[0]), nil
	}, tr)
	cancel()
	<-done
	if err == nil {
		parent := found.Parent.Cap()
		for i, dir := range dirs {
			s.links.remember(parent, found.Missing[i], dir)
			parent = dir
		}
	}
	return err
}

// Link links a child at path below root, and makes the directories on the way
// that are missing: they hold it already when they are linked. It reports
// whether the child took the place of another. Errors as those of
// directory.Set and Mkdirs.
func (s *Store) Link(ctx context.Context, root *directory.Directory, path []string, child dirtable.Child, md *dirtable.Metadata, replace dirtable.Replace, tr *mutable.Trace) (replaced bool, err error) {
	last := len(path) - 1
	if last < 0 || path[last] == "" {
		return false, &PathError{path, last, ErrEmptyName}
	}
	for try := 1; ; try++ {
		found, _, err := s.follow(ctx, &Directory{root}, path[:last], false, tr)
		if err == nil {
			dir, ok := found.Node.(*Directory)
			if !ok {
				return false, &PathError{path, last - 1, whyNot(found.Node)}
			}
			replaced, err := dir.Set(ctx, path[last], child, md, replace, tr)
			if err != nil {
				return false, &PathError{path, last, err}
			}
			return replaced, nil
		}
		if found.Missing == nil {
			return false, err
		}
		err = s.grow(ctx, found, func(ctx context.Context) ([]caps.Dir, error) {
			return s.c.Directories.CreateChain(ctx, found.Missing[1:], directory.CreateOptions{}, func(t *dirtable.Table) error {
				return t.Set(path[last], child, md, dirtable.Never, s.c.Directories.Now())
			}, tr)
		}, tr)
		if errors.Is(err, dirtable.ErrExists) && try < lostRaces {
			continue
		}
		if err != nil {
			return false, &PathError{path, last - len(found.Missing), err}
		}
		return false, nil
	}
}
