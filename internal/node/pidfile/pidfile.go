// Package pidfile keeps two processes out of one node directory.
//
// The file running.process holds "PID STARTTIME\n" (seconds since 1970, with
// a fraction), as the reference program writes it, so that each sees the other
// running. Beside it, running.process.lock is locked for as long as the node
// runs: the kernel drops that lock with the process, whatever happens to the
// file. The reference takes the same lock, but only while it looks.
//
// Start with Acquire; Running is for those who want to know or to stop a node.
package pidfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"tahoe-go/internal/kit/durable"
)

// Name is the file's name in a node directory.
const Name = "running.process"

// patience is how long a lock may be held by someone who only looks.
const patience = 2 * time.Second

// ErrMalformed is returned for a running.process that cannot be read: nobody
// can say whether a node is running.
var ErrMalformed = errors.New("not of the form PID STARTTIME; if no node runs in this folder, delete the file")

// InUseError says that a node is running here already.
type InUseError struct {
	Dir string
	PID int // 0: not known
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another process holds the node directory %s", e.Dir)
	}
	return fmt.Sprintf("a node is already running in %s, as process %d", e.Dir, e.PID)
}

// File is the claim on a node directory. Release gives it back.
type File struct {
	path string
	text string
	lock *flock.Flock
}

// Acquire claims a node directory for this process. It returns *InUseError
// if another has it and ErrMalformed if that cannot be told. What a dead
// process left is replaced.
func Acquire(dir string) (*File, error) {
	path := filepath.Join(dir, Name)
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if err := takeLock(dir, lock); err != nil {
		return nil, err
	}
	err := clear(dir)
	me := self()
	f := &File{path, me.String() + "\n", lock}
	if err == nil {
		err = durable.WriteFile(path, []byte(f.text), 0o644)
	}
	if err != nil {
		lock.Unlock()
		return nil, fmt.Errorf("claiming the node directory: %w", err)
	}
	return f, nil
}

func takeLock(dir string, lock *flock.Flock) error {
	ok, err := lock.TryLock()
	if err == nil && !ok {
		if pid, running, _ := Running(dir); running {
			return &InUseError{dir, pid}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ok, err = lock.TryLockContext(ctx, 50*time.Millisecond)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) || err == nil && !ok:
		pid, _, _ := Running(dir)
		return &InUseError{dir, pid}
	case err != nil:
		return fmt.Errorf("locking the node directory: %w", err)
	}
	return nil
}

// clear returns nil if nobody else runs here.
func clear(dir string) error {
	old, err := read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if old.pid != os.Getpid() && old.running(look(old.pid)) {
		return &InUseError{dir, old.pid}
	}
	return nil
}

// Release removes the file, if it is still ours, and the lock.
func (f *File) Release() error {
	var err error
	if text, readErr := os.ReadFile(f.path); readErr == nil && string(text) == f.text {
		err = os.Remove(f.path)
	}
	return errors.Join(err, f.lock.Unlock())
}

// Running says which process runs the node of dir. It is ErrMalformed if
// that cannot be told.
func Running(dir string) (pid int, running bool, err error) {
	r, err := read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return r.pid, r.running(look(r.pid)), nil
}

// Sure reports whether process pid, of which Running said that it runs the
// node of dir, surely does: it holds the directory's lock, or it is as old as
// the file says. To wait for a node it is enough that a process may be it; to
// end it, not.
func Sure(dir string, pid int) bool {
	r, err := read(dir)
	if err != nil || r.pid != pid {
		return false
	}
	if p := look(pid); p.alive && p.start != 0 && math.Abs(p.start-r.start) < 2 {
		return true
	}
	lock := flock.New(filepath.Join(dir, Name)+".lock", flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	if free {
		lock.Unlock()
	}
	return err == nil && !free
}

// record is what the file says.
type record struct {
	pid   int
	start float64 // seconds since 1970
}

func (r record) String() string {
	return fmt.Sprintf("%d %s", r.pid, strconv.FormatFloat(r.start, 'f', 2, 64))
}

func read(dir string) (record, error) {
	f, err := os.Open(filepath.Join(dir, Name))
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 200))
	if err != nil {
		return record{}, fmt.Errorf("reading %s: %w", Name, err)
	}
	return parse(string(text))
}

func parse(text string) (record, error) {
	words := strings.Fields(text)
	if len(words) != 2 {
		return record{}, fmt.Errorf("%s: %w", Name, ErrMalformed)
	}
	pid, err1 := strconv.ParseInt(words[0], 10, 32)
	start, err2 := strconv.ParseFloat(words[1], 64)
	if err1 != nil || err2 != nil || pid <= 0 || math.IsNaN(start) || math.IsInf(start, 0) {
		return record{}, fmt.Errorf("%s: %w", Name, ErrMalformed)
	}
	return record{int(pid), start}, nil
}

// process is what the system says of a process number.
type process struct {
	alive bool
	start float64 // 0: not known
	name  string  // its command line; "": not known
}

// running reports whether p is the process of the record. A start time that
// differs is not enough to say no, as the clock may have been set since; the
// program must be another one too.
func (r record) running(p process) bool {
	if !p.alive {
		return false
	}
	if p.start == 0 || p.name == "" || math.Abs(p.start-r.start) < 2 {
		return true
	}
	for _, word := range []string{"tahoe", "python", "twistd"} {
		if strings.Contains(strings.ToLower(p.name), word) {
			return true
		}
	}
	return false
}

// self is the record of this process.
func self() record {
	r := record{os.Getpid(), look(os.Getpid()).start}
	if r.start == 0 {
		r.start = float64(time.Now().UnixMilli()) / 1000
	}
	return r
}
