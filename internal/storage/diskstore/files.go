package diskstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"tahoe-go/internal/storage"
)

// filesystem is what the store asks of the directory it lives in. Names are
// slash-separated and relative to it. Tests put a disk behind it that loses
// what was not synced.
type filesystem interface {
	Create(name string) (file, error) // must not exist; for reading and writing
	Open(name string, write bool) (file, error)
	Mkdir(name string) error // fs.ErrExist when there
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	ReadDir(name string) ([]string, error)
	Exists(name string) (bool, error)
	SyncDir(name string) error
	Free() (int64, error) // bytes free for this user; errors.ErrUnsupported
	Close() error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Sync() error
}

// dir is a filesystem over a real directory. Every name is resolved beneath
// it by os.Root.
type dir struct {
	path string // for asking for free space only
	root *os.Root
}

func openDir(path string) (filesystem, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &dir{path, root}, nil
}

func (d *dir) Create(name string) (file, error) {
	return wrap(d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600))
}

func (d *dir) Open(name string, write bool) (file, error) {
	if write {
		return wrap(d.root.OpenFile(name, os.O_RDWR, 0))
	}
	return wrap(d.root.Open(name))
}

func (d *dir) Mkdir(name string) error      { return d.root.Mkdir(name, 0o700) }
func (d *dir) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d *dir) Remove(name string) error     { return d.root.Remove(name) }
func (d *dir) RemoveAll(name string) error  { return d.root.RemoveAll(name) }
func (d *dir) Close() error                 { return d.root.Close() }
func (d *dir) Free() (int64, error)         { return freeSpace(d.path) }

func (d *dir) ReadDir(name string) ([]string, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d *dir) Exists(name string) (bool, error) {
	_, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *dir) SyncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // some network file systems have no such call
	}
	return errors.Join(err, f.Close())
}

// syncPath syncs a directory by its path.
func syncPath(path string) error {
	d, err := openDir(path)
	if err != nil {
		return err
	}
	return errors.Join(d.SyncDir("."), d.Close())
}

type osFile struct{ *os.File }

func wrap(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%w: not a regular file", errNotContainer)
	}
	return info.Size(), nil
}

// noSpace gives a full disk its word.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || diskFull(err) {
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return err
}

// key names a share.
type key struct {
	si  storage.Index
	num storage.ShareNum
}

const incomingDir = "incoming"

// prefixDir and indexDir are the two directories a share is in.
func prefixDir(si storage.Index) string { return si.String()[:2] }
func indexDir(si storage.Index) string  { s := si.String(); return s[:2] + "/" + s }

func (k key) path() string { return indexDir(k.si) + "/" + strconv.Itoa(int(k.num)) }
func (k key) incomingPath() string {
	return incomingDir + "/" + k.si.String() + "." + strconv.Itoa(int(k.num))
}

// parseNum reads a share's file name. Names a share cannot have are ignored.
func parseNum(name string) (storage.ShareNum, bool) {
	n, err := strconv.ParseUint(name, 10, 8)
	if err != nil || strconv.FormatUint(n, 10) != name {
		return 0, false
	}
	return storage.ShareNum(n), true
}
