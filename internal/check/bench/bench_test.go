package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestParseBench(t *testing.T) {
	for _, tt := range []struct {
		line string
		cpus int
		name string
		unit string
		want float64
	}{
		{"BenchmarkKernel/code/3-of-10-2   \t 213028\t 1691 ns/op\t29075.05 MB/s", 2, "Kernel/code/3-of-10", "MB/s", 29075.05},
		{"BenchmarkKernel/code/3-of-10   \t 213028\t 1691 ns/op\t29075.05 MB/s", 1, "Kernel/code/3-of-10", "ns/op", 1691},
		{"BenchmarkMemory-16 \t 1\t 8128404137 ns/op\t 264.19 MB/s\t 27.31 peak-MB", 16, "Memory", "peak-MB", 27.31},
		{"ok  \ttahoe-go/internal/format/chk\t48.987s", 2, "", "", 0},
		{"BenchmarkBroken-2 \t 1\t x ns/op", 2, "", "", 0},
		{"PASS", 2, "", "", 0},
	} {
		name, r, ok := parseBench(tt.line, tt.cpus)
		if name != tt.name || ok != (tt.name != "") || r[tt.unit] != tt.want {
			t.Errorf("parseBench(%q) = %q, %v, %v; want %q with %v %s", tt.line, name, r, ok, tt.name, tt.want, tt.unit)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	tab := newTable(&b)
	tab.title("Things")
	tab.add(row{name: "fast enough", got: 120.4, unit: "MB/s", target: 120})
	tab.add(row{name: "too slow", got: 5, unit: "s", target: 4, note: "why"})
	tab.add(row{name: "quick enough", got: 0.0123, unit: "s", target: 4, limit: 0.5})
	tab.add(row{name: "no target", got: 0, unit: "ms"})
	tab.summary()
	for _, want := range []string{
		"  fast enough                                                           120 MB/s            120\n",
		"  too slow                                                             5.00 s              4.00            MISSED why\n",
		"  quick enough                                                        0.012 s              4.00      0.50\n",
		"  no target                                                               0 ms\n",
		"2 of 3 targets met\n  missed: too slow: 5.00 s, target 4.00\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []time.Duration
		want time.Duration
	}{{nil, 0}, {[]time.Duration{7}, 7}, {[]time.Duration{9, 1, 5}, 5}, {[]time.Duration{4, 1}, 4}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestSections(t *testing.T) {
	if err := run(t.Context(), []string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "codec, server, grid, foolscap, files, tor, cost") {
		t.Errorf("an unknown section: %v", err)
	}
}
