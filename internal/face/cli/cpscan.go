package cli

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// maxThings bounds what one cp copies: directories of a grid may be linked so
// that there is no end to them.
const maxThings = 5_000_000

// thing is what is to be copied: a file, or a directory with what it holds.
type thing struct {
	name     string // "" for a cap by itself
	shown    string
	file     string         // its path on this machine; "" for what is on the grid
	node     webclient.Node // on the grid
	dir      bool
	size     int64 // of a file; -1: not known
	children []*thing
}

// mustRead reports whether a copy on the grid takes the bytes, not the cap.
func (t *thing) mustRead() bool { return t.node.Mutable && t.node.Type == webclient.File }

// source reads one of the words before the last.
func (c *copying) source(ctx context.Context, word string, at remote) (*thing, error) {
	if at.Cap == nil {
		return c.localSource(word)
	}
	n, err := c.gw.Look(ctx, at.Place)
	switch {
	case isStatus(err, 404):
		return nil, fail("", "no such file or directory: %s", at.word)
	case err != nil:
		return nil, storeError("nothing was copied: "+at.word, err, exitFailed)
	case n.Type != webclient.Dir && at.slash:
		return nil, fail("", "%s is not a directory, but ends with a slash", at.word)
	}
	t := ofGrid(at.name(), n)
	t.shown = at.word
	return t, nil
}

func ofGrid(name string, n webclient.Node) *thing {
	return &thing{name: name, shown: name, node: n, dir: n.Type == webclient.Dir, size: n.Size}
}

func (c *copying) localSource(word string) (*thing, error) {
	info, err := os.Stat(word)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail("", "no such file or directory: %s", word)
	case err != nil:
		return nil, fail("", "%v", err)
	case info.IsDir():
	case os.IsPathSeparator(word[len(word)-1]):
		return nil, fail("", "%s is not a directory, but ends with a slash", word)
	case !info.Mode().IsRegular():
		return nil, fail("", "%s is neither a file nor a directory, and is not copied", word)
	}
	full, err := filepath.Abs(word)
	if err != nil {
		return nil, fail("", "%v", err)
	}
	name := filepath.Base(full)
	if name == string(filepath.Separator) {
		name = "" // all of /, or of a drive
	}
	if !utf8.ValidString(name) {
		return nil, fail("give it another name", "%q is not UTF-8, as the names on the grid are", word)
	}
	return &thing{name: norm.NFC.String(name), shown: quoteName(word), file: word, dir: info.IsDir(), size: info.Size()}, nil
}

// scan finds everything below the sources.
func (c *copying) scan(ctx context.Context, sources []*thing) error {
	s := &scanner{copying: c, slots: make(chan struct{}, c.f.parallel)}
	s.group, s.ctx = errgroup.WithContext(ctx)
	for _, t := range sources {
		switch {
		case !t.dir:
		case t.file != "":
			info, err := os.Stat(t.file)
			if err != nil {
				return fail("", "%v", err)
			}
			if err := s.folder(t, []os.FileInfo{info}); err != nil {
				return err
			}
		default:
			s.group.Go(func() error { return s.directory(t, nil) })
		}
	}
	return s.group.Wait()
}

// scanner looks at folders one after another, and at directories of the grid
// several at a time.
type scanner struct {
	*copying
	ctx   context.Context // of this scan
	group *errgroup.Group
	slots chan struct{} // one for each request under way

	mu sync.Mutex // guards copying.count
}

func (s *scanner) counted(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count += n; s.count > maxThings {
		return fail("copy it in parts", "there are more than %d files and directories", maxThings)
	}
	return nil
}

// folder finds what a folder of this machine holds. Links are followed, but
// not to a folder that the link is in.
func (s *scanner) folder(t *thing, above []os.FileInfo) error {
	if err := s.ctx.Err(); err != nil {
		return context.Cause(s.ctx)
	}
	entries, err := os.ReadDir(t.file)
	if err != nil {
		s.meter.failed(t.shown, err)
	}
	if err := s.counted(len(entries)); err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(t.file, e.Name())
		shown := quoteName(path)
		info, err := os.Stat(path)
		switch {
		case !utf8.ValidString(e.Name()):
			s.meter.failed(shown, errors.New("its name is not UTF-8, as the names on the grid are"))
			continue
		case err != nil && e.Type()&fs.ModeSymlink != 0:
			s.meter.skipped(shown, "a link that leads nowhere")
			continue
		case err != nil:
			s.meter.failed(shown, err)
			continue
		}
		child := &thing{name: norm.NFC.String(e.Name()), shown: shown, file: path, dir: info.IsDir(), size: info.Size()}
		switch {
		case info.IsDir() && slices.ContainsFunc(above, func(up os.FileInfo) bool { return os.SameFile(up, info) }):
			s.meter.skipped(shown, "a link to a folder that it is in")
			continue
		case info.IsDir():
			if err := s.folder(child, append(above, info)); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			s.meter.skipped(shown, "neither a file nor a folder")
			continue
		}
		t.children = append(t.children, child)
	}
	return nil
}

// directory finds what a directory of the grid holds, whose listing it asks
// for unless that is there.
func (s *scanner) directory(t *thing, above []caps.Cap) error {
	if t.node.Children == nil {
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
		n, err := s.gw.Look(s.ctx, webclient.At(t.node.Cap()))
		<-s.slots
		if err != nil {
			return storeError(t.shown+" was not read, and nothing was copied", err, exitFailed)
		}
		t.node.Children = n.Children
	}
	if err := s.counted(len(t.node.Children)); err != nil {
		return err
	}
	above = append(above[:len(above):len(above)], t.node.Read)
	for _, name := range slices.Sorted(maps.Keys(t.node.Children)) {
		child := ofGrid(name, t.node.Children[name])
		child.shown = t.shown + "/" + quoteName(name)
		if child.dir && slices.Contains(above, child.node.Read) {
			s.meter.skipped(child.shown, "a directory that holds itself")
			continue
		}
		t.children = append(t.children, child)
		if child.dir {
			s.group.Go(func() error { return s.directory(child, above) })
		}
	}
	t.node.Children = nil // it is in children now
	return nil
}
