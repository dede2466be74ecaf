// Package leakcheck fails a test that leaves goroutines or file descriptors
// behind. For tests with real sockets, files or processes: a testing/synctest
// bubble watches its own goroutines. It looks at the whole process, so not for
// tests that run in parallel with others. Start with Check.
package leakcheck

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what was told to end may take to do so.
const patience = 4 * time.Second

// Check notes what is there now and fails t if there is more when t ends,
// after the cleanups registered later than this call.
func Check(t testing.TB) {
	t.Helper()
	check(t, patience)
}

func check(t testing.TB, patience time.Duration) {
	before := descriptors()
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if t.Failed() {
			return // what a failed test left would only hide why it failed
		}
		err := goleak.Find(running) // waits about a second itself
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
			err = goleak.Find(running)
		}
		if err != nil {
			t.Error(err)
		}
		if err := sameDescriptors(before, patience); err != nil {
			t.Error(err)
		}
	})
}

// sameDescriptors waits for the descriptors that were not there before to go.
func sameDescriptors(before map[string]string, patience time.Duration) error {
	var more []string
	for wait := time.Millisecond; wait < patience; wait *= 2 {
		more = nil
		now := descriptors()
		for _, fd := range slices.Sorted(maps.Keys(now)) {
			if now[fd] != before[fd] {
				more = append(more, fd+" "+now[fd])
			}
		}
		if len(more) == 0 {
			return nil
		}
		time.Sleep(wait)
	}
	return fmt.Errorf("file descriptors left open: %q", more)
}

// descriptors returns the open descriptors and what they are, or nothing where
// the system does not show them. What the runtime opens for itself at its first
// wait is left out.
func descriptors() map[string]string {
	open := map[string]string{}
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			// The one that ReadDir used is closed by now, and has no name.
			name := filepath.Join(dir, e.Name())
			if what, err := os.Readlink(name); err == nil {
				if what != "anon_inode:[eventpoll]" && what != "anon_inode:[eventfd]" {
					open[e.Name()] = what
				}
			} else if _, err := os.Stat(name); err == nil {
				open[e.Name()] = "descriptor"
			}
		}
		return open
	}
	return open
}
