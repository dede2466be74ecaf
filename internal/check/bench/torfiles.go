package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// torFileTargets are seconds on the slower network with all servers, by row.
var torFileTargets = map[string]float64{"ls of a three-level path": 1.2, "mkdir a/b/c": 4, "SDMF 10 KiB overwrite": 0.8}

// torFiles measures mutable files and directories of a client over Tor, each
// right after the other: an overwrite relies on what the gateway has seen some
// seconds before, and so does the path, but for its first run.
func (r *rig) torFiles(ctx context.Context, delay time.Duration) error {
	w, err := r.web()
	if err != nil {
		return err
	}
	defer w.close()
	t := r.timings()
	// ask measures a request; the answer is a cap, mostly.
	ask := func(name, method, path string, body []byte) (string, error) {
		var answer []byte
		took, err := r.retry(ctx, func(ctx context.Context) (took time.Duration, err error) {
			answer, took, err = w.do(ctx, method, path, body)
			return took, err
		})
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if name != "" {
			t.add(name, took)
		}
		return "/uri/" + url.PathEscape(string(bytes.TrimSpace(answer))), nil
	}
	for range r.b.rounds {
		file, err := ask("SDMF 10 KiB create", http.MethodPut, "/uri?format=sdmf", r.file(10<<10))
		if err != nil {
			return err
		}
		if _, err := ask("SDMF 10 KiB overwrite", http.MethodPut, file, r.file(10<<10)); err != nil {
			return err
		}
		if _, err := ask("SDMF 10 KiB read", http.MethodGet, file, nil); err != nil {
			return err
		}
		root, err := ask("mkdir", http.MethodPost, "/uri?t=mkdir", nil)
		if err != nil {
			return err
		}
		if _, err := ask("mkdir a/b/c", http.MethodPut, root+"/a/b/c?t=mkdir", nil); err != nil {
			return err
		}
		if _, err := ask("ls of a three-level path", http.MethodGet, root+"/a/b/c?t=json", nil); err != nil {
			return err
		}
	}
	for _, name := range t.names {
		runs := t.runs[name]
		row := row{name: fmt.Sprintf("%s, %s, %v per link", name, plural(len(r.servers), "server"), delay), got: median(runs).Seconds(), unit: "s", note: spell(runs)}
		if len(r.servers) == torServers && delay == torDelay {
			row.target = torFileTargets[name]
		}
		r.b.out.add(row)
	}
	return nil
}
