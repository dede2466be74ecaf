package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A cap and the file cannot both come from standard input: what is read for
// the one would be missing from the other.
func TestPutWithCapFromInput(t *testing.T) {
	w := newWorld(t)
	notes := w.gw.store([]byte("precious"), "SDMF")
	w.feed(1, notes.Reveal()+"\nthe new text\n", "put", "-", "@-")
	w.says(w.err, "standard input cannot give both")
	w.feed(1, notes.Reveal()+"\nthe new text\n", "put", "-", "@-:")
	if got := w.gw.object(notes).data; string(got) != "precious" {
		t.Errorf("it was written over: %q", got)
	}
	w.write("f", "the new text")
	w.feed(0, notes.Reveal()+"\n", "put", "f", "@-")
	if got := w.gw.object(notes).data; string(got) != "the new text" {
		t.Errorf("it holds %q", got)
	}
}

// What goes wrong with mv and ln is told by what is there.
func TestMvRefusals(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.write("f", "F")
	w.run(0, "put", "f", "home:f")
	w.run(0, "put", "f", "home:g")
	w.run(0, "mkdir", "home:dir/f")
	for _, tt := range []struct{ args, says string }{
		{"home:f home:dir", "home:dir is a directory, and is not replaced"},
		{"home:f home:dir/", "home:dir/f is a directory, and is not replaced"},
		{"home:f home:g/x", "home:g/x would be below a file"},
		{"home:f home:g/", "home:g/f would be below a file"},
		{"home:f home:g/x/y", "home:g/x/y would be below a file"},
		{"home:none home:x", "no such file or directory: home:none"},
	} {
		for _, command := range []string{"mv", "ln"} {
			w.run(1, append([]string{command}, strings.Fields(tt.args)...)...)
			w.says(w.err, tt.says)
		}
	}
	w.gw.refuse = func(r *http.Request) int {
		if r.Method == "POST" {
			return 409
		}
		return 0
	}
	w.run(1, "mv", "home:f", "home:new")
	w.says(w.err, "refused, as the test wants it")
}

// A folder does not become a node's by a slip of the pen: none could be made
// there any more.
func TestAliasesWithoutNode(t *testing.T) {
	w := newWorld(t)
	dir := w.gw.mkdir(map[string]fakeChild{})
	w.write("dir.cap", dir.Reveal())
	w.node = filepath.Join(t.TempDir(), "none")
	for _, args := range []string{"add-alias x @dir.cap", "create-alias -u " + w.gw.URL + " x", "list-aliases", "ls x:"} {
		w.run(1, strings.Fields(args)...)
		w.says(w.err, "is not a node directory")
	}
	if _, err := os.Stat(w.node); err == nil {
		t.Error("the folder was made")
	}
}

// The way to other machines is shut, and that is no sign of a node that does
// not run.
func TestGatewayElsewhere(t *testing.T) {
	w := newWorld(t)
	w.write("f", "F")
	w.run(1, "put", "-u", "http://192.0.2.1:3456/", "f")
	w.says(w.err, "refused by network policy")
	w.says(w.err, "on this machine")
	if strings.Contains(w.err, "is the node running") {
		t.Errorf("%s", w.err)
	}
}
