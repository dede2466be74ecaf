package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"tahoe-go/internal/format/caps"
)

// fakeGateway keeps what it is given in a map, and counts.
type fakeGateway struct {
	mu      sync.Mutex
	content map[caps.Cap]string // files, and directories as lines of name, cap
	meta    map[caps.Cap]map[string]Child
	puts    int
	mkdirs  int
	checks  int
	active  int
	most    int // puts at once

	fail    func(n int) error                    // before put n
	reading func(n int, r io.Reader)             // while put n begins
	healthy func(c caps.Cap) (bool, error)       // nil: all are
	links   map[string]caps.Cap                  // in the target
	refused func(what string, name string) error // of the target
}

func newGateway() *fakeGateway {
	return &fakeGateway{content: map[caps.Cap]string{}, meta: map[caps.Cap]map[string]Child{}, links: map[string]caps.Cap{}}
}

// fakeCap is what content is stored as.
func fakeCap(content string) caps.Cap {
	if len(content) <= caps.MaxLIT {
		return caps.NewLIT([]byte(content))
	}
	h := sha256.Sum256([]byte(content))
	return caps.CHK{Key: caps.NewKey([16]byte(h[:])), UEBHash: h, K: 3, N: 10, Size: int64(len(content))}
}

func (g *fakeGateway) Put(ctx context.Context, r io.Reader, size int64) (caps.Cap, error) {
	g.mu.Lock()
	n := g.puts
	g.puts++
	g.active++
	g.most = max(g.most, g.active)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.active--
	}()
	if g.fail != nil {
		if err := g.fail(n); err != nil {
			return nil, err
		}
	}
	if g.reading != nil {
		g.reading(n, r)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	if int64(len(b)) != size {
		return nil, errors.New("fake: not the size that was said")
	}
	cap := fakeCap(string(b))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.content[cap] = string(b)
	return cap, ctx.Err()
}

func (g *fakeGateway) MkdirImmutable(ctx context.Context, children map[string]Child) (caps.Cap, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(children)) {
		if !Immutable(children[name].Cap) {
			return nil, errors.New("fake: a child that can change")
		}
		if _, err := json.Marshal(children[name].Metadata); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s %s\n", name, children[name].Cap.Reveal())
	}
	dir, err := caps.NewDir(fakeCap(b.String()))
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mkdirs++
	g.content[dir], g.meta[dir] = b.String(), children
	return dir, ctx.Err()
}

func (g *fakeGateway) Check(ctx context.Context, c caps.Cap) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checks++
	if g.healthy == nil {
		return true, nil
	}
	return g.healthy(c)
}

func (g *fakeGateway) Prepare(context.Context) error {
	if g.refused != nil {
		return g.refused("prepare", "")
	}
	return nil
}

func (g *fakeGateway) Publish(_ context.Context, name string, root caps.Cap) error {
	if g.refused != nil {
		if err := g.refused("publish", name); err != nil {
			return err
		}
	}
	g.links["Archives/"+name], g.links["Latest"] = root, root
	return nil
}

// took returns and forgets the counts.
func (g *fakeGateway) took() (puts, mkdirs, checks int) {
	puts, mkdirs, checks = g.puts, g.mkdirs, g.checks
	g.puts, g.mkdirs, g.checks = 0, 0, 0
	return puts, mkdirs, checks
}

// tree lists what is below a directory: path and content.
func (g *fakeGateway) tree(t *testing.T, dir caps.Cap) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(prefix string, c caps.Cap)
	walk = func(prefix string, c caps.Cap) {
		if !caps.IsDir(c) {
			content, ok := g.content[c]
			if !ok {
				t.Errorf("%s was never stored", prefix)
			}
			out[prefix] = content
			return
		}
		children, ok := g.meta[c]
		if !ok {
			t.Errorf("%s was never made", prefix)
		}
		if len(children) == 0 {
			out[prefix+"/"] = ""
		}
		for name, child := range children {
			walk(prefix+"/"+name, child.Cap)
		}
	}
	walk("", dir)
	return out
}

// disk is a folder made of a map: paths ending in a slash are empty folders.
func disk(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		write(t, root, name, content)
	}
	return root
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	dir := filepath.Dir(path)
	if strings.HasSuffix(name, "/") {
		dir = path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if dir != path {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// bubble runs f where time is virtual: it starts in the year 2000, long before
// the files were made.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }
