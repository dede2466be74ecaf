package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a node directory.
type Problem struct {
	File   string // relative to the node directory
	Line   int    // 0: no line to point at
	Key    string // "[section] key", "[section]" or ""
	Why    string
	Remedy string // what to do about it; may be ""
	Later  bool   // nothing wrong, but not supported yet
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Why)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// Problems is an error that prints one problem a line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort puts them in the order of the files: tahoe.cfg first.
func (ps Problems) sort() {
	rank := func(p Problem) int {
		if p.File == FileName {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.File, b.File), a.Line-b.Line)
	})
}

// orNil is ps as an error: nil if there are none.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// NewProblem is a problem with a key of tahoe.cfg that shows only where the
// node runs: line 0.
func NewProblem(key, why, remedy string) Problem {
	return Problem{File: FileName, Key: key, Why: why, Remedy: remedy}
}
