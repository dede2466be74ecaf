package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tahoe-go/internal/format/caps"
)

func TestCpRules(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.write("f", "F")
	w.write("g", long("G"))
	w.write("d/x", "X")
	w.write("d/e/y", "Y")
	w.write("other/x", "X2")
	file := "URI:LIT:nbswy3dp"
	dir := w.gw.mkdir(map[string]fakeChild{"in": {cap: caps.NewLIT([]byte("I"))}})
	w.write("dir.cap", dir.Reveal())
	for _, tt := range []struct {
		args string
		says string // on standard output; or if it begins with !, on standard error of a failure
		tree string // of home: afterwards, if not empty
	}{
		{"f home:f", "Success: file copied", "f=F\n"},
		{"home:f home:g", "Success: file linked", "f=F\ng=F\n"},
		{"g home:g", "Success: file copied", "f=F\ng=GGGGGGGGGGGGGGGGGGGG\n"},
		{"f home:", "Success: files copied", ""},
		{"f home:new/", "!not a directory, but ends with a slash", ""},
		{"f g home:new", "Success: files copied", "f=F\ng=GGGGGGGGGGGGGGGGGGGG\nnew/\nnew/f=F\nnew/g=GGGGGGGGGGGGGGGGGGGG\n"},
		{"d home:", "!copied with --recursive only", ""},
		{"none home:", "!no such file or directory: none", ""},
		{"home:none x", "!no such file or directory: home:none", ""},
		{"f/ home:", "!not a directory", ""},
		{"home:f/ x", "!not a directory, but ends with a slash", ""},
		{"f g home:f", "!takes a directory", ""},
		{"-r d home:f", "!a directory cannot be copied over it", ""},
		{file + " home:", "!has no name", ""},
		{file + " home:lit", "Success: file linked", ""},
		{"/dev/null home:", "!neither a file nor a directory", ""},
		{"-r d other home:two", "Success: files copied", ""},
		{"d/x other/x home:two", "!two of the sources would be home:two/x", ""},
		{"f home:new/deep/er", "Success: file copied", ""},
		{"-r @dir.cap home:plain", "Success: files copied", ""},
		{"-r home:two home:new", "Success: files copied", "f=F\ng=GGGGGGGGGGGGGGGGGGGG\nlit=hello\nnew/\nnew/deep/\nnew/deep/er=F\nnew/f=F\nnew/g=GGGGGGGGGGGGGGGGGGGG\n" +
			"new/two/\nnew/two/d/\nnew/two/d/e/\nnew/two/d/e/y=Y\nnew/two/d/x=X\nnew/two/other/\nnew/two/other/x=X2\nplain/\nplain/in=I\n" +
			"two/\ntwo/d/\ntwo/d/e/\ntwo/d/e/y=Y\ntwo/d/x=X\ntwo/other/\ntwo/other/x=X2\n"},
		{"f home:two/d", "Success: files copied", ""},
		{"-r f home:two/d/x", "Success: file copied", ""},
		{"-r d home:lit", "!a directory cannot be copied over it", ""},
	} {
		code := 0
		says, failing := strings.CutPrefix(tt.says, "!")
		if failing {
			code = 1
		}
		w.run(code, append([]string{"cp"}, strings.Fields(tt.args)...)...)
		said := w.out
		if failing {
			said = w.err
		}
		if !strings.Contains(said, says) {
			t.Errorf("cp %s: %q", tt.args, said)
		}
		if tt.tree != "" {
			if got := w.tree("home:"); got != tt.tree {
				t.Errorf("cp %s:\n%s, want\n%s", tt.args, got, tt.tree)
			}
		}
	}
}

