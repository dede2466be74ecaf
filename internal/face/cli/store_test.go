package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/format/caps"
)

// world is a node directory, a gateway in memory, and a folder to work in.
type world struct {
	t    *testing.T
	gw   *fakeGateway
	node string
	dir  string // the current one of commands
	code int
	out  string
	err  string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, gw: newFakeGateway(t), node: filepath.Join(t.TempDir(), "node"), dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(w.node, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(w.node, "node.url"), []byte(w.gw.URL+"\n"), 0o644)
	t.Chdir(w.dir)
	return w
}

// run runs a command and fails the test if its exit code is not the one
// wanted.
func (w *world) run(want int, args ...string) string {
	w.t.Helper()
	return w.feed(want, "", args...)
}

func (w *world) feed(want int, stdin string, args ...string) string {
	w.t.Helper()
	w.code, w.out, w.err = tahoe(w.t, nil, stdin, append([]string{"-d", w.node}, args...)...)
	if w.code != want {
		w.t.Fatalf("%q: exit code %d, want %d\n%s%s", args, w.code, want, w.out, w.err)
	}
	return w.out
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	w.t.Helper()
	b, err := os.ReadFile(name) // commands work in w.dir too
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *world) cap(word string) caps.Cap {
	w.t.Helper()
	var n [2]json.RawMessage
	var facts struct {
		RW string `json:"rw_uri"`
		RO string `json:"ro_uri"`
	}
	if json.Unmarshal([]byte(w.run(0, "ls", "--json", word)), &n) != nil || json.Unmarshal(n[1], &facts) != nil {
		w.t.Fatal(w.out)
	}
	c, err := caps.Parse(firstOf(facts.RW, facts.RO))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// tree is everything below a directory: names, and of files what they hold.
func (w *world) tree(word string) string {
	w.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(w.run(0, "manifest", word)) {
		cap, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		c, err := caps.Parse(cap)
		switch {
		case err != nil:
			w.t.Fatal(line)
		case path == "":
		case caps.IsDir(c):
			fmt.Fprintf(&b, "%s/\n", path)
		default:
			text := w.gw.object(c).data
			fmt.Fprintf(&b, "%s=%.20s\n", path, text)
		}
	}
	return b.String()
}

// says fails the test unless a text has a piece in it.
func (w *world) says(text, piece string) {
	w.t.Helper()
	if !strings.Contains(text, piece) {
		w.t.Errorf("%q is not in %q", piece, text)
	}
}

func long(s string) string { return strings.Repeat(s, 100/len(s)+1) }

func TestAliases(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.node, "private", "aliases")
	w.says(w.run(0, "create-alias", "tahoe:"), "Alias 'tahoe' created")
	text := w.read(file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(text, "tahoe: URI:DIR2:") {
		t.Errorf("%v %v %q", info.Mode(), err, text)
	}
	// What stands in the file stays.
	os.WriteFile(file, []byte("# mine\n"+text[:len(text)-1]), 0o600)
	friend := w.gw.mkdir(map[string]fakeChild{})
	read, _ := caps.Read(friend)
	w.feed(0, read.Reveal()+"\n", "add-alias", "freund-ü", "-")
	if got := w.read(file); got != "# mine\n"+text+"freund-ü: "+read.Reveal()+"\n" {
		t.Errorf("%q", got)
	}
	w.run(1, "create-alias", "tahoe")
	w.says(w.err, "the alias tahoe already exists")
	for _, bad := range []string{"a b", "a:b", "", ":", "a/b", "URI", "#x", "@x", "http", "a\x1bb"} {
		w.run(1, "create-alias", "--", bad)
	}
	w.run(1, "add-alias", "x", "URI:LIT:nbswy3dp")
	w.says(w.err, "not that of a directory")
	w.run(1, "add-alias", "x", "nonsense")
	list := w.run(0, "list-aliases")
	want := "freund-ü: " + read.Reveal() + "\n   tahoe: " + strings.TrimPrefix(text, "tahoe: ")
	if list != want {
		t.Errorf("%q\nwant %q", list, want)
	}
	var all map[string]map[string]string
	if err := json.Unmarshal([]byte(w.run(0, "list-aliases", "--json")), &all); err != nil || all["freund-ü"]["readonly"] != read.Reveal() || len(all) != 2 {
		t.Errorf("%v %v", all, err)
	}
	w.says(w.run(0, "list-aliases", "--readonly-uri"), "tahoe: URI:DIR2-RO:")
	w.run(1, "ls", "nobody:")
	w.says(w.err, "unknown alias nobody")
}

// The default alias is tahoe; that of old installations is in root_dir.cap.
func TestDefaultAlias(t *testing.T) {
	w := newWorld(t)
	w.run(1, "ls")
	w.says(w.err, "no alias given, and the default alias tahoe does not exist")
	root := w.gw.mkdir(map[string]fakeChild{"x": {cap: caps.NewLIT([]byte("x"))}})
	os.WriteFile(filepath.Join(w.node, "private", "root_dir.cap"), []byte(root.Reveal()+"\n"), 0o600)
	if got := w.run(0, "ls"); got != "x\n" {
		t.Errorf("%q", got)
	}
	other := w.gw.mkdir(map[string]fakeChild{"y": {cap: caps.NewLIT([]byte("y"))}})
	w.write("dir.cap", other.Reveal()+"\n")
	if got := w.run(0, "ls", "--dir-cap=@dir.cap"); got != "y\n" || w.err != "" {
		t.Errorf("%q %q", got, w.err)
	}
	if w.run(0, "ls", "--dir-cap", other.Reveal()); w.out != "y\n" || !strings.HasPrefix(w.err, "note:") {
		t.Errorf("%q %q", w.out, w.err)
	}
}

// Every way to name one file.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	file := fakeChild{cap: caps.NewLIT([]byte("hello"))}
	sub := w.gw.mkdir(map[string]fakeChild{"ü f": file, "a%2Fb": file, "..": file})
	root := w.gw.mkdir(map[string]fakeChild{"sub": {cap: sub}, "x:y": {cap: sub}})
	w.write("root.cap", root.Reveal()+"\n")
	w.write("path.cap", root.Reveal()+"/sub/\n")
	w.run(0, "add-alias", "tahoe", "@root.cap")
	w.run(0, "add-alias", "home", "@root.cap")
	at := w.gw.URL + "uri/" + strings.ReplaceAll(root.Reveal(), ":", "%3A")
	for _, word := range []string{
		"home:sub/ü f", "home:/sub//ü f", "sub/ü f", " home:sub/ü f", "home:x:y/ü f", root.Reveal() + "/sub/ü f", root.Reveal() + ":./sub/ü f", sub.Reveal() + "/ü f",
		"@root.cap:sub/ü f", "@path.cap:ü f", "home:sub/u\u0308 f", at + "/sub/%C3%BC%20f", "home:sub/a%2Fb", "home:sub/..", "@" + filepath.Join(w.dir, "root.cap") + ":sub/..",
	} {
		if got := w.run(0, "get", word); got != "hello" {
			t.Errorf("%q: %q", word, got)
		}
	}
	if got := w.feed(0, root.Reveal(), "get", "@-:sub/.."); got != "hello" {
		t.Errorf("%q", got)
	}
	if got := w.feed(0, "URI:LIT:nbswy3dp", "get", "-"); got != "hello" {
		t.Errorf("%q", got)
	}
	for _, tt := range []struct{ word, says string }{
		{"home:sub/none", "There is no such child"},
		{"home:sub", "is a directory"},
		{root.Reveal(), "is that of a directory"},
		{"home:\xff", "not UTF-8"},
		{"@none.cap", "no such file"},
		{"@", "names no file"},
		{"http://127.0.0.1/status", "not that of a file or directory"},
		{"http://127.0.0.1/uri/URI%3ADIR2%3Ax/a%2Fb", "not that of a file or directory"},
		{"URI:LIT:nbswy3dp/x", "files have no children"},
		{"URI:NEW:x", "not a valid cap"},
	} {
		w.run(1, "get", tt.word)
		if w.out != "" || !strings.Contains(strings.ToLower(w.err), strings.ToLower(tt.says)) || strings.Contains(w.err, root.Reveal()) {
			t.Errorf("%q: %q", tt.word, w.err)
		}
	}
}

