package filestore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
)

// What is prohibited is found and not opened; no path leads through it, and no
// walk enters it.
func TestProhibited(t *testing.T) {
	r := newRig(t)
	inner := r.mkdir(map[string]caps.Cap{"file": r.child("URI:LIT:nbswy3dp").Cap()})
	root := r.mkdir(map[string]caps.Cap{"inner": inner.Cap(), "other": r.mkdir(nil).Cap()})
	name := filepath.Join(t.TempDir(), "access.blacklist")
	conf := r.store.c
	conf.Blacklist = blacklist.New(name, nil)
	r.store = New(conf)
	if _, err := r.store.Lookup(t.Context(), root.Cap(), []string{"inner", "file"}, nil); err != nil {
		t.Fatal(err)
	}
	si, ok := caps.Index(inner.Cap())
	if !ok {
		t.Fatal("no storage index")
	}
	if err := os.WriteFile(name, []byte(si.String()+" no\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	found, err := r.store.Lookup(t.Context(), root.Cap(), []string{"inner"}, nil)
	if p, is := found.Node.(*Prohibited); err != nil || !is || p.Cap() != caps.Cap(inner.Cap()) {
		t.Errorf("Lookup: %T, %v", found.Node, err)
	}
	refused := func(what string, at int, err error) {
		t.Helper()
		var place *PathError
		if !blacklist.Prohibited(err) || !errors.As(err, &place) || place.At != at {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = r.store.Lookup(t.Context(), root.Cap(), []string{"inner", "file"}, nil)
	refused("Lookup below", 0, err)
	_, err = r.store.Lookup(t.Context(), inner.Cap(), []string{"file"}, nil)
	refused("Lookup from it", -1, err)
	_, _, err = r.store.List(t.Context(), root.Cap(), []string{"inner"}, nil)
	refused("List", 0, err)
	_, err = r.store.Mkdirs(t.Context(), root, []string{"inner", "new"}, directory.CreateOptions{}, nil)
	refused("Mkdirs", 0, err)
	_, err = r.store.Link(t.Context(), root, []string{"inner", "new"}, r.child("URI:LIT:nbswy3dp"), nil, 0, nil)
	refused("Link", 0, err)

	var seen []string
	visit := Visitor{Visit: func(i Item) error {
		seen = append(seen, strings.Join(i.Path, "/"))
		return nil
	}}
	if err := r.store.Walk(t.Context(), root, visit); err != nil || !slices.Equal(seen, []string{"", "inner", "other"}) {
		t.Errorf("Walk: %q, %v", seen, err)
	}
	refused("Walk from it", -1, r.store.Walk(t.Context(), inner, visit))
}
