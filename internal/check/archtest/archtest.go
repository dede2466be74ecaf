// Package archtest holds the code to the rules of docs/design.md: what may
// import what, who may touch the network, the environment, the clock. Its own
// test runs every rule over this tree, and over a small tree of planted
// violations to show that each rule bites.
//
// Uses are found by type, so a renamed import or a method value is no way
// round; files for other systems are read without types. What it cannot see:
// reflection, go:linkname, and a tls.Config filled in field by field. Start
// with Load, Rules and Tree.Check.
package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the module whose rules these are.
const module = "tahoe-go"

// Tree is the source of one module, parsed and typed, tests included.
type Tree struct {
	Packages []*Package
	Table    *Table // floors, from docs/design.md

	fset  *token.FileSet
	root  string
	deps  map[string][]string // direct imports of non-test code, by import path, other modules included
	found []Violation
}

// Package is one folder: the package, its tests and its external tests.
type Package struct {
	Path  string // below the module: internal/codec/zfec, cmd/tahoe
	Files []*File
}

// File is one source file.
type File struct {
	Pkg    *Package
	Syntax *ast.File
	Info   *types.Info // nil for a file of another system
	Test   bool        // named _test.go
}

// Violation is a rule broken at a place.
type Violation struct {
	Rule string
	Pos  token.Position // file name below the root; no line for a package as a whole
	Text string
}

// String returns file:line: rule: text.
func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Pos, v.Rule, v.Text) }

// pathTo returns how from comes to import something that is bad, as a chain
// of import paths, or nil.
func (t *Tree) pathTo(from string, bad func(path string) bool) []string {
	seen := map[string]bool{}
	var walk func(at string) []string
	walk = func(at string) []string {
		if seen[at] {
			return nil
		}
		seen[at] = true
		for _, next := range t.deps[at] {
			if bad(next) {
				return []string{at, next}
			}
			if chain := walk(next); chain != nil {
				return append([]string{at}, chain...)
			}
		}
		return nil
	}
	return walk(from)
}

// Check runs the rules and returns what they find, by rule and place.
func (t *Tree) Check(rules []Rule) []Violation {
	t.found = nil
	for _, r := range rules {
		r.check(t, func(pos token.Pos, format string, args ...any) {
			p := t.fset.Position(pos)
			if rel, err := filepath.Rel(t.root, p.Filename); err == nil {
				p.Filename = filepath.ToSlash(rel)
			}
			t.found = append(t.found, Violation{r.Name, p, fmt.Sprintf(format, args...)})
		})
	}
	slices.SortFunc(t.found, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(t.found)
}

// imports returns the paths that a file imports, with their places.
func (f *File) imports() map[string]token.Pos {
	m := map[string]token.Pos{}
	for _, s := range f.Syntax.Imports {
		if path, err := strconv.Unquote(s.Path.Value); err == nil {
			m[path] = s.Pos()
		}
	}
	return m
}

// use is a mention of something of another package.
type use struct {
	pos     token.Pos
	pkg     string // import path of what is mentioned
	name    string // Name, or Type.Method, or .Field
	pointer bool   // as *Name
}

// uses returns every mention in a file of another package's objects. Without
// types, methods and fields are missing.
func (f *File) uses() []use {
	starred := map[ast.Node]bool{} // what stands right behind a *
	names := map[string]string{}   // import name to path, for a file without types
	for path := range f.imports() {
		names[path[strings.LastIndexByte(path, '/')+1:]] = path
	}
	for _, s := range f.Syntax.Imports {
		if s.Name != nil {
			names[s.Name.Name], _ = strconv.Unquote(s.Path.Value)
		}
	}
	var us []use
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StarExpr:
			starred[n.X] = true
		case *ast.SelectorExpr:
			if starred[n] {
				starred[n.Sel] = true
			}
			if x, ok := n.X.(*ast.Ident); ok && f.Info == nil && names[x.Name] != "" {
				us = append(us, use{n.Pos(), names[x.Name], n.Sel.Name, starred[n]})
			}
		case *ast.Ident:
			if f.Info == nil {
				break
			}
			if obj := f.Info.Uses[n]; obj != nil && obj.Pkg() != nil {
				us = append(us, use{n.Pos(), obj.Pkg().Path(), objectName(obj), starred[n]})
			}
		}
		return true
	})
	return us
}

func objectName(obj types.Object) string {
	switch obj := obj.(type) {
	case *types.Var:
		if obj.IsField() {
			return "." + obj.Name()
		}
	case *types.Func:
		if recv := obj.Signature().Recv(); recv != nil {
			return typeName(recv.Type()) + "." + obj.Name()
		}
	}
	return obj.Name()
}

// typeName returns the name of a named type or of a pointer to one, without
// its package; "" for others.
func typeName(ty types.Type) string {
	if p, ok := types.Unalias(ty).(*types.Pointer); ok {
		ty = p.Elem()
	}
	if n, ok := types.Unalias(ty).(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}

// isNamed reports whether ty is the type pkg.name itself, not a pointer to it.
func isNamed(ty types.Type, pkg, name string) bool {
	n, ok := types.Unalias(ty).(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == pkg && n.Obj().Name() == name
}

// below reports whether path is one of the folders or inside one.
func below(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}
