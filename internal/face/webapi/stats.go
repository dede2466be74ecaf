package webapi

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// counters are of this process's life, in files and bytes of plaintext.
type counters struct {
	filesUploaded, bytesUploaded, filesDownloaded, bytesDownloaded atomic.Int64
	// Of mutable files and directories. The bytes of directories count when
	// they are read.
	filesPublished, bytesPublished, filesRetrieved, bytesRetrieved atomic.Int64
}

// figures returns everything counted and measured, by the Python program's
// names.
func (h *Handler) figures() (counters, gauges map[string]float64) {
	counters = map[string]float64{
		"uploader.files_uploaded":     float64(h.stats.filesUploaded.Load()),
		"uploader.bytes_uploaded":     float64(h.stats.bytesUploaded.Load()),
		"downloader.files_downloaded": float64(h.stats.filesDownloaded.Load()),
		"downloader.bytes_downloaded": float64(h.stats.bytesDownloaded.Load()),
		"mutable.files_published":     float64(h.stats.filesPublished.Load()),
		"mutable.bytes_published":     float64(h.stats.bytesPublished.Load()),
		"mutable.files_retrieved":     float64(h.stats.filesRetrieved.Load()),
		"mutable.bytes_retrieved":     float64(h.stats.bytesRetrieved.Load()),
	}
	gauges = map[string]float64{"node.uptime": h.c.Now().Sub(h.started).Seconds()}
	if h.c.Stats != nil {
		c, g := h.c.Stats()
		maps.Copy(counters, c)
		maps.Copy(gauges, g)
	}
	return counters, gauges
}

// statistics answers at /statistics.
func (h *Handler) statistics(q *request) error {
	counters, gauges := h.figures()
	switch t := q.t(); t {
	case "", "html":
		return h.render(q, http.StatusOK, "statistics.html", statisticsPage{sorted(counters), sorted(gauges)})
	case "json":
		for _, m := range []map[string]float64{counters, gauges} {
			maps.DeleteFunc(m, func(_ string, v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
		}
		return q.json("text/plain", map[string]any{"counters": counters, "stats": gauges})
	case "openmetrics":
		return h.openMetrics(q, counters, gauges)
	}
	return errUnknownT
}

var errUnknownT = errorf(http.StatusBadRequest, "Unknown t value: this page takes no t=, or t=json.")

type statisticsPage struct{ Counters, Gauges []figure }

type figure struct{ Name, Value string }

func sorted(m map[string]float64) []figure {
	var out []figure
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, figure{name, number(m[name])})
	}
	return out
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "NaN"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

var percentile = regexp.MustCompile(`_(\d\d)_(\d)_percentile$`)

// openMetrics writes the text that scrapers read, line for line as the Python
// program does, so that dashboards go on working.
func (h *Handler) openMetrics(q *request, counters, gauges map[string]float64) error {
	var b strings.Builder
	write := func(prefix string, m map[string]float64) {
		for _, f := range sorted(m) {
			name := strings.ReplaceAll(f.Name, ".", "_")
			fmt.Fprintf(&b, "%s%s %s\n", prefix, percentile.ReplaceAllString(name, `{quantile="0.$1$2"}`), f.Value)
		}
	}
	write("tahoe_counters_", counters)
	write("tahoe_stats_", gauges)
	b.WriteString("# EOF\n")
	q.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
	q.Header().Set("Cache-Control", "no-store")
	_, err := q.Write([]byte(b.String()))
	return gone(err)
}