func TestLs(t *testing.T) {
	w := newWorld(t)
	ssk := w.gw.store([]byte(long("m")), "SDMF")
	future := caps.Keep("ro.x-new:read", caps.Anywhere)
	meta := json.RawMessage(`{"tahoe": {"linkcrtime": 86400.5}}`)
	root := w.gw.mkdir(map[string]fakeChild{
		"ä":           {cap: caps.NewLIT([]byte("hello")), metadata: meta},
		"dir":         {cap: w.gw.mkdir(map[string]fakeChild{})},
		"evil\x1b[2J": {cap: ssk},
		"later":       {cap: future},
		"日本":          {cap: w.gw.store([]byte(long("c")), "")},
	})
	w.write("root.cap", root.Reveal())
	w.gw.asked()
	got := w.run(0, "ls", "@root.cap")
	if want := "dir\n\"evil\\x1b[2J\"\nlater\nä\n日本\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w.says(w.err, "kinds unknown here")
	if asked := w.gw.asked(); len(asked) != 1 {
		t.Errorf("ls takes the requests %q", asked)
	}
	t.Setenv("TZ", "UTC")
	got = w.run(0, "ls", "-lF", "@root.cap")
	want := "drwx   - -            dir/\n" +
		"-rw- 101 -            \"evil\\x1b[2J\"*\n" +
		"?r--   ? -            later?\n" +
		"-r--   5 Jan 02  1970 ä\n" +
		"-r-- 101 -            日本\n"
	if got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
	got = w.run(0, "ls", "--uri", "--readonly-uri", "@root.cap")
	read, _ := caps.Read(ssk)
	w.says(got, `"evil\x1b[2J" `+ssk.Reveal())
	w.says(got, read.Reveal()+"\n")
	w.says(got, "日本          URI:CHK:")
	w.says(w.run(0, "ls", "--json", "@root.cap"), `["dirnode",{"children":{`)
	if got := w.run(0, "ls", "-l", "@root.cap:ä"); got != "-r-- 5 - ä\n" {
		t.Errorf("%q", got)
	}
	w.run(2, "ls", "@root.cap:none")
	w.says(w.err, "no such file or directory: @root.cap/none")
	w.gw.mu.Lock()
	w.gw.URL, w.gw.objects = "", map[caps.Cap]*fakeObject{}
	w.gw.mu.Unlock()
	w.run(2, "ls", "-u", "http://127.0.0.1:1/", "@root.cap")
	w.says(w.err, "is the node running?")
}