// A tree goes to the grid in few requests, and comes back as it was.
func TestCpTree(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	const dirs, files = 5, 20
	for d := range dirs {
		for f := range files {
			w.write(fmt.Sprintf("src/d%d/sub/f%02d", d, f), long(fmt.Sprint(d, f, " ")))
		}
		w.write(fmt.Sprintf("src/d%d/short", d), "short")
	}
	os.MkdirAll("src/empty", 0o755)
	w.gw.asked()
	var r result
	if err := json.Unmarshal([]byte(w.run(0, "cp", "-r", "--json", "src", "home:")), &r); err != nil || r.Files != dirs*(files+1) || r.Directories != 2*dirs+2 || r.Failed != nil {
		t.Errorf("%+v %v %s", r, err, w.out)
	}
	count := map[string]int{}
	for _, line := range w.gw.asked() {
		count[line]++
	}
	// One look at home:, a request for each file that is not its own cap, one
	// for each directory that is made, one to link all.
	want := map[string]int{"GET CAP json": 1, "PUT uri": dirs * files, "POST uri mkdir-with-children": 2*dirs + 1, "POST uri mkdir": 1, "POST CAP set_children": 1}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("requests %v, want %v", count, want)
	}
	w.run(0, "cp", "-r", "home:src", "back")
	for _, name := range []string{"d0/sub/f00", "d4/sub/f19", "d3/short"} {
		if got, want := w.read("back/src/"+name), w.read("src/"+name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if info, err := os.Stat("back/src/empty"); err != nil || !info.IsDir() {
		t.Error(err)
	}
	if w.run(0, "ls", "-l", "home:src/d0"); strings.Contains(w.out, " - sub") || strings.Contains(w.out, " - short") {
		t.Errorf("no dates:\n%s", w.out)
	}
	// On the grid only caps move.
	w.gw.asked()
	w.run(0, "cp", "-r", "home:src", "home:copy")
	for _, line := range w.gw.asked() {
		if strings.HasPrefix(line, "PUT") || line == "GET CAP" {
			t.Errorf("bytes were copied: %s", line)
		}
	}
	if a, b := w.tree("home:src"), strings.ReplaceAll(w.tree("home:copy/src"), "copy/", ""); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	// --caps-only
	w.run(0, "cp", "-r", "--caps-only", "home:src/d0", "capdir")
	if got := w.read("capdir/d0/sub/f00"); got != w.cap("home:src/d0/sub/f00").Reveal() {
		t.Errorf("%q", got)
	}
}

func TestCpMerges(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.feed(0, "old", "put", "-m", "-", "home:d/mutable")
	w.feed(0, "old", "put", "-", "home:d/replaced")
	w.feed(0, "old", "put", "-", "home:d/kept")
	w.feed(0, "old", "put", "-", "home:d/dir/old")
	before := w.cap("home:d/mutable")
	for _, name := range []string{"mutable", "replaced", "dir/new", "fresh/x"} {
		w.write("d/"+name, "new")
	}
	w.run(0, "cp", "-r", "d", "home:")
	want := "dir/\ndir/new=new\ndir/old=old\nfresh/\nfresh/x=new\nkept=old\nmutable=new\nreplaced=new\n"
	if got := w.tree("home:d"); got != want {
		t.Errorf("%s", got)
	}
	if w.cap("home:d/mutable") != before {
		t.Error("a mutable file lost its cap")
	}
	// A copy of a mutable file is what it held.
	w.run(0, "cp", "home:d/mutable", "home:snapshot")
	w.feed(0, "newer", "put", "-", "home:d/mutable")
	if got := w.run(0, "get", "home:snapshot"); got != "new" {
		t.Errorf("%q", got)
	}
	// Nothing is overwritten by something of another kind.
	w.write("e/dir", "a file")
	w.run(1, "cp", "e/dir", "home:d")
	w.says(w.err, "home:d/dir is a directory, and a file cannot be copied over it")
	w.write("e/kept/x", "a folder")
	w.run(1, "cp", "-r", "e/kept", "home:d")
	w.says(w.err, "home:d/kept is a file, and a directory cannot be copied over it")
	// And here.
	w.write("here/d/dir", "a file")
	w.run(1, "cp", "-r", "home:d", "here")
	w.says(w.err, "is a file, and a directory cannot be copied over it")
	read, _ := caps.Read(w.cap("home:d"))
	w.write("ro.cap", read.Reveal())
	w.run(1, "cp", "e/dir", "@ro.cap:")
	w.says(w.err, "can only be read")
}

func TestCpDryRun(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.write("d/a", long("a"))
	w.write("d/b/c", "c")
	before := w.tree("home:")
	got := w.run(0, "cp", "-r", "--dry-run", "d", "home:")
	want := "store d/a → home:d/a\nstore d/b/c → home:d/b/c\nwould copy 2 files in 102 B, and make 2 directories\n"
	if got != want || w.tree("home:") != before {
		t.Errorf("%q", got)
	}
	w.says(w.run(0, "cp", "-n", "d/a", "home:z"), "store d/a → home:z\n")
	w.says(w.run(0, "cp", "-n", "-r", "--json", "d", "home:"), `{"files":2,"linked":0,"directories":2,"bytes":102,"seconds":0}`)
	w.run(0, "cp", "d/a", "home:z")
	w.says(w.run(0, "cp", "-n", "home:z", "home:y"), "link  home:z → home:y\n")
	w.says(w.run(0, "cp", "-n", "home:z", "there"), "fetch home:z → there\n")
	if _, err := os.Stat("there"); err == nil {
		t.Error("a dry run wrote a file")
	}
}

// What a directory of a stranger holds must not leave the folder that is
// copied to.
func TestCpHostileNames(t *testing.T) {
	w := newWorld(t)
	lit := fakeChild{cap: caps.NewLIT([]byte("evil"))}
	sub := fakeChild{cap: w.gw.mkdir(map[string]fakeChild{"x": lit})}
	loop := w.gw.mkdir(map[string]fakeChild{"fine": lit})
	w.gw.object(loop).children["self"] = fakeChild{cap: loop}
	root := w.gw.mkdir(map[string]fakeChild{
		"..": sub, ".": lit, "../up": lit, "/abs": lit, "a/b": lit, "nul\x00": lit, "": lit, "fine": lit, "loop": {cap: loop}, "later": {cap: caps.Keep("ro.x-new:r", caps.Anywhere)},
	})
	w.write("root.cap", root.Reveal())
	w.write("in/deep/place/x", "")
	w.run(1, "cp", "-r", "@root.cap", "in/deep/place/..")
	w.says(w.err, "2 files copied")
	w.says(w.err, "skipped @root.cap/loop/self: a directory that holds itself")
	var all []string
	filepath.WalkDir(w.dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, strings.TrimPrefix(path, w.dir))
		return err
	})
	if got := strings.Join(all, " "); got != " /in /in/deep /in/deep/fine /in/deep/loop /in/deep/loop/fine /in/deep/place /in/deep/place/x /root.cap" {
		t.Errorf("%q", got)
	}
	// Between directories of the grid any name goes.
	w.run(0, "create-alias", "home")
	w.run(0, "cp", "-r", "@root.cap", "home:all")
	if a, b := len(w.gw.object(w.cap("home:all")).children), len(w.gw.object(root).children); a != b {
		t.Errorf("%d children of %d", a, b)
	}
}

