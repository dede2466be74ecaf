package leakcheck

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// watched stands in for a test that Check watches, and keeps what it says.
type watched struct {
	testing.TB
	cleanup func()
	said    []string
}

func (w *watched) Helper()          {}
func (w *watched) Failed() bool     { return len(w.said) > 0 }
func (w *watched) Cleanup(f func()) { w.cleanup = f }
func (w *watched) Error(args ...any) {
	w.said = append(w.said, args[0].(error).Error())
}

func TestCheck(t *testing.T) {
	name := filepath.Join(t.TempDir(), "kept")
	for _, tt := range []struct {
		name string
		do   func() (undo func())
		want string
	}{
		{"clean", func() func() { return func() {} }, ""},
		{"goroutine", func() func() {
			stop := make(chan struct{})
			go func() { <-stop }()
			return func() { close(stop) }
		}, "unexpected goroutines"},
		{"descriptor", func() func() {
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		}, name},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "descriptor" && runtime.GOOS != "linux" {
				t.Skip("only Linux names its descriptors")
			}
			w := &watched{TB: t}
			check(w, 20*time.Millisecond)
			undo := tt.do()
			w.cleanup()
			undo()
			if got := strings.Join(w.said, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("said %q; want %q", got, tt.want)
			}
		})
	}
}
