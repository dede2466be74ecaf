package mutable

import (
	"errors"
	"fmt"
	"time"

	"tahoe-go/internal/format/ssk"
)

// ErrNotWritable means that the file was opened without its write cap.
var ErrNotWritable = errors.New("the cap grants reading, not writing")

// UnrecoverableError says that no version can be read with the servers there
// are now.
type UnrecoverableError struct {
	Servers int // that answered
	Shares  int // good ones found, of all versions
	Need    int // of one version; 0: unknown
}

func (e *UnrecoverableError) Error() string {
	if e.Shares == 0 {
		return fmt.Sprintf("no share of the mutable file was found on the %d servers that answered", e.Servers)
	}
	return fmt.Sprintf("the mutable file cannot be read: %d shares were found and %d of one version are needed", e.Shares, e.Need)
}

// UncoordinatedError says that somebody else wrote at the same time: some of
// the shares may be of their version, some of ours.
type UncoordinatedError struct {
	Seen []ssk.Checkstring // what was found in place of what had been surveyed
}

func (e *UncoordinatedError) Error() string {
	return fmt.Sprintf("somebody else wrote the mutable file at the same time (%d other versions were seen); read it again and repeat the change", len(e.Seen))
}

// NotEnoughServersError says that a version could not be placed.
type NotEnoughServersError struct {
	Placed, Want int
	Errs         []error
}

func (e *NotEnoughServersError) Error() string {
	s := fmt.Sprintf("only %d shares of the mutable file could be stored, and %d are needed", e.Placed, e.Want)
	if len(e.Errs) > 0 {
		s += ": " + e.Errs[0].Error()
	}
	return s
}

func (e *NotEnoughServersError) Unwrap() []error { return e.Errs }

// Trace watches an operation. Any field may be nil; the functions are called
// from several goroutines at once and must not block.
type Trace struct {
	Asked func(server string, err error, took time.Duration)
	Wrote func(server string, shares int, err error, took time.Duration)
}

func (t *Trace) asked(server string, err error, took time.Duration) {
	if t != nil && t.Asked != nil {
		t.Asked(server, err, took)
	}
}

func (t *Trace) wrote(server string, shares int, err error, took time.Duration) {
	if t != nil && t.Wrote != nil {
		t.Wrote(server, shares, err, took)
	}
}
