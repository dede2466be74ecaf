// Package durable writes files that appear whole or not at all.
//
// A write goes to a temporary file in the same folder, is fsynced, renamed
// over the name, and the folder is fsynced; when the call returns nil the
// file survives a power cut. It does not lock: two writers of one name race,
// and one of the two whole files stays.
//
// Start with WriteFile for a path, or with FS for work under an os.Root.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// tempPrefix starts the name of every temporary file. The rest of such a
// name is random, so that it says nothing of the file it becomes.
const tempPrefix = ".tmp-"

// IsTemp reports whether a file name (without folder) is one this package
// gives to unfinished files. After a crash such files may be removed.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// Step names a point of a write, for Fail.
type Step string

// The steps, in the order in which a write passes them.
const (
	StepCreate  Step = "create"   // make the (temporary) file
	StepWrite   Step = "write"    // write bytes into it
	StepSync    Step = "sync"     // fsync it
	StepRename  Step = "rename"   // give it its name
	StepSyncDir Step = "sync-dir" // fsync a folder
	StepMkdir   Step = "mkdir"    // make a folder
	StepRemove  Step = "remove"   // remove a name
)

// FS does durable changes below a folder. Names are slash-separated and
// relative, as os.Root takes them. It is safe for concurrent use.
type FS struct {
	Root *os.Root
	// Fail, when set, is asked before each step. If it returns an error the
	// operation stops there and then, cleaning nothing up, as if the process
	// had died. For crash tests.
	Fail func(s Step, name string) error
}

// crashed carries an error of Fail, so that clean-up can tell it apart.
type crashed struct{ error }

func (c crashed) Unwrap() error { return c.error }

func (f FS) before(s Step, name string) error {
	if f.Fail == nil {
		return nil
	}
	if err := f.Fail(s, name); err != nil {
		return crashed{err}
	}
	return nil
}

// WriteFile makes or replaces name. The file has permissions perm (less the
// umask) from its creation on. Its folder must exist.
func (f FS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	return f.write(name, data, perm, f.Rename)
}

// WriteNewFile is WriteFile for a name that must not exist yet: it returns an
// error that is fs.ErrExist and leaves the old file alone otherwise.
func (f FS) WriteNewFile(name string, data []byte, perm fs.FileMode) error {
	return f.write(name, data, perm, f.link)
}

// write puts data into a temporary file and gives it its name with finish.
func (f FS) write(name string, data []byte, perm fs.FileMode, finish func(temp, name string) error) error {
	w, err := f.Create(name, perm)
	if err != nil {
		return err
	}
	if _, err = w.Write(data); err == nil {
		err = w.commit(finish)
	}
	if err != nil {
		w.Abort()
	}
	return err
}

// Rename moves the file or folder from to to, replacing a file there, and
// fsyncs both folders. What was in the file must have been fsynced before.
func (f FS) Rename(from, to string) error {
	if err := f.before(StepRename, to); err != nil {
		return err
	}
	if err := f.Root.Rename(from, to); err != nil {
		return err
	}
	if err := f.SyncDir(path.Dir(to)); err != nil {
		return err
	}
	if path.Dir(from) == path.Dir(to) {
		return nil
	}
	return f.SyncDir(path.Dir(from))
}

// link gives from the name to only if there is none, and drops from.
func (f FS) link(from, to string) error {
	if err := f.before(StepRename, to); err != nil {
		return err
	}
	err := f.Root.Link(from, to)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if err != nil { // a file system without hard links: the check and the rename are two steps there
		if _, serr := f.Root.Lstat(to); !errors.Is(serr, fs.ErrNotExist) {
			return errors.Join(serr, &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist})
		}
		return f.Rename(from, to)
	}
	if err := f.Root.Remove(from); err != nil {
		return err
	}
	return f.SyncDir(path.Dir(to))
}

// MkdirAll makes the folder name and those above it that are missing. It
// fsyncs what holds each of them, whether it made it or found it: whoever made
// it may not have got that far. Keep it out of busy paths.
func (f FS) MkdirAll(name string, perm fs.FileMode) error {
	name = path.Clean(name)
	if name == "." {
		return nil
	}
	if err := f.MkdirAll(path.Dir(name), perm); err != nil {
		return err
	}
	if err := f.before(StepMkdir, name); err != nil {
		return err
	}
	if err := f.Root.Mkdir(name, perm); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if st, err := f.Root.Stat(name); err != nil || !st.IsDir() {
			return errors.Join(err, &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("not a folder")})
		}
	}
	return f.SyncDir(path.Dir(name))
}

// Remove removes a file or an empty folder and fsyncs the folder it was in.
func (f FS) Remove(name string) error {
	if err := f.before(StepRemove, name); err != nil {
		return err
	}
	if err := f.Root.Remove(name); err != nil {
		return err
	}
	return f.SyncDir(path.Dir(name))
}

// SyncDir fsyncs the folder name ("." is the root), so that renames, new
// names and removals in it are on disk. Where the system has no such call
// (Windows, whose file systems journal names) it does nothing.
func (f FS) SyncDir(name string) error {
	if err := f.before(StepSyncDir, name); err != nil {
		return err
	}
	d, err := f.Root.Open(name)
	if err != nil {
		return fmt.Errorf("opening folder to sync: %w", err)
	}
	err = syncDir(d)
	return errors.Join(err, d.Close())
}

// WriteFile is FS.WriteFile for a path of the host system.
func WriteFile(file string, data []byte, perm fs.FileMode) error {
	return in(file, func(f FS, name string) error { return f.WriteFile(name, data, perm) })
}

// WriteNewFile is FS.WriteNewFile for a path of the host system.
func WriteNewFile(file string, data []byte, perm fs.FileMode) error {
	return in(file, func(f FS, name string) error { return f.WriteNewFile(name, data, perm) })
}

// in opens the folder of file as a root for do.
func in(file string, do func(f FS, name string) error) error {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer root.Close()
	return do(FS{Root: root}, filepath.Base(file))
}

// tempName is a fresh name in the folder of name.
func tempName(name string) string {
	return path.Join(path.Dir(name), tempPrefix+strings.ToLower(rand.Text()))
}
