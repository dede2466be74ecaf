package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAcquireRelease(t *testing.T) {
	dir := t.TempDir()
	f, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil || !strings.HasPrefix(string(text), strconv.Itoa(os.Getpid())+" ") || !strings.HasSuffix(string(text), "\n") {
		t.Errorf("%s = %q, %v", Name, text, err)
	}
	if pid, running, err := Running(dir); pid != os.Getpid() || !running || err != nil {
		t.Errorf("Running = %d, %v, %v", pid, running, err)
	}
	_, err = Acquire(dir)
	if e, ok := errors.AsType[*InUseError](err); !ok || e.PID != os.Getpid() {
		t.Errorf("second Acquire: %v", err)
	}
	if err := f.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Release: %v", err)
	}
	if pid, running, err := Running(dir); pid != 0 || running || err != nil {
		t.Errorf("Running = %d, %v, %v", pid, running, err)
	}
	if f, err = Acquire(dir); err != nil {
		t.Fatal(err)
	}
	// A file that is not ours any more stays.
	other := []byte("1 2.0\n")
	if err := os.WriteFile(filepath.Join(dir, Name), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Release(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, Name)); string(text) != string(other) {
		t.Errorf("Release took a file that is not ours")
	}
}

func TestWhatOthersLeft(t *testing.T) {
	parent := look(os.Getppid())
	dead := deadPID(t)
	for _, tt := range []struct {
		name, text string
		inUse, bad bool
	}{
		{"alive", record{os.Getppid(), parent.start}.String() + "\n", true, false},
		{"dead", record{dead, 1700000000}.String(), false, false},
		{"we in an earlier life, as in a container", record{os.Getpid(), 1}.String(), false, false},
		{"empty", "", false, true},
		{"one word", "12", false, true},
		{"words", "twelve 1.0", false, true},
		{"no start", "12 soon", false, true},
		{"negative", "-1 1.0", false, true},
		{"zero", "0 1.0", false, true},
		{"huge", "99999999999999999999 1.0", false, true},
		{"nan", "12 nan", false, true},
		{"long", strings.Repeat("1", 1000), false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, Name), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Acquire(dir)
			_, inUse := errors.AsType[*InUseError](err)
			if bad := errors.Is(err, ErrMalformed); inUse != tt.inUse || bad != tt.bad || (err == nil) != (f != nil) {
				t.Fatalf("Acquire = %v, %v", f, err)
			}
			if f != nil {
				f.Release()
				return
			}
			if got, _ := os.ReadFile(filepath.Join(dir, Name)); string(got) != tt.text {
				t.Errorf("the file became %q", got)
			}
			os.Remove(filepath.Join(dir, Name))
			if f, err := Acquire(dir); err != nil { // the lock must be free again
				t.Error(err)
			} else {
				f.Release()
			}
		})
	}
}

// deadPID is the number of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestRunning(t *testing.T) {
	r := record{12, 1700000000.5}
	for _, tt := range []struct {
		name string
		p    process
		want bool
	}{
		{"gone", process{}, false},
		{"there, no more known", process{alive: true}, true},
		{"same start", process{true, 1700000001, "sleep 5"}, true},
		{"number taken by another program", process{true, 1700000900, "/usr/sbin/cron"}, false},
		{"clock set since", process{true, 1700000900, "/usr/bin/tahoe run"}, true},
		{"the reference, clock set since", process{true, 1600000000, "/usr/bin/python3 -m x"}, true},
		{"other start, unknown program", process{alive: true, start: 1}, true},
	} {
		if got := r.running(tt.p); got != tt.want {
			t.Errorf("%s: running = %v", tt.name, got)
		}
	}
}

func TestSelf(t *testing.T) {
	r, err := parse(self().String())
	if err != nil {
		t.Fatal(err)
	}
	age := float64(time.Now().Unix()) - r.start
	if r.pid != os.Getpid() || age < -3 || age > 3600 {
		t.Errorf("self = %v, started %v s ago", r, age)
	}
	if runtime.GOOS == "linux" && look(os.Getpid()).name == "" {
		t.Error("look knows no name")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("12 1700000000.25\n")
	f.Add("1 1e300")
	f.Add("x y")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parse(s)
		if err == nil && (r.pid <= 0 || errors.Is(err, ErrMalformed)) {
			t.Fatalf("parse(%q) = %v", s, r)
		}
	})
}

// To stop a node is to end a process: one that has only got the number of a dead
// node must be left alone.
func TestSure(t *testing.T) {
	dir := t.TempDir()
	me := os.Getpid()
	if Sure(dir, me) {
		t.Error("sure of a node that never was")
	}
	f, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !Sure(dir, me) || Sure(dir, me+1) {
		t.Errorf("a node that runs: %v, its neighbour: %v", Sure(dir, me), Sure(dir, me+1))
	}
	f.Release()
	if look(me).start == 0 {
		t.Skip("this system does not tell when a process started")
	}
	os.WriteFile(filepath.Join(dir, Name), fmt.Appendf(nil, "%d 1000000000.00\n", me), 0o600)
	if Sure(dir, me) {
		t.Error("sure of a process that is younger than the node")
	}
}
