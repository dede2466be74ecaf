package mutable

import (
	"errors"
	"fmt"
	"strings"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// ErrNotWritable: the file's cap does not permit changing it.
var ErrNotWritable = errors.New("the cap permits reading only")

// ErrTooLarge: the contents are more than MaxWrite, which is what is held in
// memory at most. Such files are read by ReadRange and changed by WriteAt.
var ErrTooLarge = errors.New("more than is read or written at once")

// errSlow is why a server that keeps everybody waiting takes no part.
var errSlow = errors.New("no answer while the other servers had answered")

// errChanged is why a share is no longer used though nothing is wrong with it.
var errChanged = errors.New("the share was overwritten while it was read")

// ServerReport is what became of one server in an operation.
type ServerReport = storage.ServerReport

// UnrecoverableError says that no version of a file can be read now.
type UnrecoverableError struct {
	Servers      int           // that answered
	Shares, Need int           // distinct good shares of the version that has most, and its k; 0 of 0: there are none
	Corrupt      int           // shares found damaged
	Seen         []ssk.Version // versions seen, newest first
	Reports      []ServerReport
}

// Error counts the shares and gives each server's own words.
func (e *UnrecoverableError) Error() string {
	var b strings.Builder
	switch {
	case e.Shares == 0:
		b.WriteString("no share of the file was found")
	case len(e.Seen) > 1:
		fmt.Fprintf(&b, "no version of the file can be rebuilt: of %d versions seen the one with most shares has %d of the %d needed", len(e.Seen), e.Shares, e.Need)
	default:
		fmt.Fprintf(&b, "%d of the %d shares needed were found", e.Shares, e.Need)
	}
	if e.Corrupt > 0 {
		fmt.Fprintf(&b, ", %d more are damaged", e.Corrupt)
	}
	b.WriteString(storage.Told(e.Reports))
	return b.String()
}

// NotEnoughServersError says that servers took fewer shares of a new version
// than it takes to read it. What was recoverable before is so still, unless
// servers fail besides; to write again repairs what was left behind.
type NotEnoughServersError struct {
	Placed, Want int // distinct shares that servers took, and k
	N            int
	Errs         []error // what the servers said, such as *storage.BadWriteEnablerError
	Reports      []ServerReport
}

// Error says how many were placed and gives each server's own words.
func (e *NotEnoughServersError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "servers took %d of the %d shares of the new version, at least %d are needed to read it", e.Placed, e.N, e.Want)
	b.WriteString(storage.Told(e.Reports))
	return b.String()
}

// Unwrap returns what the servers said.
func (e *NotEnoughServersError) Unwrap() []error { return e.Errs }

// UncoordinatedError says that somebody else has changed the file since it was
// looked at, and that this writer's version is not what everybody reads. Which
// of the writers prevails is not known before the file is read again.
type UncoordinatedError struct {
	Seen []ssk.Checkstring // other versions met, newest first; nobody has proven them
	ours ssk.Version       // what was to be written
}

// Error names the sequence numbers.
func (e *UncoordinatedError) Error() string {
	var nums []string
	for _, c := range e.Seen {
		nums = append(nums, fmt.Sprint(c.Seqnum))
	}
	if len(nums) == 0 {
		return "somebody else has changed the file meanwhile; read it and try again"
	}
	return fmt.Sprintf("somebody else has changed the file meanwhile (version %s was met); read it and try again", strings.Join(nums, ", "))
}