// One file's trouble does not keep the others from being copied.
func TestCpFailures(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	for i := range 8 {
		w.write(fmt.Sprintf("d/f%d", i), long(fmt.Sprint(i)))
	}
	os.Symlink("nowhere", "d/dangling")
	os.Symlink("..", "d/up")
	var n int
	w.gw.refuse = func(r *http.Request) int {
		if r.Method == http.MethodPut && r.URL.Path == "/uri" {
			if n++; n == 3 {
				return 500
			}
		}
		return 0
	}
	w.run(1, "cp", "-r", "d", "home:")
	w.says(w.err, "skipped d/dangling: a link that leads nowhere")
	w.says(w.err, "was not copied: refused, as the test wants it")
	w.says(w.err, "7 files copied, 1 not")
	if got := strings.Count(w.tree("home:d"), "=") - strings.Count(w.tree("home:d/up"), "="); got != 7 {
		t.Errorf("%d files:\n%s", got, w.tree("home:"))
	}
	// When everything fails, it is given up.
	w.gw.refuse = func(r *http.Request) int {
		if r.Method == http.MethodPut {
			return 500
		}
		return 0
	}
	for i := range 50 {
		w.write(fmt.Sprintf("many/f%d", i), long(fmt.Sprint(i, "x")))
	}
	w.gw.asked()
	w.run(1, "cp", "-r", "many", "home:")
	w.says(w.err, "0 of 50 files copied, and the rest was given up")
	if asked := w.gw.asked(); len(asked) > 30 {
		t.Errorf("%d requests", len(asked))
	}
}

func TestCpProgress(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.write("d/a", long("a"))
	w.write("d/b", long("b"))
	w.run(0, "cp", "-r", "--progress=json", "d", "home:")
	w.says(w.err, `{"done":202,"files":2,"files-total":2,"stage":"copying","total":202}`)
	w.run(0, "cp", "-r", "-v", "home:d", "back")
	w.says(w.err, "fetch home:d/a → back/d/a\n")
}

// What is there already is read several directories at a time, and once.
func TestCpMergesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	const dirs = 4
	for d := range dirs {
		w.write(fmt.Sprintf("src/d%d/sub/f", d), "old")
	}
	w.run(0, "cp", "-r", "src", "home:")
	w.write("src/d0/sub/g", "new")
	w.gw.asked()
	var looks atomic.Int32
	together := make(chan struct{})
	w.gw.hold = func(r *http.Request) {
		if r.URL.Query().Get("t") != "json" {
			return
		}
		n := looks.Add(1)
		if n <= 2 || n > 2+dirs {
			return // home: and home:src come first, each by itself, and the directories below those below
		}
		if n == 2+dirs {
			close(together)
		}
		select {
		case <-together:
		case <-time.After(10 * time.Second):
			t.Error("directories are read one after the other")
		}
	}
	w.run(0, "cp", "-r", "src", "home:")
	w.gw.hold = nil
	if n := looks.Load(); n != 2+2*dirs {
		t.Errorf("%d directories were read, want %d", n, 2+2*dirs)
	}
	w.says(w.tree("home:src/d0"), "sub/f=old\nsub/g=new\n")
}

// A file that is replaced by a copy keeps who may read and run it.
func TestCpKeepsPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permissions")
	}
	w := newWorld(t)
	w.run(0, "create-alias", "home")
	w.write("f", "new")
	w.run(0, "put", "f", "home:f")
	for _, perm := range []os.FileMode{0o600, 0o755, 0o666} {
		w.write("copy", "old")
		if err := os.Chmod("copy", perm); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"get", "cp"} {
			w.run(0, command, "home:f", "copy")
			info, err := os.Stat("copy")
			if err != nil || info.Mode().Perm() != perm || w.read("copy") != "new" {
				t.Errorf("%s over a file of %v: %v, %q, %v", command, perm, info.Mode(), w.read("copy"), err)
			}
		}
	}
}
