package proof

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// useDirectories has the clients of all roads use every command on directories
// and mutable files.
func (g *grid) useDirectories(t *testing.T) {
	local := g.path("local")
	for name, text := range map[string]string{"one.txt": "the first of two files of more than fifty-five bytes, which go to the servers",
		"below/two.txt": "short", "below/deep/three.bin": string(content(20_000))} {
		file := filepath.Join(local, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, r := range g.roads {
		if r.start {
			continue // stopped
		}
		all.Go(func() { t.Run(r.name, func(t *testing.T) { g.inDirectories(t, r.client, local) }) })
	}
	all.Wait()
}

func (g *grid) inDirectories(t *testing.T, n *node, local string) {
	do := func(stdin string, args ...string) string {
		t.Helper()
		out, _, err := g.do(t.Context(), command{args: append([]string{"-d", n.dir}, args...), stdin: stdin})
		if err != nil {
			t.Fatalf("%v\n%s", err, n.tail(t))
		}
		return out
	}
	tahoe := func(args ...string) string { t.Helper(); return do("", args...) }
	sees := func(want string, args ...string) {
		t.Helper()
		if got := tahoe(args...); !strings.Contains(got, want) {
			t.Errorf("tahoe %s: no %q in:\n%s", strings.Join(args, " "), want, got)
		}
	}
	tahoe("create-alias", "home")
	sees("home", "list-aliases")
	g.keep(tahoe("mkdir", "home:sub/below"))
	loose := filepath.Join(n.dir, "loose.cap")
	if err := os.WriteFile(loose, []byte(g.keep(tahoe("mkdir"))), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = "a file of more than fifty-five bytes, stored at a path, which is not a literal"
	do(text, "put", "-", "home:sub/a.txt")
	notes := filepath.Join(n.dir, "notes.cap")
	if err := os.WriteFile(notes, []byte(g.keep(do("first", "put", "--mutable", "-"))), 0o600); err != nil {
		t.Fatal(err)
	}
	do("second", "put", "-", "@"+notes)
	if got := tahoe("get", "--cap-file="+notes); got != "second" {
		t.Errorf("the mutable file holds %q", got)
	}
	tahoe("ln", "@"+notes, "home:notes")
	tahoe("cp", "-r", local, "home:")
	sees("three.bin", "ls", "-l", "home:local/below/deep")
	if out := tahoe("ls", "--json", "home:"); !json.Valid([]byte(out)) {
		t.Errorf("ls --json: %s", out)
	}
	tahoe("mv", "home:sub/a.txt", "home:sub/b.txt")
	tahoe("unlink", "home:local/one.txt")
	if got := tahoe("get", "home:sub/b.txt", "-"); got != text {
		t.Errorf("the file at a path holds %q", got)
	}
	back := n.dir + ".back"
	tahoe("cp", "-r", "home:local", back)
	want, err := os.ReadFile(filepath.Join(local, "below", "deep", "three.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(back, "local", "below", "deep", "three.bin")); string(got) != string(want) {
		t.Errorf("what was copied to and fro differs: %d bytes, %v", len(got), err)
	}
	sees("ealthy", "check", "home:sub/b.txt")
	sees("ealthy", "check", "--verify", "--add-lease", "home:sub")
	sees("objects", "deep-check", "--add-lease", "home:")
	sees("three.bin", "manifest", "home:")
	sees("count-files", "stats", "--json", "home:")
	sees("3 files uploaded", "backup", local, "home:backups")
	sees("0 files uploaded", "backup", local, "home:backups")
	sees("three.bin", "ls", "home:backups/Latest/below/deep")
	tahoe("webopen", "--print", "home:")
	tahoe("add-alias", "other", "@"+loose)
	n.alive(t)
}

// keep remembers a cap, which must not be found anywhere else.
func (g *grid) keep(out string) (cap string) {
	cap = strings.TrimSpace(out)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writeCaps = append(g.writeCaps, cap)
	return cap
}
