package caps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Caps that the reference made: each write cap, what it diminishes to, the
// file cap of a directory, the storage index.
func TestGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Source, Write, Read, Verify, File, SI string }
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 50 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, r := range rows {
		t.Run(r.Source, func(t *testing.T) {
			top := r.Write
			if top == "" {
				top = r.Read
			}
			c := mustParse(t, top)
			if Writable(c) != (r.Write != "") {
				t.Errorf("Writable = %v", Writable(c))
			}
			if got, ok := Read(c); !ok || got.Reveal() != r.Read {
				t.Errorf("Read = %q, want %q", got.Reveal(), r.Read)
			}
			v, ok := Verifier(c)
			if ok != (r.Verify != "") || ok && v.Reveal() != r.Verify {
				t.Errorf("Verifier = %v, %v; want %q", v, ok, r.Verify)
			}
			if ok && mustParse(t, r.Verify) != v {
				t.Error("the parsed verify cap differs from the derived one")
			}
			if r.File != "" && c.(Dir).File().Reveal() != r.File {
				t.Errorf("File = %q, want %q", c.(Dir).File().Reveal(), r.File)
			}
			if si, _ := Index(c); r.SI != "" && si.String() != r.SI {
				t.Errorf("Index = %v, want %s", si, r.SI)
			}
		})
	}
}

// The official vectors' caps, all of them.
func TestOfficialVectors(t *testing.T) {
	path := filepath.Join(moduleRoot(t), "..", "shared", "vectors", "test_vectors.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Logf("THE OFFICIAL TEST VECTORS ARE MISSING: put test_vectors.yaml of the reference into shared/vectors beside the repository: %v", err)
		t.Skip("no official test vectors")
	}
	var doc struct {
		Vector []struct {
			Expected string
			Format   struct{ Kind string }
			Sample   struct{ Length int64 }
			Zfec     struct{ Required, Total int }
		}
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Vector) != 360 {
		t.Fatalf("%d vectors, want 360", len(doc.Vector))
	}
	counts := map[Kind]int{}
	for _, v := range doc.Vector {
		c := mustParse(t, v.Expected)
		counts[c.Kind()]++
		if c.Reveal() != v.Expected {
			t.Errorf("%q prints as %q", v.Expected, c.Reveal())
		}
		if chk, ok := c.(CHK); ok && (chk.K != v.Zfec.Required || chk.N != v.Zfec.Total || chk.Size != v.Sample.Length) {
			t.Errorf("%q: k %d, n %d, size %d", v.Expected, chk.K, chk.N, chk.Size)
		}
	}
	if counts["chk"] != 120 || counts["ssk"] != 120 || counts["mdmf"] != 120 {
		t.Errorf("kinds: %v", counts)
	}
}

func mustParse(t *testing.T, s string) Cap {
	t.Helper()
	c, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	if c.Reveal() != s {
		t.Errorf("%q prints as %q", s, c.Reveal())
	}
	return c
}

// moduleRoot is the folder of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		f.Fatal(err)
	}
	var rows []struct{ Write, Read, Verify string }
	if err := json.Unmarshal(data, &rows); err != nil {
		f.Fatal(err)
	}
	for _, r := range rows {
		f.Add(r.Write)
		f.Add("ro." + r.Read)
		f.Add("imm." + r.Verify)
	}
	f.Add("URI:MDMF:" + k16 + ":" + h32 + ":3:131073")
	f.Add("x-tahoe-future-test-writeable:a")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			if c != nil {
				t.Fatal("a cap beside an error")
			}
			kept := Keep(s, Anywhere)
			if _, ok := kept.(Unknown); !ok || kept.Reveal() != s {
				t.Fatalf("Keep(%q) = %q", s, kept.Reveal())
			}
			return
		}
		text := c.Reveal()
		if again, err := Parse(text); err != nil || again != c {
			t.Fatalf("%q prints as %q, which parses as %v, %v", s, text, again, err)
		}
		// Nothing but prefixes and the endings that Parse documents may go.
		if rest, _ := cutPrefix(s); !strings.HasPrefix(rest, text) {
			t.Fatalf("%q prints as %q", s, text)
		} else if rest != text && !strings.Contains(text, "MDMF") && !strings.Contains(text, "CHK-Verifier") {
			t.Fatalf("%q lost %q", s, rest[len(text):])
		}
		for _, less := range []func(Cap) (Cap, bool){Read, Verifier, Repair} {
			if l, ok := less(c); ok {
				if again, err := Parse(l.Reveal()); err != nil || again != l {
					t.Fatalf("%q diminishes to %q: %v", s, l.Reveal(), err)
				}
			}
		}
	})
}
