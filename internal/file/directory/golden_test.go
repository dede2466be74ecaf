package directory

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
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

type goldenFile struct {
	Request     map[string]info
	Directories map[string]struct {
		Cap, Plaintext string
		JSON           [2]json.RawMessage
	}
}

func readGolden(t *testing.T) (g goldenFile) {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// children is what the reference says is in a directory.
func (g goldenFile) children(t *testing.T, name string) map[string]info {
	t.Helper()
	var dir struct{ Children map[string]info }
	if err := json.Unmarshal(g.Directories[name].JSON[1], &dir); err != nil || len(dir.Children) == 0 {
		t.Fatalf("%s: %v", name, err)
	}
	return dir.Children
}

// Directories that the reference has stored are listed as it lists them, the
// root through its write cap and its read cap.
func TestGoldenDirectories(t *testing.T) {
	g := readGolden(t)
	c := newClient(t, golden(t, index(mustDir(t, g.Directories["root"].Cap)), index(mustDir(t, g.Directories["imm-dir"].Cap))), 1, 2, "")
	for _, name := range []string{"root", "root_readonly", "imm-dir", "imm-lit-dir"} {
		d, err := c.Open(mustDir(t, g.Directories[name].Cap))
		if err != nil {
			t.Fatal(err)
		}
		table, err := d.List(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := g.children(t, name)
		if table.Len() != len(want) {
			t.Errorf("%s has %d children, want %d", name, table.Len(), len(want))
		}
		for child, e := range table.All() {
			c, err := e.Child()
			if err != nil {
				t.Errorf("%s: %q: %v", name, child, err)
				continue
			}
			rw, ro := "", ""
			if c.Write != nil {
				rw = c.Write.Reveal()
			}
			if c.Read != nil {
				ro = c.Read.Reveal()
			}
			if rw != want[child].RW || strings.TrimPrefix(ro, "imm.") != strings.TrimPrefix(want[child].RO, "imm.") {
				t.Errorf("%s: %q has other caps", name, child)
			}
		}
	}
}

// The same children make the same immutable directory as the reference: cap
// for cap.
func TestGoldenImmutable(t *testing.T) {
	g := readGolden(t)
	convergence, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, inMemory(2), 1, 2, string(convergence))
	for _, name := range []string{"imm-dir", "imm-lit-dir"} {
		var kids []NewChild
		for child, i := range g.children(t, name) {
			made, err := dirtable.NewChild("", i.RO, true)
			if err != nil {
				t.Fatal(err)
			}
			md, err := dirtable.ParseMetadata(i.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			kids = append(kids, NewChild{child, made, md})
		}
		dir, err := c.CreateImmutable(t.Context(), kids, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := dir.Reveal(); got != g.Directories[name].Cap {
			t.Errorf("%s: %s, want %s", name, got, g.Directories[name].Cap)
		}
		d, err := c.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		table, err := d.List(t.Context(), nil)
		if err != nil || hex.EncodeToString(table.Bytes()) != g.Directories[name].Plaintext {
			t.Errorf("%s reads back otherwise: %v", name, err)
		}
	}
	mutable := NewChild{Name: "a", Child: mustChild(t, fileText)}
	if _, err := c.CreateImmutable(t.Context(), []NewChild{mutable}, nil); err == nil || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("a mutable child: %v", err)
	}
}

// What the reference was asked to make is made of the same entries.
func TestGoldenRoot(t *testing.T) {
	g := readGolden(t)
	c := newClient(t, inMemory(2), 1, 2, "")
	var kids []NewChild
	for child, i := range g.Request {
		made, err := dirtable.NewChild(i.RW, i.RO, false)
		if err != nil {
			t.Fatal(err)
		}
		var md dirtable.Metadata
		if i.Metadata != nil {
			if md, err = dirtable.ParseMetadata(i.Metadata); err != nil {
				t.Fatal(err)
			}
		}
		kids = append(kids, NewChild{child, made, md})
	}
	dir, err := c.Create(t.Context(), CreateOptions{}, kids, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	table, err := d.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := hex.DecodeString(g.Directories["root"].Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	want, err := dirtable.Parse(mustDir(t, g.Directories["root"].Cap), plain)
	if err != nil {
		t.Fatal(err)
	}
	var names, wantNames []string
	for name := range table.All() {
		names = append(names, name)
	}
	for name, e := range want.All() {
		wantNames = append(wantNames, name)
		wantChild, _ := e.Child()
		got, _ := table.Entry(name)
		if gotChild, err := got.Child(); err != nil || gotChild != wantChild {
			t.Errorf("%q: other caps: %v", name, err)
		}
		wantMD, _ := e.Metadata()
		if md, err := got.Metadata(); err != nil || string(md.JSON()) != string(wantMD.JSON()) {
			t.Errorf("%q: metadata %s, want %s: %v", name, md.JSON(), wantMD.JSON(), err)
		}
	}
	if !slices.Equal(names, wantNames) {
		t.Errorf("names %q, want %q", names, wantNames)
	}
	if !caps.Writable(dir) {
		t.Error("not writable")
	}
}
