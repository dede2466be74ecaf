package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestClaim(t *testing.T) {
	mine, ok := processStart(os.Getpid())
	parent, _ := processStart(os.Getppid())
	for _, tt := range []struct {
		name, text string
		running    bool // RunningError
		fails      bool // any other error
	}{
		{"no file", "", false, false},
		{"a dead process", "999999999 1700000000.5\n", false, false},
		{"this process, earlier", fmt.Sprintf("%d %f\n", os.Getpid(), mine), false, false},
		{"another that runs", fmt.Sprintf("%d %f\n", os.Getppid(), parent), true, false},
		{"an id used again", fmt.Sprintf("%d %f\n", os.Getppid(), parent-1000), !ok, false},
		{"not ours", "hello\n", false, true},
		{"no start time", "12\n", false, true},
		{"negative", "-1 5\n", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, pidFile)
			if tt.text != "" {
				os.WriteFile(file, []byte(tt.text), 0o644)
			}
			release, err := claim(dir)
			if running, is := errors.AsType[*RunningError](err); is != tt.running || is && running.PID != os.Getppid() {
				t.Fatalf("claim: %v; want RunningError: %t", err, tt.running)
			}
			if failed := err != nil && !tt.running; failed != tt.fails {
				t.Fatalf("claim: %v; want an error: %t", err, tt.fails)
			}
			if err != nil {
				return
			}
			text, _ := os.ReadFile(file)
			if pid, _, ok := parsePID(string(text)); !ok || pid != os.Getpid() {
				t.Errorf("%s holds %q", pidFile, text)
			}
			if _, err := claim(dir); !isRunning(err) {
				t.Errorf("a second claim: %v", err)
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file stays after release: %v", err)
			}
			again, err := claim(dir)
			if err != nil {
				t.Fatalf("claim after release: %v", err)
			}
			again()
		})
	}
}

func isRunning(err error) bool { _, ok := errors.AsType[*RunningError](err); return ok }
