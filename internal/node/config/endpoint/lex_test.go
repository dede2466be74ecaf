package endpoint

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The rows are what Twisted 22.4's endpoint tokenizer made of each text.
func TestAsTwisted(t *testing.T) {
	data, err := os.ReadFile("testdata/twisted.json")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		In   string
		Args []string
		KW   map[string]string
	}
	var rows []row
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		list, err := items(r.In)
		if err != nil || len(list) != 1 {
			t.Errorf("items(%q) = %v, %v; want one item", r.In, list, err)
			continue
		}
		got := row{In: r.In, KW: map[string]string{}}
		for _, a := range list[0] {
			if a.name.text == "" {
				got.Args = append(got.Args, a.value.text)
			} else {
				got.KW[a.name.text] = a.value.text
			}
		}
		if len(r.Args) == 0 {
			r.Args = nil
		}
		if d := cmp.Diff(r, got); d != "" {
			t.Errorf("items(%q): -want +got\n%s", r.In, d)
		}
	}
}
