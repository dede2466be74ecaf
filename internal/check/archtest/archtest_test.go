package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// The tree itself breaks no rule.
func TestThisTree(t *testing.T) {
	root := moduleRoot(t)
	folders := goFolders(t, root)
	tree, err := Load(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range tree.Check(Rules) {
		t.Errorf("%v\n\t(%s)", v, why(v.Rule))
	}
	// A folder that was not loaded was not checked either.
	for _, folder := range folders {
		if !slices.ContainsFunc(tree.Packages, func(p *Package) bool { return p.Path == folder }) {
			t.Errorf("%s has Go files and none of them is for this system", folder)
		}
	}
}

func why(rule string) string {
	for _, r := range Rules {
		if r.Name == rule {
			return r.Why
		}
	}
	return ""
}

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
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above")
		}
		dir = filepath.Dir(dir)
	}
}

// goFolders returns the folders with Go files. Reading them here also tells go
// test that its cached result depends on them.
func goFolders(t *testing.T, root string) []string {
	t.Helper()
	var folders []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (name == "testdata" || name == "vendor" || name[0] == '.' || name[0] == '_') {
			return filepath.SkipDir
		}
		if rel, _ := filepath.Rel(root, filepath.Dir(path)); strings.HasSuffix(path, ".go") && !slices.Contains(folders, filepath.ToSlash(rel)) {
			folders = append(folders, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

// The program is one for every system that we build it for (make cross builds
// it in truth).
func TestOtherSystems(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(moduleRoot(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	_, systems, _ := strings.Cut(string(makefile), "\nPLATFORMS := ")
	systems, _, _ = strings.Cut(systems, "\n")
	if len(strings.Fields(systems)) < 4 {
		t.Fatalf("the Makefile names too few systems: %q", systems)
	}
	for _, s := range strings.Fields(systems) {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			if err := CheckTypes(moduleRoot(t), s, "./cmd/tahoe"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every violation planted in testdata/planted.txtar is found on its line, by
// its rule, and nothing else is. A line "// want: rule; rule" says what breaks
// on it.
func TestPlanted(t *testing.T) {
	archive, err := txtar.ParseFile(filepath.Join("testdata", "planted.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	var want []string
	bites := map[string]bool{}
	for _, f := range archive.Files {
		name := filepath.Join(root, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(f.Data), "\n") {
			if _, rules, ok := strings.Cut(line, "// want: "); ok {
				for rule := range strings.SplitSeq(rules, "; ") {
					want = append(want, fmt.Sprintf("%s:%d: %s", f.Name, i+1, rule))
					bites[rule] = true
				}
			}
		}
	}
	tree, err := Load(root, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range tree.Check(Rules) {
		got = append(got, fmt.Sprintf("%s:%d: %s", v.Pos.Filename, v.Pos.Line, v.Rule))
		if t.Failed() {
			t.Log(v)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	got, want = slices.Compact(got), slices.Compact(want)
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("found, and not planted: %s", g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("planted, and not found: %s", w)
		}
	}
	for _, r := range Rules {
		if !bites[r.Name] {
			t.Errorf("nothing planted for the rule %q", r.Name)
		}
	}
}

func TestBrokenTree(t *testing.T) {
	root := t.TempDir()
	os.WriteFile(filepath.Join(root, "go.mod"), []byte("module tahoe-go\ngo 1.26\n"), 0o644)
	os.WriteFile(filepath.Join(root, "x.go"), []byte("package x\nvar y = z\n"), 0o644)
	os.Mkdir(filepath.Join(root, "docs"), 0o755)
	if _, err := Load(root, nil); err == nil {
		t.Error("loaded a tree without a table of floors")
	}
	os.WriteFile(filepath.Join(root, "docs", "design.md"), []byte("| 0 | `a/` | `b` | |\n| 1 | `c/` | `d` | |\n"), 0o644)
	if _, err := Load(root, nil); err == nil || !strings.Contains(err.Error(), "does not compile") {
		t.Errorf("loading what does not compile: %v", err)
	}
}

// What only another system's compiler would refuse is found, inside a function
// as well.
func TestBrokenOnOtherSystem(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":         "module tahoe-go\ngo 1.26\n",
		"main.go":        "package main\nimport \"tahoe-go/a\"\nfunc main() { a.F() }\n",
		"a/a.go":         "package a\nfunc F() { f() }\n",
		"a/a_linux.go":   "package a\nfunc f() {}\n",
		"a/a_windows.go": "package a\nimport \"syscall\"\nfunc f() { syscall.Kill(1, 9) }\n",
		"a/a_plan9.go":   "package a\n",
		"a/a_darwin.go":  "package a\nimport \"os\"\nfunc f() {}\n",
		"a/a_freebsd.go": "package a\nfunc f() int {}\n",
		"a/a_illumos.go": "package a\nfunc f() { var g = 0 }\n",
	} {
		os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755)
		os.WriteFile(filepath.Join(root, name), []byte(text), 0o644)
	}
	for system, want := range map[string]string{
		"linux/arm64":   "",
		"windows/amd64": "undefined: syscall.Kill",
		"plan9/amd64":   "undefined: f",
		"darwin/arm64":  "imported and not used",
		"freebsd/amd64": "missing return",
		"illumos/amd64": "declared and not used",
	} {
		err := CheckTypes(root, system, ".")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", system, err, want)
		}
	}
}
