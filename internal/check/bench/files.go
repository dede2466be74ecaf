package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tahoe-go/internal/network/netx"
)

// entries is how many children the large directory has.
const entries = 1000

// fileTargets are a fifth of what the reference takes over HTTPS storage, or
// less: seconds, by row.
var fileTargets = map[string]float64{
	"SDMF 1 MiB create": 0.108, "SDMF 1 MiB overwrite": 0.08, "SDMF 1 MiB read": 0.014,
	"MDMF 10 MiB create": 0.166, "MDMF 10 MiB overwrite": 0.106, "MDMF 10 MiB read": 0.168,
	"mkdir": 0.06, "mkdir with 1,000 entries": 0.08, "list 1,000 entries": 0.05, "add to 1,000 entries": 0.152,
	"cp -r of 1,000 files of 10 KiB": 28.9, "backup again, nothing changed": 5,
}

// stockTime is for the client to make its first stock of keys: what is measured
// is a node that has been up for a moment.
const stockTime = 3 * time.Second

// files are the rows of mutable files, directories and the commands that make
// many of them.
func (b *bench) files(ctx context.Context) (err error) {
	r, err := b.startGrid(ctx)
	if err != nil {
		return errors.Join(err, r.stop())
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	r.data = randomBytes(10 * mib)
	time.Sleep(stockTime)
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.mutable(ctx, "SDMF", 1) },
		func(ctx context.Context) error { return r.mutable(ctx, "MDMF", 10) },
		r.directories, r.trees,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// web is the gateway as a browser sees it.
type web struct {
	base   string
	client *http.Client
}

func (r *rig) web() (*web, error) {
	text, err := os.ReadFile(filepath.Join(r.client.Dir, "node.url"))
	if err != nil {
		return nil, err
	}
	base := strings.TrimSpace(string(text))
	return &web{strings.TrimSuffix(base, "/"), netx.HTTPClient(netx.Loopback{}, netx.Addr{}, nil, netx.HTTPOptions{})}, nil
}

func (w *web) close() { w.client.CloseIdleConnections() }

// do sends a request and returns the answer's body, and how long both took.
func (w *web) do(ctx context.Context, method, path string, body []byte) ([]byte, time.Duration, error) {
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "text/plain")
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s: %s", method, resp.Status, tail(answer, 300))
	}
	return answer, time.Since(start), err
}

// timings are the durations of several runs, by row.
type timings struct {
	r     *rig
	names []string
	runs  map[string][]time.Duration
	cpu   map[string][3]time.Duration // client, servers, strangers: of all runs
	last  [3]time.Duration
}

func (r *rig) timings() *timings {
	t := &timings{r: r, runs: map[string][]time.Duration{}, cpu: map[string][3]time.Duration{}}
	t.begin()
	return t
}

// begin is where the processors' time of the next run counts from.
func (t *timings) begin() {
	t.last = [3]time.Duration{t.r.clientCPU(), t.r.serverCPU(), busy() - ownCPU()}
}

// add notes a run, which has just ended.
func (t *timings) add(name string, took time.Duration) {
	if t.runs[name] == nil {
		t.names = append(t.names, name)
	}
	t.runs[name] = append(t.runs[name], took)
	before := t.last
	t.begin()
	used := t.cpu[name]
	client, servers := t.last[0]-before[0], t.last[1]-before[1]
	t.cpu[name] = [3]time.Duration{used[0] + client, used[1] + servers, used[2] + t.last[2] - before[2] - client - servers}
}

// rows prints the medians.
func (t *timings) rows(target map[string]float64) {
	for _, name := range t.names {
		n := float64(len(t.runs[name]))
		cpu := t.cpu[name]
		t.r.b.out.add(row{name: name, got: median(t.runs[name]).Seconds(), unit: "s", target: target[name],
			note: fmt.Sprintf("%s; processor time of a run: client %.0f, servers %.0f, strangers %.0f ms", spellMS(t.runs[name]), ms(cpu[0])/n, ms(cpu[1])/n, ms(cpu[2])/n)})
	}
}

func spellMS(runs []time.Duration) string {
	var s []string
	for _, d := range runs {
		s = append(s, fmt.Sprintf("%.0f", ms(d)))
	}
	return "runs: " + strings.Join(s, " ") + " ms"
}

