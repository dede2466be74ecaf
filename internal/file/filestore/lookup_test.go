package filestore

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

func mutableOptions() mutable.CreateOptions { return mutable.CreateOptions{} }

// Every kind of cap becomes the node it stands for, and no server is asked.
func TestOpen(t *testing.T) {
	r := newRig(t)
	for text, want := range map[string]string{
		chkText: "file", litText: "file", mutableText: "mutable", dirText: "directory", dirROText: "directory", immDirText: "directory",
		"URI:DIR2-LIT:": "directory", verifyText: "verifier", dirVerify: "verifier", "x-future:foo": "unknown", "ro.x-future:foo": "unknown",
	} {
		c := caps.Keep(text, caps.Anywhere)
		node, err := r.store.Open(c)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := ""
		switch n := node.(type) {
		case *File:
			got = "file"
			if size, _ := caps.Size(c); n.Size() != size {
				t.Errorf("%s: size %d", text, n.Size())
			}
		case *Mutable:
			got = "mutable"
		case *Directory:
			got = "directory"
		case *Verifier:
			got = "verifier"
		case *Unknown:
			got = "unknown"
			if (n.Child.Write == nil) != strings.HasPrefix(text, "ro.") {
				t.Errorf("%s: %v", text, n.Child)
			}
		}
		if got != want || node.Cap() != c {
			t.Errorf("%s is %s of %v", text, got, node.Cap())
		}
	}
	if n, err := r.store.OpenChild(dirtable.Child{}); err != nil || n.Cap() != nil {
		t.Errorf("a child without caps: %v, %v", n, err)
	}
	if _, err := r.store.Open(nil); err == nil {
		t.Error("no cap at all was opened")
	}
}

func TestReadLiteral(t *testing.T) {
	n, err := newRig(t).store.Open(caps.NewLIT([]byte("hello")))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := n.(*File).ReadRange(t.Context(), &b, 1, 3, nil); err != nil || b.String() != "ell" {
		t.Errorf("%q, %v", &b, err)
	}
	for _, r := range [][2]int64{{-1, 1}, {0, 6}, {6, 0}, {5, 1}, {0, -1}} {
		if err := n.(*File).ReadRange(t.Context(), &b, r[0], r[1], nil); err == nil {
			t.Errorf("range %v", r)
		}
	}
}

func TestLookup(t *testing.T) {
	r := newRig(t)
	file := r.put(strings.Repeat("file ", 100))
	inner := r.mkdir(map[string]caps.Cap{"f": file, "e\u0301": file})
	root := r.mkdir(map[string]caps.Cap{"d": inner.Cap(), "f": file})
	lookup := func(path ...string) (Found, error) { return r.store.Lookup(t.Context(), root.Cap(), path, nil) }

	found, err := lookup()
	if err != nil || found.Node.Cap() != caps.Cap(root.Cap()) || found.Parent != nil {
		t.Errorf("the root: %+v, %v", found, err)
	}
	if found, err = lookup("d", "\u00e9"); err != nil || found.Node.Cap() != file || found.Parent.Cap() != inner.Cap() || found.Name != "\u00e9" || found.Entry.Name() != "\u00e9" {
		t.Errorf("d/\u00e9: %+v, %v", found, err)
	}
	for _, tt := range []struct {
		path    string
		err     error
		at      int
		missing string
	}{
		{"x", dirtable.ErrNoChild, 0, "x"},
		{"d/x/y", dirtable.ErrNoChild, 1, "x/y"},
		{"f/x", ErrNotDirectory, 0, ""},
		{"d/f/x", ErrNotDirectory, 1, ""},
		{"d//x", ErrEmptyName, 1, ""},
	} {
		path := strings.Split(tt.path, "/")
		found, err := lookup(path...)
		e, ok := errors.AsType[*PathError](err)
		if !ok || !errors.Is(err, tt.err) || e.At != tt.at || strings.Join(found.Missing, "/") != tt.missing {
			t.Errorf("%s: %+v, %v", tt.path, found, err)
		}
		if tt.missing != "" && (found.Parent == nil || found.Name != "x" || found.Node != nil) {
			t.Errorf("%s: %+v", tt.path, found)
		}
		if strings.Contains(err.Error(), "x") && tt.path == "x" {
			t.Errorf("a name is in %q", err)
		}
	}
	if _, err := r.store.Lookup(t.Context(), file, []string{"x"}, nil); !errors.Is(err, ErrNotDirectory) {
		t.Errorf("below a file: %v", err)
	}
}

