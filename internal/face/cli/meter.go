package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tahoe-go/internal/face/webclient"
)

// meterFlags say how progress is shown.
type meterFlags struct{ progress string }

func (m *meterFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&m.progress, "progress", "auto", "`HOW` to show progress on standard error: auto (a bar, on a terminal), none, or json (a line each)")
	complete(c, "progress", "auto", "none", "json")
}

// meter shows the progress of one transfer on standard error: a bar with rate
// and time left for each stage, or lines of JSON, or nothing.
type meter struct {
	w    io.Writer
	show func(webclient.Progress) // nil: nothing
	bars bool

	mu    sync.Mutex // guards below
	stage string
	since time.Time // of the stage
	bar   *progressbar.ProgressBar
	over  bool
}

func (a *app) meter(f *meterFlags) (*meter, error) {
	m := &meter{w: a.Stderr}
	switch f.progress {
	case "auto":
		if m.bars = isTerminal(a.Stderr); m.bars {
			m.show = m.showBar
		}
	case "json":
		m.show = m.showJSON
	case "none":
	default:
		return nil, fail("", "--progress is auto, none or json, not %q", f.progress)
	}
	return m, nil
}

// report is what to hand to webclient; nil if nothing is shown.
func (m *meter) report() func(webclient.Progress) {
	if m.show == nil {
		return nil
	}
	return func(p webclient.Progress) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.over {
			m.show(p)
		}
	}
}

// stageWords say what a stage is, to the person who waits.
var stageWords = map[string]string{
	"receiving": "handing over to the node",
	"waiting":   "waiting for servers",
	"hashing":   "computing the key",
	"sending":   "storing on servers",
	"finding":   "looking for the file",
	"fetching":  "fetching",
}

// settle is how long a stage lasts before its bar is drawn: until then its
// rate means nothing, and a short one would only flicker.
const settle = 200 * time.Millisecond

// showBar draws the bar of a stage. m.mu is held, as for showJSON.
func (m *meter) showBar(p webclient.Progress) {
	if p.Stage != m.stage {
		m.clear()
		m.stage, m.since = p.Stage, time.Now()
		word := stageWords[p.Stage]
		if word == "" {
			word = p.Stage
		}
		total := p.Total
		if p.Stage == "waiting" {
			total = -1
		}
		m.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(m.w),
			progressbar.OptionSetDescription(fmt.Sprintf("%-24s", word)),
			progressbar.OptionShowBytes(total >= 0),
			progressbar.OptionShowCount(),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSpinnerType(14),
			progressbar.OptionClearOnFinish(),
		)
		m.bar.StartWithoutRender() // the clock of the rate
	}
	if time.Since(m.since) > settle {
		m.bar.Set64(p.Done)
	}
}

func (m *meter) showJSON(p webclient.Progress) {
	line, _ := json.Marshal(map[string]any{"stage": p.Stage, "done": p.Done, "total": p.Total})
	m.w.Write(append(line, '\n'))
}

func (m *meter) clear() {
	if m.bar != nil {
		m.bar.Exit()
		m.bar.Clear()
		m.bar = nil
	}
}

// end takes the bar away.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	m.clear()
}

// summary says on a terminal what was done, and how fast.
func (m *meter) summary(what string, n int64, start time.Time) {
	if !m.bars {
		return
	}
	took := time.Since(start)
	fmt.Fprintf(m.w, "%s %s in %s (%s/s)\n", what, humanize.IBytes(uint64(n)), shortDuration(took), humanize.IBytes(uint64(float64(n)/took.Seconds())))
}

// shortDuration drops digits that nobody reads.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
