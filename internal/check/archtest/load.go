package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// listed is what go list says of a package.
type listed struct {
	ImportPath     string // with " [p.test]" for a variant made for p's tests
	ForTest        string
	Dir            string
	Export         string // file of compiled types
	DepOnly        bool   // not asked for itself
	GoFiles        []string
	IgnoredGoFiles []string
	Imports        []string
	ImportMap      map[string]string
}

// Load reads the module at root with its tests, as it is shipped: without cgo.
// env is the go command's environment, nil for ours. Load fails if anything does not compile, since
// what has no types is not checked.
func Load(root string, env []string) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet(), root: root, deps: map[string][]string{}}
	var err error
	if t.Table, err = readTable(filepath.Join(root, "docs", "design.md")); err != nil {
		return nil, err
	}
	all, err := goList(root, env, "-export", "-test", "./...")
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for _, l := range all {
		exports[l.ImportPath] = l.Export
		if l.ForTest == "" {
			t.deps[l.ImportPath] = l.Imports
		}
	}
	// The variant for a package's own tests has its files and more: take it
	// before the plain one.
	slices.SortStableFunc(all, func(a, b listed) int { return strings.Compare(b.ImportPath, a.ImportPath) })
	pkgs, seen := map[string]*Package{}, map[string]bool{}
	for _, l := range all {
		path, variant, _ := strings.Cut(l.ImportPath, " ")
		if l.DepOnly || strings.HasSuffix(path, ".test") || variant != "" && variant != "["+l.ForTest+".test]" {
			continue
		}
		path = strings.TrimPrefix(strings.TrimSuffix(path, "_test"), module+"/")
		if pkgs[path] == nil {
			pkgs[path] = &Package{Path: path}
			t.Packages = append(t.Packages, pkgs[path])
		}
		if err := t.addFiles(pkgs[path], l, exports, seen); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

func goList(root string, env []string, args ...string) ([]listed, error) {
	if env == nil {
		env = os.Environ()
	}
	cmd := exec.Command("go", append([]string{"list", "-deps",
		"-json=ImportPath,ForTest,Dir,Export,DepOnly,GoFiles,IgnoredGoFiles,Imports,ImportMap"}, args...)...)
	cmd.Dir, cmd.Env = root, append(env[:len(env):len(env)], "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("does not compile: go list: %w\n%s", err, stderr.Bytes())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
}

// addFiles parses and types the files of l that are not seen yet.
func (t *Tree) addFiles(pkg *Package, l listed, exports map[string]string, seen map[string]bool) error {
	parse := func(name string) (*ast.File, error) {
		return parser.ParseFile(t.fset, filepath.Join(l.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
	}
	isTest := func(name string) bool { return strings.HasSuffix(name, "_test.go") }
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Instances: map[*ast.Ident]types.Instance{}}
	var files []*ast.File
	fresh := false
	for _, name := range l.GoFiles {
		f, err := parse(name)
		if err != nil {
			return err
		}
		files = append(files, f)
		if full := filepath.Join(l.Dir, name); !seen[full] {
			seen[full], fresh = true, true
			pkg.Files = append(pkg.Files, &File{pkg, f, info, isTest(name)})
		}
	}
	for _, name := range l.IgnoredGoFiles {
		if full := filepath.Join(l.Dir, name); !seen[full] {
			seen[full] = true
			f, err := parse(name)
			if err != nil {
				return err
			}
			pkg.Files = append(pkg.Files, &File{pkg, f, nil, isTest(name)})
		}
	}
	if !fresh {
		return nil
	}
	// An importer of its own: two variants of one package must not meet in it.
	conf := types.Config{Importer: importer.ForCompiler(t.fset, "gc", func(path string) (io.ReadCloser, error) {
		if to, ok := l.ImportMap[path]; ok {
			path = to
		}
		return os.Open(exports[path])
	})}
	path, _, _ := strings.Cut(l.ImportPath, " ")
	if _, err := conf.Check(path, t.fset, files, info); err != nil {
		return fmt.Errorf("%s does not compile: %w", l.ImportPath, err)
	}
	return nil
}
