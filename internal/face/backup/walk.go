package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/format/caps"
)

// Stat is what the system says of a file or folder.
type Stat struct {
	Size         int64 // bytes
	Mtime, Ctime time.Time
	Mode         uint32 // st_mode, with the bits of the type
	Ino, Dev     uint64
	UID, GID     uint32
}

// Item is a file or folder of the tree.
type Item struct {
	Path   string // absolute
	Name   string // in its folder, as the system has it
	Stat   Stat
	Folder bool
	Items  []*Item // of a folder, sorted by name

	cap     caps.Cap // once it is on the grid
	skipped bool     // left out after all
}

// Skipped is what is not in the backup although nobody asked to leave it out.
type Skipped struct {
	Path   string
	Folder bool
	Why    string // "permission denied on file", to be followed by the path
	Detail string // what the system says, if it says more
}

// String is the warning.
func (s Skipped) String() string {
	text := s.Why + " " + Quote(s.Path)
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}

// Quote shows a path so that nothing in it can steer a terminal.
func Quote(path string) string {
	if utf8.ValidString(path) && !strings.ContainsFunc(path, func(r rune) bool { return r == '\'' || !unicode.IsPrint(r) }) {
		return "'" + path + "'"
	}
	return fmt.Sprintf("%q", path)
}

// Tree is a folder as it was found.
type Tree struct {
	Root    *Item
	Files   int
	Folders int   // the root among them
	Bytes   int64 // of all files
	Skipped []Skipped
}

// Walk looks at the folder root, which must be absolute, and all below it but
// what ex excludes. Symbolic links are not followed, except if root is one.
// It opens no file. The error is that root itself cannot be read.
func Walk(root string, ex *Exclude) (*Tree, error) {
	item, err := lookAtRoot(root)
	if err != nil {
		return nil, err
	}
	t := &Tree{Root: item}
	if err := t.walk(t.Root, ex); err != nil {
		return nil, fmt.Errorf("the folder %s cannot be read: %w", Quote(root), cause(err))
	}
	return t, nil
}

// lookAtRoot says what is wrong with a folder that is to be walked.
func lookAtRoot(root string) (*Item, error) {
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no folder %s", Quote(root))
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder: a backup is made of a folder", Quote(root))
	}
	i := &Item{Path: root, Folder: true}
	if err == nil {
		i.Stat, err = stat(root, info)
	}
	if err != nil {
		return nil, fmt.Errorf("the folder %s cannot be read: %w", Quote(root), cause(err))
	}
	return i, nil
}

// cause drops the path from an error of package os.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// walk fills in folder.
func (t *Tree) walk(folder *Item, ex *Exclude) error {
	entries, err := os.ReadDir(folder.Path) // sorted
	if err != nil {
		return err
	}
	t.Folders++
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if ex.Match(e.Name()) {
			continue
		}
		item := &Item{Path: filepath.Join(folder.Path, e.Name()), Name: e.Name(), Folder: e.IsDir()}
		if why, detail := item.look(e); why != "" {
			t.skip(item, why, detail)
			continue
		}
		name := norm.NFC.String(item.Name)
		switch {
		case !utf8.ValidString(item.Name):
			t.skip(item, "cannot backup "+item.kind(), "its name is not UTF-8")
			continue
		case seen[name]:
			t.skip(item, "cannot backup "+item.kind(), "another one in its folder has the same name, written with other characters")
			continue
		}
		seen[name] = true
		if item.Folder {
			if err := t.walk(item, ex); err != nil {
				t.skip(item, refusal(item, err), detailOf(err))
				continue
			}
		} else {
			t.Files++
			t.Bytes += item.Stat.Size
		}
		folder.Items = append(folder.Items, item)
	}
	return nil
}

// look takes the item's Stat, or says why it cannot be in a backup.
func (i *Item) look(e fs.DirEntry) (why, detail string) {
	switch typ := e.Type(); {
	case typ&fs.ModeSymlink != 0:
		return "cannot backup symlink", ""
	case !typ.IsDir() && !typ.IsRegular():
		return "cannot backup special", ""
	}
	info, err := e.Info()
	if err == nil {
		i.Stat, err = stat(i.Path, info)
	}
	if err != nil {
		return refusal(i, err), detailOf(err)
	}
	return "", ""
}

func (i *Item) kind() string {
	if i.Folder {
		return "directory"
	}
	return "file"
}

// refusal says what the system did not let us do with i.
func refusal(i *Item, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "permission denied on " + i.kind()
	}
	return "cannot read " + i.kind()
}

// detailOf is what the system says beyond what refusal says already.
func detailOf(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "it has gone since"
	}
	return cause(err).Error()
}

func (t *Tree) skip(i *Item, why, detail string) {
	t.Skipped = append(t.Skipped, Skipped{Path: i.Path, Folder: i.Folder, Why: why, Detail: detail})
}
