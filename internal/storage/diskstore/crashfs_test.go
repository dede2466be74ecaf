package diskstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
)

// crashFS is a file system in memory that knows which of its bytes and names
// are on disk. A file's bytes are there once it was synced; a name is there
// once the directory it is in was synced. It fails or loses power at the
// n-th call.
type crashFS struct {
	*machine
	root  *inode
	label string // goes before names, to tell file systems apart
}

// machine is what the file systems of one store share.
type machine struct {
	calls   int
	failAt  int   // from this call on, count from 1; 0 means never
	failFor int   // so many calls fail
	failure error // with this; errPower is final
	lie     func(what, name string) bool
	open    int // files open
}

var errPower = errors.New("power is gone")

type inode struct {
	dir           bool
	names, synced map[string]*inode // of a directory: as it is, and on disk
	data, onDisk  []byte            // of a file: as it is, and on disk
	pending       []write           // between the two
}

type write struct {
	off  int64
	data []byte
}

func newDir() *inode {
	return &inode{dir: true, names: map[string]*inode{}, synced: map[string]*inode{}}
}

func newCrashFS(m *machine) *crashFS { return &crashFS{machine: m, root: newDir()} }

// step counts a call and says whether it fails.
func (m *machine) step(what, name string) error {
	m.calls++
	if m.failAt > 0 && m.calls >= m.failAt && (m.failure == errPower || m.calls < m.failAt+m.failFor) {
		return fmt.Errorf("%s %s: %w", what, name, m.failure)
	}
	return nil
}

// find returns the inode of name and that of its directory.
func (c *crashFS) find(name string) (dir, node *inode, err error) {
	if name == "." {
		return nil, c.root, nil
	}
	node = c.root
	for part := range strings.SplitSeq(name, "/") {
		if node == nil || !node.dir {
			return nil, nil, fs.ErrNotExist
		}
		dir, node = node, node.names[part]
	}
	return dir, node, nil
}

func (c *crashFS) get(what, name string) (*inode, error) {
	if err := c.step(what, c.label+name); err != nil {
		return nil, err
	}
	_, node, err := c.find(name)
	if node == nil {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return node, nil
}

func (c *crashFS) add(what, name string, node *inode) error {
	if err := c.step(what, c.label+name); err != nil {
		return err
	}
	dir, old, err := c.find(name)
	if err != nil {
		return err
	}
	if old != nil {
		return fs.ErrExist
	}
	dir.names[path.Base(name)] = node
	return nil
}

func (c *crashFS) Create(name string) (file, error) {
	node := &inode{}
	if err := c.add("create", name, node); err != nil {
		return nil, err
	}
	c.open++
	return &crashFile{c, node, c.label + name}, nil
}

func (c *crashFS) Open(name string, _ bool) (file, error) {
	node, err := c.get("open", name)
	if err != nil {
		return nil, err
	}
	c.open++
	return &crashFile{c, node, c.label + name}, nil
}

func (c *crashFS) Mkdir(name string) error { return c.add("mkdir", name, newDir()) }

func (c *crashFS) Rename(from, to string) error {
	if err := c.step("rename", c.label+from); err != nil {
		return err
	}
	fromDir, node, err := c.find(from)
	toDir, _, err2 := c.find(to)
	if err := errors.Join(err, err2); err != nil || node == nil {
		return errors.Join(err, fs.ErrNotExist)
	}
	delete(fromDir.names, path.Base(from))
	toDir.names[path.Base(to)] = node
	return nil
}

func (c *crashFS) Remove(name string) error {
	if err := c.step("remove", c.label+name); err != nil {
		return err
	}
	dir, node, err := c.find(name)
	if node == nil {
		return errors.Join(err, fs.ErrNotExist)
	}
	if len(node.names) > 0 {
		return errors.New("directory not empty")
	}
	delete(dir.names, path.Base(name))
	return nil
}

func (c *crashFS) RemoveAll(name string) error {
	if err := c.step("remove", c.label+name); err != nil {
		return err
	}
	if dir, node, _ := c.find(name); node != nil {
		delete(dir.names, path.Base(name))
	}
	return nil
}

func (c *crashFS) ReadDir(name string) ([]string, error) {
	node, err := c.get("readdir", name)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(node.names)), nil
}

