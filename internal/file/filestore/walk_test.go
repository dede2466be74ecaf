package filestore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// paths walks and returns what was visited: type and path.
func (r *rig) paths(root *directory.Directory) ([]string, error) {
	var got []string
	err := r.store.Walk(r.t.Context(), root, Visitor{Visit: func(i Item) error {
		got = append(got, i.RevealLine().Type[:1]+" "+strings.Join(i.Path, "/"))
		return nil
	}})
	return got, err
}

// A tree with every kind of child, with cycles, and with the same object under
// several caps and names.
func TestWalk(t *testing.T) {
	r := newRig(t)
	file := r.put(strings.Repeat("file ", 100))
	deep := r.mkdir(map[string]caps.Cap{"z": file, "lit": r.parse(litText), "m": r.parse(mutableText)})
	imm, err := r.dirs.CreateImmutable(t.Context(), []directory.NewChild{
		{Name: "in", Child: directory.ChildOf(r.put(strings.Repeat("within ", 100)))}, {Name: "lit", Child: r.child(litText)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	readOnly, _ := caps.Read(deep.Cap())
	root := r.mkdir(map[string]caps.Cap{
		"b dir": deep.Cap(), "c dir again": deep.Cap(), "d dir read-only": readOnly, "e imm": imm,
		"a file": file, "y lit": r.parse(litText), "z lit": r.parse(litText), "0 verifier": r.parse(verifyText),
	})
	future, err := dirtable.NewChild("x-future:foo", "ro.x-future:bar", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Set(t.Context(), "future", future, nil, dirtable.Always, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := deep.Set(t.Context(), "up", directory.ChildOf(root.Cap()), nil, dirtable.Always, nil); err != nil {
		t.Fatal(err)
	}
	got, err := r.paths(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"d ", "u 0 verifier", "u future", "f a file", "f y lit", "f z lit", "d b dir", "f b dir/lit", "f b dir/m", "d e imm", "f e imm/in", "f e imm/lit"}
	if !slices.Equal(got, want) {
		t.Errorf("visited\n %q, want\n %q", got, want)
	}
	stats, err := r.store.Manifest(t.Context(), root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Directories != 3 || stats.Files != 7 || stats.LiteralFiles != 4 || stats.MutableFiles != 1 || stats.Unknown != 2 || stats.LargestDirectoryChildren != 9 {
		t.Errorf("%+v", stats)
	}
}

// Wide and deep trees come in order, whatever is fetched ahead.
func TestWalkOrder(t *testing.T) {
	r := newRig(t)
	var want []string
	var build func(path string, depth int) caps.Cap
	build = func(path string, depth int) caps.Cap {
		name := strings.ReplaceAll(path, "/", "") + "."
		want = append(want, "d "+path, "f "+strings.TrimPrefix(path+"/"+name, "/"))
		kids := []directory.NewChild{{Name: name, Child: r.child(litText)}} // no two directories are alike
		for i := range 5 {
			if depth > 0 {
				name := fmt.Sprint(i)
				kids = append(kids, directory.NewChild{Name: name, Child: directory.ChildOf(build(strings.TrimPrefix(path+"/"+name, "/"), depth-1))})
			}
		}
		dir, err := r.dirs.CreateImmutable(t.Context(), kids, nil)
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	root := r.open(build("", 3).(caps.Dir))
	got, err := r.paths(root)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: visited %d of %d:\n%q", err, len(got), len(want), got)
	}
}

// A directory that is lost ends the walk, unless the visitor bears it.
func TestWalkUnreadable(t *testing.T) {
	r := newRig(t)
	lost := r.mkdir(nil)
	garbage, err := r.store.c.Mutable.Create(t.Context(), mutableOptions(), func(caps.SSK) ([]byte, error) { return []byte("no directory"), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	noDir, err := caps.NewDir(garbage)
	if err != nil {
		t.Fatal(err)
	}
	root := r.mkdir(map[string]caps.Cap{"a": r.mkdir(nil).Cap(), "b": lost.Cap(), "c": noDir, "d": r.mkdir(nil).Cap()})
	r.remove(lost.Cap())
	got, err := r.paths(root)
	if e, ok := errors.AsType[*PathError](err); !ok || !slices.Equal(e.Path, []string{"b"}) || e.At != 0 {
		t.Errorf("error %v", err)
	}
	if want := []string{"d ", "d a", "d b"}; !slices.Equal(got, want) {
		t.Errorf("visited %q, want %q", got, want)
	}
	got = nil
	err = r.store.Walk(t.Context(), root, Visitor{
		Visit: func(i Item) error { got = append(got, strings.Join(i.Path, "/")); return nil },
		Unreadable: func(i Item, err error) error {
			got = append(got, fmt.Sprintf("lost %s, nonsense %v", i.Path[0], errors.Is(err, dirtable.ErrSyntax)))
			return nil
		},
	})
	if want := []string{"", "a", "b", "lost b, nonsense false", "c", "lost c, nonsense true", "d"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: visited %q, want %q", err, got, want)
	}
}

func TestWalkEnds(t *testing.T) {
	r := newRig(t)
	root := r.mkdir(map[string]caps.Cap{"a": r.mkdir(nil).Cap(), "b": r.parse(litText), "c": r.mkdir(nil).Cap()})
	enough := errors.New("enough")
	for n := range 4 {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		for what, stop := range map[string]func() error{
			"error":  func() error { return enough },
			"cancel": func() error { cancel(enough); return nil },
		} {
			seen := 0
			err := r.store.Walk(ctx, root, Visitor{Visit: func(Item) error {
				if seen++; seen == n+1 {
					return stop()
				}
				return nil
			}})
			if !errors.Is(err, enough) && (what == "error" || n < 3) {
				t.Errorf("%s after %d: %v", what, n, err)
			}
		}
	}
}

// Directories that wait to be visited do not keep the tables that they are
// linked in: a deep tree costs no more memory than a flat one.
func TestWalkForgetsTables(t *testing.T) {
	const depth, size = 24, 1 << 20
	r := newRig(t)
	big, err := dirtable.ParseMetadata([]byte(`{"x": "` + strings.Repeat("x", 60<<10) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	leaf := r.child("URI:DIR2-LIT:")
	next := leaf
	for range depth {
		kids := []directory.NewChild{{Name: "a", Child: next}, {Name: "z", Child: leaf}}
		for i := range size / (60 << 10) {
			kids = append(kids, directory.NewChild{Name: fmt.Sprint("m", i), Child: dirtable.Child{Read: caps.NewLIT(nil)}, Metadata: big})
		}
		dir, err := r.dirs.Create(t.Context(), directory.CreateOptions{}, kids, nil)
		if err != nil {
			t.Fatal(err)
		}
		next, leaf = directory.ChildOf(dir), r.child("URI:DIR2-LIT:")
	}
	used := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := used(), int64(0)
	err = r.store.Walk(t.Context(), r.open(next.Cap().(caps.Dir)), Visitor{Visit: func(i Item) error {
		if i.Type() == dirtable.Directory && len(i.Path) == depth-2 {
			most = max(most, used()-before)
			if m, err := i.Entry.Metadata(); err != nil || string(m.JSON()) != "{}" {
				t.Errorf("metadata %s, %v", m.JSON(), err)
			}
		}
		return nil
	}})
	if err != nil || most == 0 || most > depth*size/3 {
		t.Errorf("%d bytes are held deep in a tree of %d tables of a megabyte: %v", most, depth, err)
	}
}
