package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/face/webclient"
)

func TestBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		m := &meter{w: &b, bars: true}
		m.show = m.showBar
		report := m.report()
		report(webclient.Progress{Stage: "receiving", Done: 5 << 20, Total: 100 << 20})
		if b.Len() > 0 {
			t.Errorf("a bar before anything is known: %q", b.String())
		}
		for i := range int64(9) {
			time.Sleep(time.Second)
			report(webclient.Progress{Stage: "receiving", Done: (i + 1) * 10 << 20, Total: 100 << 20})
		}
		for _, want := range []string{"handing over to the node", "90%", "(90/100 MiB, 10 MiB/s) [9s:1s]"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in %q", want, b.String())
			}
		}
		report(webclient.Progress{Stage: "sending", Done: 0, Total: 100 << 20})
		time.Sleep(time.Second)
		report(webclient.Progress{Stage: "sending", Done: 50 << 20, Total: 100 << 20})
		if !strings.Contains(b.String(), "storing on servers") {
			t.Errorf("the next stage does not show in %q", b.String())
		}
		m.end()
		if left := b.String()[strings.LastIndexByte(strings.TrimRight(b.String(), "\r"), '\r')+1:]; strings.TrimSpace(left) != "" {
			t.Errorf("left on the line: %q", left)
		}
		shown := b.Len()
		report(webclient.Progress{Stage: "sending", Done: 60 << 20, Total: 100 << 20})
		if b.Len() != shown {
			t.Error("a late report draws again")
		}
	})
}

func TestProgressForPrograms(t *testing.T) {
	var b bytes.Buffer
	a := &app{Env: Env{Stderr: &b}}
	m, err := a.meter(&meterFlags{progress: "json"})
	if err != nil {
		t.Fatal(err)
	}
	m.report()(webclient.Progress{Stage: "fetching", Done: 1, Total: 2})
	if want := `{"done":1,"stage":"fetching","total":2}` + "\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	// Nothing is drawn where nobody looks.
	if m, err = a.meter(&meterFlags{progress: "auto"}); err != nil || m.report() != nil {
		t.Errorf("auto without a terminal reports: %v", err)
	}
	if _, err = a.meter(&meterFlags{progress: "loud"}); err == nil {
		t.Error("--progress=loud is taken")
	}
}
