package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tahoe-go/internal/format/caps"
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

// Names and caps that somebody else has chosen do not steer a terminal, and
// forge no lines.
func TestHostileNames(t *testing.T) {
	w := newWorld(t)
	future := caps.Keep("ro.x:\x1b[32mgreen\n\rURI:LIT:forged name", caps.Anywhere)
	dir := w.gw.mkdir(map[string]fakeChild{
		"esc\x1b[31m": {cap: caps.NewLIT([]byte("1"))}, "c1\u009b31m": {cap: caps.NewLIT([]byte("2"))}, "turn\u202e": {cap: w.gw.mkdir(map[string]fakeChild{})}, "future": {cap: future},
	})
	w.write("dir.cap", dir.Reveal())
	if err := os.MkdirAll("here/sub\x1b[31m", 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("here/sub\x1b[31m/file\u009b", "X")
	os.Symlink("nowhere", "here/link\x1b[31m")
	w.run(0, "create-alias", "home")
	for _, args := range []string{"ls -l --uri @dir.cap", "manifest @dir.cap", "cp -n -r @dir.cap out", "cp -v -r @dir.cap out", "cp -n -r here home:", "cp -v -r here home:",
		"cp -v -r home:here back"} {
		code, out, err := tahoe(t, nil, "", append([]string{"-d", w.node}, strings.Fields(args)...)...)
		if strings.ContainsAny(out+err, "\x1b\r\u009b\u202e") || strings.Contains(out, "\nURI:LIT:forged") {
			t.Errorf("%s (%d): %q %q", args, code, out, err)
		}
	}
	if got := w.read("back/here/sub\x1b[31m/file\u009b"); got != "X" {
		t.Errorf("the file came back as %q", got)
	}
}

// A name that is too long here does not keep the others from being copied.
func TestCpLongNames(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 300)
	dir := w.gw.mkdir(map[string]fakeChild{
		long: {cap: w.gw.mkdir(map[string]fakeChild{"in": {cap: caps.NewLIT([]byte("1"))}})}, long + "f": {cap: caps.NewLIT([]byte("2"))}, "good": {cap: caps.NewLIT([]byte("3"))},
		"taken": {cap: w.gw.mkdir(map[string]fakeChild{"in": {cap: caps.NewLIT([]byte("4"))}})},
	})
	w.write("dir.cap", dir.Reveal())
	if err := os.MkdirAll("out", 0o700); err != nil {
		t.Fatal(err)
	}
	w.run(1, "cp", "-n", "-r", "@dir.cap", "out")
	w.says(w.err, "2 things would not be copied")
	w.run(1, "cp", "-n", "-r", "--json", "@dir.cap", "out")
	w.says(w.out, `"failed":["@dir.cap/xxxx`)
	w.run(1, "cp", "-r", "@dir.cap", "out")
	w.says(w.err, "2 files copied, 2 not")
	if got := w.read("out/good") + w.read("out/taken/in"); got != "34" {
		t.Errorf("copied: %q", got)
	}
}

func TestBrowser(t *testing.T) {
	for value, want := range map[string]string{
		"none-such":                   "none-such URL",
		"none-such:true":              "true URL",
		"true -P private:none-such":   "true -P private URL",
		"none-such:true --url %s --x": "true --url URL --x",
		"::true":                      "true URL",
	} {
		a := &app{Env: Env{Getenv: func(string) string { return strings.ReplaceAll(value, ":", string(os.PathListSeparator)) }}}
		if got := strings.Join(a.browser("URL"), " "); got != want && runtime.GOOS != "windows" {
			t.Errorf("BROWSER=%q: %q, want %q", value, got, want)
		}
	}
}

// What to do about a node that does not run names the node.
func TestHintNamesNode(t *testing.T) {
	w := newWorld(t)
	os.WriteFile(filepath.Join(w.node, "node.url"), []byte("http://127.0.0.1:1/\n"), 0o644)
	w.run(2, "ls", "URI:LIT:nbswy3dp")
	w.says(w.err, "tahoe start "+w.node+", or in the foreground with: tahoe run "+w.node)
}

// A variable of the shell that is not set is no wish to store an empty file, or
// to lose a directory.
func TestEmptyOperands(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "tahoe")
	w.write("f", "F")
	w.gw.asked()
	for _, args := range [][]string{{"put", ""}, {"put", "", "home:f"}, {"put", "f", ""}, {"mkdir", ""}, {"get", "f", ""}} {
		w.run(1, args...)
		w.says(w.err, "an operand is empty")
	}
	if asked := w.gw.asked(); len(asked) > 0 {
		t.Errorf("the gateway was asked: %v", asked)
	}
	w.run(0, "ls", "")
}

// What can only be read is told before a file is sent there.
func TestPutWhereNothingIsWritten(t *testing.T) {
	w := newWorld(t)
	w.write("f", "F")
	for name, c := range map[string]caps.Cap{"dir": w.gw.mkdir(map[string]fakeChild{}), "file": w.gw.store([]byte("old"), "SDMF")} {
		read, _ := caps.Read(c)
		w.write(name+".cap", read.Reveal())
		w.gw.asked()
		for _, where := range []string{"@dir.cap:", "@dir.cap:x/y", "@file.cap"} {
			if strings.HasPrefix(where, "@"+name) {
				w.run(1, "put", "f", where)
				w.says(w.err, "can only be read")
			}
		}
		if asked := w.gw.asked(); len(asked) > 0 {
			t.Errorf("the gateway was asked: %v", asked)
		}
	}
}

// The address that the page of a directory has for a file stands for that file,
// and gives it its name.
func TestFileAddresses(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	text := strings.Repeat("text ", 30)
	at := w.gw.URL + "file/" + strings.ReplaceAll(w.gw.store([]byte(text), "CHK").Reveal(), ":", "%3A")
	if err := os.Mkdir("here", 0o700); err != nil {
		t.Fatal(err)
	}
	w.run(0, "cp", at+"/@@named=/gr%C3%BC%C3%9Fe%20x.txt", "here")
	w.run(0, "get", at+"/@@named=/y", "here")
	w.run(0, "get", strings.Replace(at, "/file/", "/named/", 1)+"/@@named=/z?save=true", "here")
	w.run(0, "ln", at+"/n", "home:")
	w.run(0, "get", "home:n", "here")
	for _, name := range []string{"grüße x.txt", "y", "z", "n"} {
		if got := w.read("here/" + name); got != text {
			t.Errorf("%s: %q", name, got)
		}
	}
	w.run(1, "cp", at, "here")
	w.says(w.err, "has no name")
	w.run(1, "cp", at+"/@@named=/..%2Fup", "here")
	w.says(w.err, "has no name")
	w.run(1, "get", at+"/@@named=/..", "here")
	w.says(w.err, "cannot be the name of a file here")
	w.run(1, "mv", at+"/n", "home:")
	w.says(w.err, "no directory")
}
