package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"

	"tahoe-go/internal/face/backup"
)

// backupMeter shows how far a backup is: files and folders, and on the bar
// the bytes that have to be sent, once there are any.
type backupMeter struct {
	*meter
	bytes bool      // the bar is one of bytes
	told  time.Time // of the last line of JSON
}

// report is what to hand to a backup; nil if nothing is shown.
func (m *backupMeter) report() func(backup.Progress) {
	if m.show == nil {
		return nil
	}
	return func(p backup.Progress) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case m.over:
		case m.bars:
			m.showBar(p)
		default:
			m.showJSON(p)
		}
	}
}

// showBar draws the bar. m.mu is held, as for showJSON.
func (m *backupMeter) showBar(p backup.Progress) {
	done, total, bytes := int64(p.Done), int64(p.Total), p.DoneBytes > 0
	if bytes {
		done, total = p.DoneBytes, max(p.TotalBytes, p.DoneBytes)
	}
	if m.bar == nil || m.bytes != bytes {
		m.clear()
		m.bytes, m.since = bytes, time.Now()
		m.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(m.w),
			progressbar.OptionSetDescription("Backing up"),
			progressbar.OptionShowBytes(bytes),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(24),
			progressbar.OptionClearOnFinish(),
		)
		m.bar.StartWithoutRender()
	}
	if time.Since(m.since) < settle || done >= total && p.Done < p.Total {
		return // a full bar ends itself
	}
	m.bar.ChangeMax64(total)
	m.bar.Describe(fmt.Sprintf("Backing up %s/%s", humanize.Comma(int64(p.Done)), humanize.Comma(int64(p.Total))))
	m.bar.Set64(done)
}

// showJSON prints a line now and then, and the last one.
func (m *backupMeter) showJSON(p backup.Progress) {
	if p.Done < p.Total && time.Since(m.told) < settle {
		return
	}
	m.told = time.Now()
	line, _ := json.Marshal(map[string]any{"stage": "backing up", "done": p.DoneBytes, "total": p.TotalBytes, "items-done": p.Done, "items-total": p.Total})
	m.w.Write(append(line, '\n'))
}

// line prints a line of text above the bar.
func (m *backupMeter) line(w io.Writer, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		m.bar.Clear()
	}
	fmt.Fprintln(w, text)
}