func TestMkdirs(t *testing.T) {
	r := newRig(t)
	root := r.mkdir(map[string]caps.Cap{"f": r.parse(litText)})
	a, err := r.store.Mkdirs(t.Context(), root, []string{"a"}, directory.CreateOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.store.Mkdirs(t.Context(), root, []string{"a", "b", "c"}, directory.CreateOptions{MDMF: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.store.Mkdirs(t.Context(), root, []string{"a", "b", "c"}, directory.CreateOptions{}, nil)
	if err != nil || again.Cap() != c.Cap() || c.Cap().Kind() != "dir2-mdmf" {
		t.Errorf("made again: %v, %v; %v", again, err, c)
	}
	if same, err := r.store.Mkdirs(t.Context(), root, nil, directory.CreateOptions{}, nil); err != nil || same.Cap() != root.Cap() {
		t.Errorf("no path: %v, %v", same, err)
	}
	found, err := r.store.Lookup(t.Context(), root.Cap(), []string{"a", "b", "c"}, nil)
	if err != nil || found.Node.Cap() != caps.Cap(c.Cap()) || found.Parent.Cap().Kind() != "dir2" {
		t.Errorf("%+v, %v", found, err)
	}
	md, err := found.Entry.Metadata()
	if at, ok := md.Created(); err != nil || !ok || !at.Equal(r.now) {
		t.Errorf("the link was made at %v, %v", at, err)
	}
	for _, path := range [][]string{{"f"}, {"f", "x"}} {
		if _, err := r.store.Mkdirs(t.Context(), root, path, directory.CreateOptions{}, nil); !errors.Is(err, ErrNotDirectory) {
			t.Errorf("%q: %v", path, err)
		}
	}
	readOnly, _ := caps.Read(a.Cap())
	if _, err := r.store.Mkdirs(t.Context(), r.open(readOnly.(caps.Dir)), []string{"x"}, directory.CreateOptions{}, nil); !errors.Is(err, caps.ErrNotWritable) {
		t.Errorf("in a read-only directory: %v", err)
	}
	if _, err := r.store.Mkdirs(t.Context(), root, []string{"x", ""}, directory.CreateOptions{}, nil); !errors.Is(err, ErrEmptyName) {
		t.Errorf("an empty name: %v", err)
	}
}

func TestLink(t *testing.T) {
	r := newRig(t)
	root := r.mkdir(nil)
	lit, chk := r.child(litText), r.child(chkText)
	link := func(path string, c dirtable.Child, replace dirtable.Replace) (bool, error) {
		return r.store.Link(t.Context(), root, strings.Split(path, "/"), c, nil, replace, nil)
	}
	for _, tt := range []struct {
		path     string
		child    dirtable.Child
		replace  dirtable.Replace
		replaced bool
		err      error
	}{
		{"a/b/f", lit, dirtable.Never, false, nil},
		{"a/b/f", chk, dirtable.Never, false, dirtable.ErrExists},
		{"a/b/f", chk, dirtable.Always, true, nil},
		{"a/g", lit, dirtable.Never, false, nil},
		{"a", lit, dirtable.OnlyFiles, false, dirtable.ErrExists},
		{"a/g/x", lit, dirtable.Never, false, ErrNotDirectory},
		{"a/g/x/y", lit, dirtable.Never, false, ErrNotDirectory},
		{"", lit, dirtable.Never, false, ErrEmptyName},
	} {
		replaced, err := link(tt.path, tt.child, tt.replace)
		if replaced != tt.replaced || !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) {
			t.Errorf("%s: %v, %v", tt.path, replaced, err)
		}
	}
	got, err := r.paths(root)
	if want := []string{"d ", "d a", "f a/g", "d a/b", "f a/b/f"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("made %q, want %q: %v", got, want, err)
	}
}