func TestPut(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.write("f.txt", long("one"))
	unlinked := w.run(0, "put", "f.txt")
	w.says(w.err, "200 OK\n")
	if got := w.run(0, "put", "f.txt", "home:a/b.txt"); got != unlinked {
		t.Errorf("%q", got)
	}
	w.says(w.err, "201 Created\n")
	w.run(0, "put", "f.txt", "home:a/b.txt")
	w.says(w.err, "200 OK\n")
	w.run(0, "put", "f.txt", "home:")
	w.run(0, "put", "f.txt", "home:c/")
	w.feed(0, "short", "put", "-", "home:s")
	if got, want := w.tree("home:"), "a/\na/b.txt=oneoneoneoneoneoneon\nc/\nc/f.txt=oneoneoneoneoneoneon\nf.txt=oneoneoneoneoneoneon\ns=short\n"; got != want {
		t.Errorf("%s", got)
	}
	// A mutable file keeps its cap.
	m := w.run(0, "put", "--mutable", "f.txt", "home:m")
	if !strings.HasPrefix(m, "URI:SSK:") || !strings.HasPrefix(w.run(0, "put", "--format=mdmf", "f.txt"), "URI:MDMF:") {
		t.Error(m)
	}
	w.write("m.cap", m)
	if got := w.feed(0, "two", "put", "-", "@m.cap"); got != m || w.run(0, "get", "home:m") != "two" {
		t.Errorf("%q", got)
	}
	if got := w.feed(0, "three", "put", "-", "home:m"); got != m || w.run(0, "get", "@m.cap") != "three" {
		t.Errorf("%q", got)
	}
	w.says(w.feed(0, "x", "put", "--json", "-", "home:new"), `"created":true`)
	for _, tt := range []struct {
		says string
		args []string
	}{
		{"try again, perhaps with home:oops", []string{"f.txt", "home:/oops"}},
		{"try again, perhaps with oops", []string{"f.txt", "/oops"}},
		{"standard input has no name", []string{"-", "home:"}},
		{"is a folder", []string{".", "home:x"}},
		{"--format is CHK, SDMF or MDMF", []string{"--format=x", "f.txt"}},
		{"is for mutable files", []string{"--private-key-path=f.txt", "f.txt"}},
		{"is of no use", []string{"-m", "--private-key-path=f.txt", "f.txt"}},
		{"the file is immutable", []string{"f.txt", strings.TrimSpace(unlinked)}},
		{"none called home:f.txt", []string{"home:f.txt"}},
	} {
		w.run(1, append([]string{"put"}, tt.args...)...)
		w.says(w.err, tt.says)
	}
}

