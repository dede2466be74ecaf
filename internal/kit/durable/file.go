package durable

import (
	"errors"
	"io/fs"
	"os"
)

// File is a file being written under a temporary name. End it with Commit or
// Abort; Abort after Commit does nothing. One goroutine at a time may use it.
type File struct {
	f    *os.File
	fs   FS
	temp string
	name string
	done bool
	dead bool // Fail stopped it: leave everything as it is
}

// Create starts a file that will be called name. It has permissions perm
// (less the umask) from the start. Its folder must exist.
func (f FS) Create(name string, perm fs.FileMode) (*File, error) {
	if err := f.before(StepCreate, name); err != nil {
		return nil, err
	}
	temp := tempName(name)
	h, err := f.Root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &File{f: h, fs: f, temp: temp, name: name}, nil
}

// Write appends p.
func (w *File) Write(p []byte) (int, error) {
	if err := w.step(StepWrite); err != nil {
		return 0, err
	}
	return w.f.Write(p)
}

// Chmod gives the file other permissions, whatever the umask.
func (w *File) Chmod(perm fs.FileMode) error { return w.f.Chmod(perm) }

// WriteAt writes p at offset off, in bytes.
func (w *File) WriteAt(p []byte, off int64) (int, error) {
	if err := w.step(StepWrite); err != nil {
		return 0, err
	}
	return w.f.WriteAt(p, off)
}

// Commit puts the file on disk under its name, replacing what was there. On
// an error the name may or may not show the new file, but never a part.
func (w *File) Commit() error { return w.commit(w.fs.Rename) }

func (w *File) commit(finish func(temp, name string) error) error {
	if err := w.step(StepSync); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	// Closed before the rename, because Windows moves no open file.
	if err := w.f.Close(); err != nil {
		return err
	}
	if err := finish(w.temp, w.name); err != nil {
		w.note(err)
		return err
	}
	w.done = true
	return nil
}

// Abort drops the file. The name keeps what it had.
func (w *File) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.f.Close()
	if !w.dead {
		w.fs.Root.Remove(w.temp)
	}
}

func (w *File) step(s Step) error {
	err := w.fs.before(s, w.name)
	w.note(err)
	return err
}

func (w *File) note(err error) {
	var c crashed
	if errors.As(err, &c) {
		w.dead = true
	}
}
