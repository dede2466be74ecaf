package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tahoe-go/internal/node/config"
)

// Each case is a node directory in testdata/problems.txtar and what Load
// says of it: CASE/tahoe.cfg and other files, CASE/want. A first line
// "torsocks" in CASE/options starts it as under torsocks.
func TestProblems(t *testing.T) {
	const file = "testdata/problems.txtar"
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(a.Files); {
		name, _, _ := strings.Cut(a.Files[i].Name, "/")
		dir := client(t, "")
		var o config.Options
		var want *txtar.File
		for ; i < len(a.Files) && strings.HasPrefix(a.Files[i].Name, name+"/"); i++ {
			switch rel := strings.TrimPrefix(a.Files[i].Name, name+"/"); rel {
			case "want":
				want = &a.Files[i]
			case "options":
				o.Torsocks = strings.HasPrefix(string(a.Files[i].Data), "torsocks")
			case "tahoe-introducer.tac":
				if err := os.Remove(filepath.Join(dir, "tahoe-client.tac")); err != nil {
					t.Fatal(err)
				}
				write(t, dir, rel, "")
			default:
				write(t, dir, rel, string(a.Files[i].Data))
			}
		}
		if want == nil {
			t.Fatalf("%s has no want", name)
		}
		t.Run(name, func(t *testing.T) {
			got := strings.ReplaceAll(lines(o.Load(dir)), dir, filepath.FromSlash("/node"))
			if got != "" {
				got += "\n"
			}
			if *update {
				want.Data = []byte(got)
			} else if d := cmp.Diff(string(want.Data), got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
	if *update {
		golden(t, file, string(txtar.Format(a)))
	}
}
