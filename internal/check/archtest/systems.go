package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
)

// CheckTypes checks the types of the program pkg of the module at root, and of
// all that it imports, for another system, such as "windows/amd64". It finds
// what a compiler would refuse, in our own packages also inside functions, in a
// hundredth of the time that compiling everything takes.
func CheckTypes(root, system, pkg string) error {
	goos, goarch, _ := strings.Cut(system, "/")
	all, err := goList(root, append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch), pkg)
	if err != nil {
		return err
	}
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	for _, l := range all { // go list names what is imported first
		if l.ImportPath == "unsafe" {
			continue
		}
		own := strings.HasPrefix(l.ImportPath, module+"/")
		if checked[l.ImportPath], err = typesOf(l, own, goarch, checked); err != nil && own {
			return fmt.Errorf("for %s: %w", system, err)
		}
	}
	return nil
}

// typesOf checks one package, with its functions only if it is ours.
func typesOf(l listed, own bool, goarch string, checked map[string]*types.Package) (*types.Package, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range l.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	var errs []error
	conf := types.Config{
		IgnoreFuncBodies: !own,
		Sizes:            types.SizesFor("gc", goarch),
		Error:            func(err error) { errs = append(errs, err) },
		Importer: importMap(func(path string) (*types.Package, error) {
			if to, ok := l.ImportMap[path]; ok {
				path = to
			}
			if p := checked[path]; p != nil {
				return p, nil
			}
			return nil, fmt.Errorf("%s is not known", path)
		}),
	}
	p, _ := conf.Check(l.ImportPath, fset, files, nil)
	return p, errors.Join(errs...)
}

type importMap func(path string) (*types.Package, error)

func (m importMap) Import(path string) (*types.Package, error) { return m(path) }
