package cli

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"

	"tahoe-go/internal/face/webclient"
)

// copyMeter shows the progress of many files on standard error, and says what
// went wrong with which.
type copyMeter struct {
	*app
	bars, lines, verbose bool

	mu          sync.Mutex // guards below
	stage       string
	files, all  int
	bytes       int64 // of files done
	total       int64
	under       map[*job]int64 // bytes of files under way
	notCopied   []string
	bar         *progressbar.ProgressBar
	shown       time.Time
	over, begun bool
}

func (a *app) copyMeter(f *meterFlags, verbose bool) (*copyMeter, error) {
	m := &copyMeter{app: a, verbose: verbose, under: map[*job]int64{}}
	switch f.progress {
	case "auto":
		m.bars = isTerminal(a.Stderr)
	case "json":
		m.lines = true
	case "none":
	default:
		return nil, fail("", "--progress is auto, none or json, not %q", f.progress)
	}
	return m, nil
}

// begin says how much there is to do.
func (m *copyMeter) begin(files int, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all, m.total, m.stage, m.begun = files, total, "copying", true
	if m.bars {
		m.bar = progressbar.NewOptions64(max(total, -1),
			progressbar.OptionSetWriter(m.Stderr),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSpinnerType(14),
			progressbar.OptionClearOnFinish(),
		)
		m.show(true)
	}
}

// transfer is what to hand to webclient for one file.
func (m *copyMeter) transfer(j *job) func(webclient.Progress) {
	if !m.bars && !m.lines {
		return nil
	}
	return func(p webclient.Progress) {
		if p.Stage != "sending" && p.Stage != "fetching" {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.under[j] = p.Done
		m.show(false)
	}
}

// fileDone counts a file that has been copied.
func (m *copyMeter) fileDone(j *job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.under, j)
	m.files++
	m.bytes += j.moved
	if m.verbose {
		m.say(fmt.Sprintf("%s %s → %s", pad(j.verb(), 5, false), j.from.shown, j.to))
	}
	m.show(m.files == m.all)
}

// finishing begins the stage in which directories are made.
func (m *copyMeter) finishing(dirs int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	m.stage, m.files, m.all, m.bytes, m.total = "directories", 0, dirs, 0, 0
	if m.bars && dirs > 1 {
		m.bar = progressbar.NewOptions(dirs, progressbar.OptionSetWriter(m.Stderr), progressbar.OptionSetWidth(24),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
}

func (m *copyMeter) dirDone() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files++
	m.show(m.files == m.all)
}

// show draws the state, not too often unless it must. m.mu is held.
func (m *copyMeter) show(must bool) {
	if m.over || !must && time.Since(m.shown) < 100*time.Millisecond {
		return
	}
	m.shown = time.Now()
	done := m.bytes
	for _, n := range m.under {
		done += n
	}
	switch {
	case m.lines:
		line, _ := json.Marshal(map[string]any{"stage": m.stage, "done": done, "total": m.total, "files": m.files, "files-total": m.all})
		m.Stderr.Write(append(line, '\n'))
	case m.bar != nil && m.stage == "directories":
		m.bar.Describe("making directories")
		m.bar.Set(m.files)
	case m.bar != nil:
		m.bar.Describe(fmt.Sprintf("%d of %s", m.files, plural(m.all, "file")))
		m.bar.Set64(min(done, max(m.total, 0)))
	}
}

// say prints a line where the bar is. m.mu is held.
func (m *copyMeter) say(line string) {
	if m.bar != nil {
		m.bar.Clear()
	}
	fmt.Fprintln(m.Stderr, harmless(line))
}

// failed says what could not be copied.
func (m *copyMeter) failed(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notCopied = append(m.notCopied, name)
	m.say(fmt.Sprintf("tahoe: %s was not copied: %s", name, lowerFirst(err.Error())))
}

// skipped says what is not copied by its nature.
func (m *copyMeter) skipped(name, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.say(fmt.Sprintf("skipped %s: %s", name, why))
}

func (m *copyMeter) failures() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.notCopied
}

func (m *copyMeter) clear() {
	if m.bar != nil {
		m.bar.Exit()
		m.bar.Clear()
		m.bar = nil
	}
}

// end takes the bar away.
func (m *copyMeter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	m.clear()
}

// summary says on a terminal what was done, and how fast.
func (m *copyMeter) summary(r result, start time.Time) {
	if !m.bars {
		return
	}
	took := time.Since(start)
	text := plural(r.Files, "file")
	if r.Linked > 0 {
		text += fmt.Sprintf(" (%d linked)", r.Linked)
	}
	if r.Directories > 0 {
		text += " and " + plural(r.Directories, "directory")
	}
	fmt.Fprintf(m.Stderr, "%s: %s in %s (%s/s)\n", text, sizeWords(r.Bytes), shortDuration(took), sizeWords(int64(float64(r.Bytes)/took.Seconds())))
}

func sizeWords(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
