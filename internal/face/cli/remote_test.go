package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever stands on the command line, it is no panic, no name on the grid is
// empty, and no error repeats a key.
func FuzzRemote(f *testing.F) {
	const key = "rqy2rxn7t2oc2ja5q6kbjxezma"
	const dir = "URI:DIR2:" + key + ":lokjrzq5x5dvy5ffpmstlun3gahggujdw4vtipd6f2cko2wd3w3q"
	node := f.TempDir()
	os.MkdirAll(filepath.Join(node, "private"), 0o700)
	os.WriteFile(filepath.Join(node, "private", "aliases"), []byte("tahoe: "+dir+"\nbad: "+dir+"x\n"), 0o600)
	for _, word := range []string{"", "a/b", "tahoe:a//b/", "bad:", dir, dir + "/x", dir + ":./x/", "@-", "@-:x", "@", "http://x/uri/" + dir + "/a%2Fb", "https://x/cap/" + dir + "?t=info",
		"ro." + dir, "imm." + dir, dir[:40], "URI:", "a:b:c", "\xff:", "C:x", dir + "\x90"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.HasPrefix(word, "@") && !strings.HasPrefix(word, "@-") {
			return // a file of this machine
		}
		var out bytes.Buffer
		a := &app{Env: Env{Stdin: strings.NewReader(dir), Stdout: &out, Stderr: &out}, dir: node}
		isRemote(word)
		r, err := a.remote(&storeFlags{}, word)
		if err != nil {
			if strings.Contains(word, "URI:") && strings.Contains(err.Error(), key) {
				t.Errorf("%q: %v", word, err)
			}
			return
		}
		if r.Cap == nil || slices.Contains(r.Path, "") || strings.Contains(r.word, key) && !strings.Contains(strings.Join(r.Path, "/"), key) {
			t.Errorf("%q: %+v", word, r)
		}
	})
}