func TestMkdir(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	cap := w.run(0, "mkdir", "home:a/b/c")
	if got := w.run(0, "mkdir", "home:a/b/c/"); got != cap || w.tree("home:") != "a/\na/b/\na/b/c/\n" {
		t.Errorf("%q %s", got, w.tree("home:"))
	}
	w.says(w.run(0, "mkdir"), "URI:DIR2:")
	w.says(w.run(0, "mkdir", "--json"), `{"cap":"URI:DIR2:`)
	w.run(1, "mkdir", "home:")
	w.run(1, "mkdir", "--format=CHK")
	w.feed(0, "x", "put", "-", "home:f")
	w.run(1, "mkdir", "home:f/x") // the Python program exits with 0
	w.says(w.err, "the directory was not made")
}

func TestMvLnUnlink(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.run(0, "create-alias", "fun")
	for _, name := range []string{"home:a", "home:d/b", "home:d/e/c"} {
		w.feed(0, name, "put", "-", name)
	}
	w.gw.asked()
	for _, tt := range []struct {
		args     []string
		requests int
	}{
		{[]string{"mv", "home:a", "home:a2"}, 1},
		{[]string{"mv", "home:a2", "home:a2"}, 1},
		{[]string{"mv", "home:a2", "home:d/"}, 1},
		{[]string{"mv", "home:d/b", "fun:"}, 1},
		{[]string{"mv", "home:d/e", "fun:new/dirs/e"}, 4},
		{[]string{"ln", "fun:b", "home:b"}, 2},
		{[]string{"ln", "fun:new", "home:x/y/"}, 4},
		{[]string{"unlink", "home:b"}, 1},
	} {
		w.run(0, tt.args...)
		if asked := w.gw.asked(); len(asked) != tt.requests || w.out != "OK\n" && w.out != "200 OK\n" {
			t.Errorf("%q takes %q and prints %q", tt.args, asked, w.out)
		}
	}
	if got, want := w.tree("home:"), "d/\nd/a2=home:a\nx/\nx/y/\nx/y/new/\nx/y/new/dirs/\nx/y/new/dirs/e/\nx/y/new/dirs/e/c=home:d/e/c\n"; got != want {
		t.Errorf("home:\n%s", got)
	}
	if got, want := w.tree("fun:"), "b=home:d/b\nnew/\nnew/dirs/\nnew/dirs/e/\nnew/dirs/e/c=home:d/e/c\n"; got != want {
		t.Errorf("fun:\n%s", got)
	}
	w.run(1, "mv", "fun:b", "fun:new")
	w.says(w.err, "fun:new is a directory, and is not replaced")
	w.run(1, "mv", "fun:none", "fun:x")
	w.says(w.err, "no such file or directory: fun:none")
	w.run(1, "mv", "fun:none", "fun:not/there/x")
	w.says(w.err, "no such file or directory: fun:none")
	w.run(1, "mv", "fun:new", "fun:new/dirs/")
	w.says(w.err, "cannot be moved into itself")
	w.run(1, "mv", "URI:LIT:nbswy3dp", "fun:x")
	w.says(w.err, "tahoe ln")
	w.run(1, "ln", "URI:LIT:nbswy3dp", "fun:")
	w.says(w.err, "has no name")
	w.run(0, "ln", "URI:LIT:nbswy3dp", "fun:lit")
	w.says(w.run(0, "get", "fun:lit"), "hello")
	w.run(1, "unlink", "home:none")
	w.run(1, "rm", "home:")
	w.says(w.err, "a path must be given")
	w.run(0, "rm", "fun:lit", "fun:b")
}

