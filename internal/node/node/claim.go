package node

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"tahoe-go/internal/kit/durable"
)

// pidFile says who runs the node directory: process id and start time in
// seconds since 1970, as the reference program writes it. The lock beside it is
// held as long as the node runs, so a file left by a crash fools nobody; the
// reference program, which locks only for a moment, meets the lock too.
const pidFile = "running.process"

// RunningError says that another process runs the node directory.
type RunningError struct {
	Dir string
	PID int // 0: not known
}

// Error names the process.
func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another process runs the node in %s", e.Dir)
	}
	return fmt.Sprintf("a process is already running the node in %s: its id is %d", e.Dir, e.PID)
}

// claim makes dir this process's until release is called.
func claim(dir string) (release func() error, err error) {
	file := filepath.Join(dir, pidFile)
	lock := flock.New(file + ".lock")
	free, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the node directory: %w", err)
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("looking who runs the node: %w", err), lock.Close())
	}
	pid, start, ok := parsePID(string(text))
	switch {
	case !free:
		return nil, &RunningError{Dir: dir, PID: pid}
	case err == nil && !ok:
		return nil, errors.Join(fmt.Errorf("%s does not hold a process id and a start time; if no node runs in this folder, delete it", file), lock.Close())
	case ok && pid != os.Getpid() && runs(pid, start):
		return nil, errors.Join(&RunningError{Dir: dir, PID: pid}, lock.Close())
	}
	started, _ := processStart(os.Getpid())
	line := fmt.Sprintf("%d %s\n", os.Getpid(), strconv.FormatFloat(started, 'f', 2, 64))
	if err := durable.WriteFile(file, []byte(line), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", file, err), lock.Close())
	}
	return func() error { return errors.Join(os.Remove(file), lock.Close()) }, nil
}

func parsePID(text string) (pid int, start float64, ok bool) {
	words := strings.Fields(text)
	if len(words) != 2 {
		return 0, 0, false
	}
	pid, err := strconv.Atoi(words[0])
	start, err2 := strconv.ParseFloat(words[1], 64)
	return pid, start, err == nil && err2 == nil && pid > 0
}

// runs reports whether the process is the one that started then. Clocks are
// set now and then: a few seconds mean nothing.
func runs(pid int, start float64) bool {
	if !alive(pid) {
		return false
	}
	now, known := processStart(pid)
	return !known || math.Abs(now-start) < 10
}
