// Command bench prints how fast the program is on this machine: `make bench`.
// Each row has what was measured, the target where the project has one, and
// beside it what the bare machine would allow: its hash, cipher, TLS and disk,
// when nothing else costs anything.
//
// It measures nothing by itself below the level of processes: those rows come
// from the packages' own Go benchmarks. The rows from grid on run bin/tahoe
// (or $TAHOE) as separate processes, on loopback and on a private Tor network.
// It judges nobody: it exits 0 whatever the figures. Sections can be chosen:
//
//	scripts/bench codec server grid foolscap files tor cost
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	out    *table
	tahoe  string // the program
	dir    string // for nodes
	rounds int    // repetitions of what is short
	m      machine
}

var sections = []struct {
	name, title string
	run         func(*bench, context.Context) error
}{
	{"codec", "Codecs: MB/s of plaintext, one file", (*bench).codec},
	{"server", "One storage server, TLS on loopback, both ends on this machine", (*bench).server},
	{"grid", "A grid on loopback: 10 server processes, 1 client process, clear TCP, 3 of 10", (*bench).grid},
	{"foolscap", "The same grid by Foolscap", (*bench).foolscap},
	{"files", "Mutable files, directories and trees on the same grid", (*bench).files},
	{"tor", "A private Tor network: onion servers, an anonymous client with a tor of its own", (*bench).tor},
	{"cost", "What Tor costs: servers in the clear, through an exit and as onions", (*bench).cost},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, wanted []string) (err error) {
	for _, w := range wanted {
		if !slices.ContainsFunc(sectionNames(), func(n string) bool { return n == w }) {
			return fmt.Errorf("no section %q; there are %s", w, strings.Join(sectionNames(), ", "))
		}
	}
	b := &bench{out: newTable(os.Stdout), tahoe: "bin/tahoe", rounds: 3}
	if t := os.Getenv("TAHOE"); t != "" {
		b.tahoe = t
	}
	if b.tahoe, err = filepath.Abs(b.tahoe); err != nil {
		return err
	}
	if _, err := os.Stat(b.tahoe); err != nil {
		return fmt.Errorf("no program at %s; build it with: make build", b.tahoe)
	}
	if b.dir, err = os.MkdirTemp("", "tahoe-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)

	fmt.Printf("%s, %d processors, %s, %s\n", processor(), runtime.NumCPU(), runtime.Version(), time.Now().Format(time.DateOnly))
	if b.m, err = measureMachine(ctx); err != nil {
		return err
	}
	fmt.Println(b.m)
	for _, s := range sections {
		if len(wanted) > 0 && !slices.Contains(wanted, s.name) {
			continue
		}
		b.out.title(s.title)
		if err := s.run(b, ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	b.out.summary()
	return nil
}

func sectionNames() []string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}
