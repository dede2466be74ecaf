package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// row is one line of the table. Values are in unit; 0 means there is none.
type row struct {
	name   string
	got    float64
	unit   string
	target float64
	limit  float64 // what the machine would allow
	note   string
}

// units in which less is better.
var lessIsBetter = []string{"s", "ms", "MiB", "% of a core"}

// met reports whether the target was reached.
func (r row) met() bool {
	if slices.Contains(lessIsBetter, r.unit) {
		return r.got <= r.target
	}
	return r.got >= r.target
}

// table prints rows as they come.
type table struct {
	w            io.Writer
	targets, met int
	missed       []row
}

func newTable(w io.Writer) *table { return &table{w: w} }

func (t *table) title(s string) {
	fmt.Fprintf(t.w, "\n%s\n  %-64s %18s %9s %9s\n", s, "", "measured", "target", "limit")
}

func (t *table) add(r row) {
	verdict := ""
	if r.target > 0 {
		t.targets++
		if r.met() {
			t.met++
		} else {
			verdict = "MISSED"
			t.missed = append(t.missed, r)
		}
	}
	fmt.Fprintln(t.w, strings.TrimRight(fmt.Sprintf("  %-64s %8s %-9s %9s %9s  %-6s %s", r.name, cmp.Or(number(r.got), "0"), r.unit, number(r.target), number(r.limit), verdict, r.note), " "))
}

// say prints a remark between rows.
func (t *table) say(format string, args ...any) {
	fmt.Fprintf(t.w, "  %s\n", fmt.Sprintf(format, args...))
}

func (t *table) summary() {
	if t.targets == 0 {
		return
	}
	fmt.Fprintf(t.w, "\n%d of %d targets met\n", t.met, t.targets)
	for _, r := range t.missed {
		fmt.Fprintf(t.w, "  missed: %s: %s %s, target %s\n", r.name, cmp.Or(number(r.got), "0"), r.unit, number(r.target))
	}
}

// number has three digits or so.
func number(x float64) string {
	switch {
	case x == 0:
		return ""
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	case x >= 0.1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

// median of durations; 0 of none.
func median(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(ds))
	return s[len(s)/2]
}
