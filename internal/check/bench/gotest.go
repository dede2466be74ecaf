package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// result is what one Go benchmark reported, by unit: "ns/op", "MB/s".
type result map[string]float64

// goBench runs the benchmarks of a package that match and returns their
// results by name.
func (b *bench) goBench(ctx context.Context, pkg, match, benchtime string) (map[string]result, error) {
	// Built first, so that the compiler does not count as somebody else.
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", os.DevNull, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the benchmarks of %s: %w\n%s", pkg, err, out)
	}
	start, all := time.Now(), busy()
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", match, "-benchtime", benchtime, "-timeout", "30m", pkg)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench of %s: %w\n%s%s", pkg, err, stderr.Bytes(), tail(out, 2000))
	}
	own := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() // of the children too
	b.out.say("%s: meanwhile others used %d %% of the machine", pkg, share(busy()-all-own, time.Since(start)))
	rs := map[string]result{}
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		if name, r, ok := parseBench(sc.Text(), runtime.NumCPU()); ok {
			rs[name] = r
		}
	}
	if len(rs) == 0 {
		return nil, fmt.Errorf("no benchmark of %s matches %q", pkg, match)
	}
	return rs, nil
}

func tail(b []byte, n int) []byte { return b[max(len(b)-n, 0):] }

// parseBench reads a line of go test: the name, which ends in the number of
// processors if that is not one, how often it ran, then values and units.
func parseBench(line string, cpus int) (name string, r result, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
		return "", nil, false
	}
	name = strings.TrimPrefix(f[0], "Benchmark")
	if cpus > 1 {
		name = strings.TrimSuffix(name, "-"+strconv.Itoa(cpus))
	}
	r = result{}
	for i := 2; i+1 < len(f); i += 2 {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return "", nil, false
		}
		r[f[i+1]] = v
	}
	return name, r, true
}

// codec are the rows of package chk and its kernels.
func (b *bench) codec(ctx context.Context) error {
	rs, err := b.goBench(ctx, "./internal/format/chk", "Encode|Decode|Kernel|Memory", "1s")
	if err != nil {
		return err
	}
	for _, cores := range []int{1, 2} {
		if cores > runtime.NumCPU() {
			continue
		}
		for _, kn := range []string{"3-of-10", "1-of-1", "10-of-30", "71-of-255"} {
			for _, seg := range []string{"1024KiB", "128KiB"} {
				b.codecRows(rs, kn, seg, cores)
			}
		}
	}
	for _, k := range []struct {
		name, what string
		limit      float64
	}{
		{"Kernel/hash", "tagged SHA-256d, one core", b.m.sha},
		{"Kernel/cipher", "AES-128-CTR, one core", b.m.aes},
		{"Kernel/code/3-of-10", "erasure code 3-of-10, one core, 16 KiB stripes", 0},
	} {
		b.out.add(row{name: k.what, got: rs[k.name]["MB/s"], unit: "MB/s", limit: k.limit})
	}
	b.out.add(row{name: "encoder's memory for a 2 GiB stream", got: rs["Memory"]["peak-MB"] * 1e6 / (1 << 20), unit: "MiB"})
	return nil
}

// codecTargets are for 3-of-10 with segments of 1 MiB, by cores.
var codecTargets = map[string][3]float64{
	"EncodeConvergent": {1: 180, 2: 300},
	"Decode":           {1: 600, 2: 1100},
}

func (b *bench) codecRows(rs map[string]result, kn, seg string, cores int) {
	for _, op := range []struct{ bench, suffix, what string }{
		{"EncodeConvergent", "", "encode convergent"},
		{"EncodeRandomKey", "", "encode random key"},
		{"Decode", "/primary", "decode"},
		{"Decode", "/parity", "decode parity"},
	} {
		r := rs[fmt.Sprintf("%s/%s/%s/cores=%d%s", op.bench, kn, seg, cores, op.suffix)]
		if r == nil {
			continue
		}
		w := row{name: fmt.Sprintf("%s %s %s, %s", op.what, kn, seg, plural(cores, "core")),
			got: r["MB/s"], unit: "MB/s", limit: r["limit-MB/s"], note: fmt.Sprintf("%.0f per processor second", r["MB/cpu-s"])}
		if kn == "3-of-10" && seg == "1024KiB" && op.suffix != "/parity" {
			w.target = codecTargets[op.bench][cores]
		}
		b.out.add(w)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// server are the rows of one server and its disk.
func (b *bench) server(ctx context.Context) error {
	rs, err := b.goBench(ctx, "./internal/storage/gbs", "Write|Read|Version", "1s")
	if err != nil {
		return err
	}
	for _, op := range []struct {
		bench, what string
		target      float64
	}{
		{"Write/shares=1", "write a share, discarded", 0},
		{"Write/shares=4", "write 4 shares at once, discarded", 900},
		{"Read/shares=1", "read a share", 0},
		{"Read/shares=4", "read 4 shares at once", 1000},
	} {
		limit := b.m.tls4
		if strings.HasSuffix(op.bench, "=1") {
			limit = b.m.tls1
		}
		b.out.add(row{name: op.what, got: rs[op.bench]["MB/s"], unit: "MB/s", target: op.target, limit: limit})
	}
	fs, err := b.goBench(ctx, "./internal/storage/foolscapstore", "Write|Read", "1s")
	if err != nil {
		return err
	}
	for _, op := range []struct {
		bench, what string
		target      float64
	}{
		{"Write", "Foolscap: write a share of 100 MiB, discarded", 80},
		{"Read/350KiB", "Foolscap: read a share of 100 MiB", 250},
	} {
		b.out.add(row{name: op.what, got: fs[op.bench]["MB/s"], unit: "MB/s", target: op.target, limit: b.m.tls1})
	}
	b.out.add(row{name: "version, asked and answered", got: rs["Version"]["ns/op"] / 1e6, unit: "ms"})
	if rs, err = b.goBench(ctx, "./internal/storage/diskstore", "Create", "1s"); err != nil {
		return err
	}
	b.out.add(row{name: "create a share of 44 KiB, on disk", got: rs["Create"]["ns/op"] / 1e6, unit: "ms", limit: rs["CreateRaw"]["ns/op"] / 1e6,
		note: "limit: one file written, synced, renamed, its folder synced"})
	return nil
}
