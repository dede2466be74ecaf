package dirtable

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/format/caps"
)

// info is a child as the reference's web API shows it: type, then the rest.
type info struct {
	Type     string
	RW       string `json:"rw_uri"`
	RO       string `json:"ro_uri"`
	Metadata json.RawMessage
}

func (i *info) UnmarshalJSON(b []byte) error {
	type plain info
	return json.Unmarshal(b, &[]any{&i.Type, (*plain)(i)})
}

type golden struct {
	Request     map[string]info
	Directories map[string]struct {
		Cap, Plaintext string
		JSON           [2]json.RawMessage
	}
}

func readGolden(t testing.TB) golden {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Directories) != 7 || len(g.Request) != 11 {
		t.Fatal("golden.json is not whole")
	}
	return g
}

func (g golden) directory(t testing.TB, name string) (caps.Dir, []byte) {
	t.Helper()
	data, err := hex.DecodeString(g.Directories[name].Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return mustDir(t, g.Directories[name].Cap), data
}

func mustDir(t testing.TB, s string) caps.Dir {
	t.Helper()
	c, err := caps.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return c.(caps.Dir)
}

func mustParse(t testing.TB, dir caps.Dir, data []byte) *Table {
	t.Helper()
	table, err := Parse(dir, data)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func reveal(c caps.Cap) string {
	if c == nil {
		return ""
	}
	return c.Reveal()
}

// Directories that the reference wrote hold what the reference says they do,
// and come out as they went in, also when every child is written anew.
func TestGolden(t *testing.T) {
	g := readGolden(t)
	for name := range g.Directories {
		t.Run(name, func(t *testing.T) {
			dir, data := g.directory(t, name)
			var want struct{ Children map[string]info }
			if err := json.Unmarshal(g.Directories[name].JSON[1], &want); err != nil {
				t.Fatal(err)
			}
			table := mustParse(t, dir, data)
			if table.Len() != len(want.Children) {
				t.Errorf("%d children, want %d", table.Len(), len(want.Children))
			}
			anew := NewImmutable()
			if !table.Immutable() {
				anew = mustParse(t, dir, nil)
			}
			for child, e := range table.All() {
				c, err := e.Child()
				if err != nil {
					t.Fatal(err)
				}
				m, err := e.Metadata()
				if err != nil {
					t.Fatal(err)
				}
				w, ok := want.Children[child]
				if !ok {
					t.Errorf("child %q is not in the reference's list", child)
				}
				// The reference shows immutable unknown caps and LIT directories alike.
				if reveal(c.Write) != w.RW || reveal(c.Read) != w.RO {
					t.Errorf("%q: caps %q and %q, want %q and %q", child, reveal(c.Write), reveal(c.Read), w.RW, w.RO)
				}
				if kind := kindOf(c); kind != w.Type {
					t.Errorf("%q is a %s, want %s", child, kind, w.Type)
				}
				var got, meta any
				if json.Unmarshal(m.JSON(), &got) != nil || json.Unmarshal(w.Metadata, &meta) != nil || !cmp.Equal(got, meta) {
					t.Errorf("%q: metadata %s, want %s", child, m.JSON(), w.Metadata)
				}
				if !table.Immutable() && !table.Writable() {
					continue
				}
				if err := anew.Put(child, c, m); err != nil {
					t.Errorf("%q: %v", child, err)
				}
			}
			if !bytes.Equal(table.Bytes(), data) {
				t.Error("written otherwise than read")
			}
			if (table.Immutable() || table.Writable()) && !bytes.Equal(anew.Bytes(), data) {
				t.Errorf("written anew:\n%q, want\n%q", anew.Bytes(), data)
			}
		})
	}
}

func kindOf(c Child) string {
	switch {
	case c.Cap() == nil || isUnknown(c.Cap()):
		return "unknown"
	case caps.IsDir(c.Cap()):
		return "dirnode"
	}
	return "filenode"
}

// What the reference was asked to make a directory of gives the same bytes
// here, names in NFD and unknown caps too.
func TestGoldenRequest(t *testing.T) {
	g := readGolden(t)
	dir, want := g.directory(t, "root")
	table, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, child := range g.Request {
		c, err := NewChild(child.RW, child.RO, false)
		if err != nil {
			t.Fatal(err)
		}
		var m Metadata
		if child.Metadata != nil {
			var compact bytes.Buffer
			json.Compact(&compact, child.Metadata)
			if m, err = ParseMetadata(compact.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Put(name, c, m); err != nil {
			t.Fatal(err)
		}
	}
	got := mustParse(t, dir, table.Bytes())
	theirs := mustParse(t, dir, want)
	for name, e := range theirs.All() {
		mine, ok := got.Entry(name)
		if !ok {
			t.Errorf("no child %q", name)
			continue
		}
		a, _ := e.Child()
		b, err := mine.Child()
		if a != b || err != nil {
			t.Errorf("%q: %v %v, want %v", name, b, err, a)
		}
		r, s := got.records[name], theirs.records[name]
		if !bytes.Equal(r.name, s.name) || !bytes.Equal(r.read, s.read) || !bytes.Equal(r.write, s.write) {
			t.Errorf("%q is written otherwise", name)
		}
	}
	if got.Len() != theirs.Len() {
		t.Errorf("%d children, want %d", got.Len(), theirs.Len())
	}
}