func (c *crashFS) Exists(name string) (bool, error) {
	_, err := c.get("stat", name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (c *crashFS) SyncDir(name string) error {
	node, err := c.get("syncdir", name)
	if err == nil && (c.lie == nil || !c.lie("syncdir", c.label+name)) {
		node.synced = maps.Clone(node.names)
	}
	return err
}

func (c *crashFS) Free() (int64, error) { return 1 << 40, nil }
func (c *crashFS) Close() error         { return nil }

type crashFile struct {
	fs   *crashFS
	node *inode
	name string
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.step("read", f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	w := write{off, slices.Clone(p)}
	if err := f.fs.step("write", f.name); err != nil {
		// A failing write may have done half.
		w.data = w.data[:len(p)/2]
		f.node.pending = append(f.node.pending, w)
		f.node.data = w.apply(f.node.data)
		return len(w.data), err
	}
	f.node.pending = append(f.node.pending, w)
	f.node.data = w.apply(f.node.data)
	return len(p), nil
}

func (w write) apply(data []byte) []byte {
	if grow := int(w.off) + len(w.data) - len(data); grow > 0 {
		data = append(slices.Clip(data), make([]byte, grow)...)
	}
	copy(data[w.off:], w.data)
	return data
}

func (f *crashFile) Size() (int64, error) {
	return int64(len(f.node.data)), f.fs.step("fstat", f.name)
}

func (f *crashFile) Sync() error {
	if err := f.fs.step("sync", f.name); err != nil {
		return err
	}
	if f.fs.lie == nil || !f.fs.lie("sync", f.name) {
		f.node.onDisk, f.node.pending = slices.Clone(f.node.data), nil
	}
	return nil
}

func (f *crashFile) Close() error {
	f.fs.open-- // a failing close closes all the same
	return f.fs.step("close", f.name)
}

// after returns the file system as a power cut leaves it. With rng nil all
// that was not synced is gone; else each name and write that was not is there
// or not as it happens, and a write may be there in part.
func (c *crashFS) after(rng *rand.Rand, m *machine) *crashFS {
	return &crashFS{m, c.root.after(rng), c.label}
}

func (n *inode) after(rng *rand.Rand) *inode {
	if !n.dir {
		data := slices.Clone(n.onDisk)
		for _, w := range n.pending {
			if rng != nil && rng.IntN(3) > 0 {
				if rng.IntN(2) > 0 {
					w.data = w.data[:rng.IntN(len(w.data)+1)]
				}
				data = w.apply(data)
			}
		}
		return &inode{data: data, onDisk: slices.Clone(data)}
	}
	out := newDir()
	all := maps.Clone(n.synced)
	maps.Copy(all, n.names)
	for name := range all {
		node, live := n.synced[name], n.names[name]
		if rng != nil && rng.IntN(2) > 0 {
			node = live
		}
		if node != nil {
			out.names[name] = node.after(rng)
		}
	}
	out.synced = maps.Clone(out.names)
	return out
}

// The model itself: what it must lose and keep.
func TestCrashFS(t *testing.T) {
	c := newCrashFS(&machine{})
	f, _ := c.Create("a")
	f.WriteAt([]byte("one"), 0)
	if got := c.after(nil, &machine{}).root.names; len(got) != 0 {
		t.Errorf("an unsynced name survived: %v", got)
	}
	c.SyncDir(".")
	if got := c.after(nil, &machine{}).root.names["a"]; got == nil || len(got.data) != 0 {
		t.Errorf("after syncing the directory: %v; want an empty file", got)
	}
	f.Sync()
	c.Rename("a", "b")
	if got := c.after(nil, &machine{}).root.names; got["b"] != nil || string(got["a"].data) != "one" {
		t.Errorf("after an unsynced rename: %v; want the old name", got)
	}
}