// mutable makes, overwrites and reads a mutable file.
func (r *rig) mutable(ctx context.Context, format string, size int) error {
	w, err := r.web()
	if err != nil {
		return err
	}
	defer w.close()
	t := r.timings()
	name := fmt.Sprintf("%s %d MiB ", format, size)
	rounds := r.b.rounds
	if size == 1 { // what takes milliseconds is measured more often
		rounds *= 3
	}
	for range rounds {
		cap, took, err := w.do(ctx, http.MethodPut, "/uri?format="+format, r.file(size*mib))
		if err != nil {
			return fmt.Errorf("%screate: %w", name, err)
		}
		t.add(name+"create", took)
		at := "/uri/" + url.PathEscape(string(bytes.TrimSpace(cap)))
		data := r.file(size * mib)
		if _, took, err = w.do(ctx, http.MethodPut, at, data); err != nil {
			return fmt.Errorf("%soverwrite: %w", name, err)
		}
		t.add(name+"overwrite", took)
		got, took, err := w.do(ctx, http.MethodGet, at, nil)
		if err != nil {
			return fmt.Errorf("%sread: %w", name, err)
		}
		if !bytes.Equal(got, data) {
			return errors.New("what came back is not what was put")
		}
		t.add(name+"read", took)
	}
	t.rows(fileTargets)
	return nil
}

// directories makes, lists and changes directories.
func (r *rig) directories(ctx context.Context) error {
	w, err := r.web()
	if err != nil {
		return err
	}
	defer w.close()
	t := r.timings()
	for range 3 * r.b.rounds {
		_, took, err := w.do(ctx, http.MethodPost, "/uri?t=mkdir", nil)
		if err != nil {
			return fmt.Errorf("mkdir: %w", err)
		}
		t.add("mkdir", took)
	}
	_, children, err := r.children(ctx, w)
	if err != nil {
		return err
	}
	for range r.b.rounds {
		cap, took, err := w.do(ctx, http.MethodPost, "/uri?t=mkdir-with-children", children)
		if err != nil {
			return fmt.Errorf("mkdir with children: %w", err)
		}
		t.add("mkdir with 1,000 entries", took)
		at := "/uri/" + url.PathEscape(string(bytes.TrimSpace(cap)))
		for range r.b.rounds {
			list, took, err := w.do(ctx, http.MethodGet, at+"/?t=json", nil)
			if err != nil {
				return fmt.Errorf("list: %w", err)
			}
			if n := bytes.Count(list, []byte(`"entry `)); n != entries {
				return fmt.Errorf("%d entries in the list", n)
			}
			t.add("list 1,000 entries", took)
		}
		_, took, err = w.do(ctx, http.MethodPut, at+"/one%20more?t=uri", []byte("URI:LIT:nbswy3dpebwgs5dfojqwy"))
		if err != nil {
			return fmt.Errorf("add: %w", err)
		}
		t.add("add to 1,000 entries", took)
	}
	t.rows(fileTargets)
	return nil
}

// children are entries of a directory, a third of them directories that can be
// written.
func (r *rig) children(ctx context.Context, w *web) (dir string, all []byte, err error) {
	made, _, err := w.do(ctx, http.MethodPost, "/uri?t=mkdir", nil)
	if err != nil {
		return "", nil, err
	}
	chk, _, err := r.put(ctx, r.file(10<<10))
	if err != nil {
		return "", nil, err
	}
	dir = string(bytes.TrimSpace(made))
	type child [2]any
	kids := map[string]child{}
	for i := range entries {
		kids[fmt.Sprintf("entry %d", i)] = child{"filenode", map[string]string{"ro_uri": chk.Reveal()}}
		if i%3 == 0 {
			kids[fmt.Sprintf("entry %d", i)] = child{"dirnode", map[string]string{"rw_uri": dir}}
		}
	}
	all, err = json.Marshal(kids)
	return dir, all, err
}

// trees copies and backs up a folder of small files.
func (r *rig) trees(ctx context.Context) error {
	w, err := r.web()
	if err != nil {
		return err
	}
	defer w.close()
	made, _, err := w.do(ctx, http.MethodPost, "/uri?t=mkdir", nil)
	if err != nil {
		return err
	}
	cap := string(bytes.TrimSpace(made))
	here := filepath.Join(r.grid.Dir, "tree")
	if err := r.writeTree(here); err != nil {
		return err
	}
	t := r.timings()
	for _, c := range []struct {
		name string
		args []string
	}{
		{"cp -r of 1,000 files of 10 KiB", []string{"cp", "-r", here, cap}},
		{"backup of the same", []string{"backup", here, cap + "/backups"}},
		{"backup again, nothing changed", []string{"backup", here, cap + "/backups"}},
	} {
		start := time.Now()
		if _, err := r.grid.Do(ctx, append([]string{"-d", r.client.Dir}, c.args...)...); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		t.add(c.name, time.Since(start))
	}
	t.rows(fileTargets)
	return nil
}

// writeTree writes 1,000 files of 10 KiB into ten folders.
func (r *rig) writeTree(dir string) error {
	for i := range 10 {
		sub := filepath.Join(dir, fmt.Sprintf("folder %d", i))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return err
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file %d", j)), r.file(10<<10), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}