func TestManifestAndStats(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.feed(0, "x", "put", "-", "home:d/a")
	m := w.run(0, "manifest", "home:")
	if lines := strings.Split(strings.TrimSpace(m), "\n"); len(lines) != 3 || !strings.HasSuffix(lines[1], " d") || !strings.HasSuffix(lines[2], "URI:LIT:pa d/a") {
		t.Errorf("%q", m)
	}
	w.says(w.run(0, "manifest", "--verify-cap", "home:"), "URI:DIR2-Verifier:")
	w.says(w.run(0, "manifest", "-r", "home:"), `{"type": "stats", "stats": {}}`)
	w.run(1, "manifest", "-r", "-s", "home:")
	w.run(1, "manifest", "home:none")
	s := w.run(0, "stats", "home:")
	want := "Counts and Total Sizes:\n" +
		"         count-files: 2\n" +
		"   count-directories: 1\n" +
		"size-immutable-files: 123456  (123 kB, 121 KiB)\n" +
		"Size Histogram:\n  0-0   : 1    0 B\n  ...\n101-316 : 1    316 B\n"
	if s != want {
		t.Errorf("%s", s)
	}
	w.says(w.run(0, "stats", "--raw", "home:"), `"finished": true`)
}

func TestWebopen(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	root := w.cap("home:")
	want := w.gw.URL + "uri/" + strings.ReplaceAll(root.Reveal(), ":", "%3A") + "/a%20b?t=info\n"
	if got := w.run(0, "webopen", "--print", "-i", "home:a b"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := w.run(0, "webopen", "--print"); got != w.gw.URL+"\n" {
		t.Errorf("%q", got)
	}
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.run(0, "create-alias", "host")
	w.feed(0, "x", "put", "-", "home:dir/file")
	w.feed(0, "x", "put", "-", "home:other")
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"ls", "ho"}, []string{"home:", "host:"}},
		{[]string{"ls", "home:"}, []string{"home:dir/", "home:other"}},
		{[]string{"get", "home:d"}, []string{"home:dir/"}},
		{[]string{"unlink", "home:dir/f"}, []string{"home:dir/file"}},
		{[]string{"put", "file", "home:o"}, []string{"home:other"}},
		{[]string{"put", "h"}, nil},
		{[]string{"cp", "x", "hos"}, []string{"host:"}},
	} {
		out := w.run(0, append([]string{"__complete"}, tt.args...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if got := lines[:len(lines)-1]; !slices.Equal(got, tt.want) && len(got)+len(tt.want) > 0 {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
}
