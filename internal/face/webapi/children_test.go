package webapi

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"tahoe-go/internal/format/dirtable"
)

func TestParseChildren(t *testing.T) {
	const lit = `{"ro_uri": "URI:LIT:nbswy3dp"}`
	for _, tt := range []struct {
		name, in string
		n        int // children; -1: refused
	}{
		{"none", `{}`, 0},
		{"one", `{"a": ["filenode", ` + lit + `]}`, 1},
		{"with more in the pair", `{"a": ["filenode", ` + lit + `, 3]}`, 1},
		{"null for a cap", `{"a": ["filenode", {"rw_uri": null, "ro_uri": "URI:LIT:"}]}`, 1},
		{"null for metadata", `{"a": ["filenode", {"ro_uri": "URI:LIT:", "metadata": null}]}`, 1},
		{"twice", `{"a": ["filenode", ` + lit + `], "a": ["filenode", ` + lit + `]}`, 2},
		{"spaces", " {\n\"a\" : [ \"filenode\" , " + lit + " ] } \n", 1},
		{"not an object", `[]`, -1},
		{"open", `{"a": ["filenode", ` + lit + `]`, -1},
		{"more behind", `{} {}`, -1},
		{"no pair", `{"a": ["filenode"]}`, -1},
		{"no caps", `{"a": ["filenode", {}]}`, -1},
		{"a number for a cap", `{"a": ["filenode", {"ro_uri": 7}]}`, -1},
		{"a list for metadata", `{"a": ["filenode", {"ro_uri": "URI:LIT:", "metadata": []}]}`, -1},
		{"an unknown cap for writing", `{"a": ["unknown", {"rw_uri": "x-future:abc"}]}`, -1},
		{"a malformed cap", `{"a": ["filenode", {"ro_uri": "URI:CHK:abc"}]}`, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseChildren([]byte(tt.in), false)
			if tt.n < 0 {
				if err == nil || translate(err).status != 400 {
					t.Errorf("parseChildren(%s) = %d children, %v; want a refusal with 400", tt.in, len(got), err)
				}
				return
			}
			if err != nil || len(got) != tt.n {
				t.Errorf("parseChildren(%s) = %d children, %v; want %d", tt.in, len(got), err, tt.n)
			}
		})
	}
}

func FuzzParseChildren(f *testing.F) {
	for _, s := range []string{
		`{"a": ["filenode", {"ro_uri": "URI:LIT:nbswy3dp", "metadata": {"x": [1, {"y": null}]}}]}`,
		`{"a": ["dirnode", {"rw_uri": "URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}]}`,
		`{"\ud83d\ude00": ["unknown", {"rw_uri": "x-future:a", "ro_uri": "ro.x-future:b"}]}`, `{"a": 1}`, `[`, "{\"\xff\": []}",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, immutable bool) {
		list, err := parseChildren(text, immutable)
		if err != nil {
			if e := translate(err); e.status != 400 || strings.Contains(e.text, "URI:LIT:nbswy3dp") {
				t.Errorf("%q: %v", text, e)
			}
			return
		}
		for _, g := range list {
			if g.child.Cap() == nil {
				t.Errorf("%q has a child without a cap", text)
			}
			if g.metadata != nil && !json.Valid(g.metadata.JSON()) {
				t.Errorf("%q has metadata that are no JSON", text)
			}
			if immutable && g.child.Write != nil {
				t.Errorf("%q has a write cap for an immutable directory", text)
			}
		}
	})
}

// The JSON of metadata comes from whoever wrote the directory.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a": "ä\ud83d😀", "b": [1.50, "\u2028"]}`, `{"a":{"b":[]}}`} {
		f.Add(s, "a name \x7f\b\f\"\\é😀\xff")
	}
	f.Fuzz(func(t *testing.T, meta, name string) {
		m, err := dirtable.ParseMetadata([]byte(meta))
		if err != nil {
			return
		}
		var b strings.Builder
		j := newJSONWriter(&b)
		j.begin('{')
		j.key(name)
		j.raw(m.JSON())
		j.end('}')
		j.w.Flush()
		out := b.String()
		if strings.ContainsFunc(out, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("not ASCII: %q", out)
		}
		var back map[string]any
		var want any
		if err := json.Unmarshal([]byte(out), &back); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		json.Unmarshal(m.JSON(), &want)
		wanted, _ := json.Marshal(want)
		for key, value := range back {
			if got, _ := json.Marshal(value); string(got) != string(wanted) || utf8.ValidString(name) && key != name {
				t.Errorf("%q: %q became %q: %q", name, m.JSON(), key, got)
			}
		}
		if len(back) != 1 {
			t.Errorf("%q has %d pairs", out, len(back))
		}
	})
}
