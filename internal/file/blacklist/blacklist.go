// Package blacklist refuses access to objects that the operator of a gateway
// does not want to hand out, by their storage index.
//
// They are lines in the file access.blacklist of the node's directory, which is
// read again whenever it changes:
//
//	# a comment
//	whpepioyrnff7orecjolvbudeu  a court told me to
//
// It says what is refused, not where: filestore and webapi ask it before they
// open an object. Start with New and List.Check.
package blacklist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/caps"
)

// Limits of the file.
const (
	maxFile   = 64 << 20 // bytes
	maxReason = 1000     // bytes of a reason that are kept
	maxWarned = 10       // lines that the log complains of, each time the file is read
)

// settle is how old a change must be for the next one to be sure to show in
// the file's times.
const settle = 2 * time.Second

// ProhibitedError says that an object is on the list.
type ProhibitedError struct {
	Index  ids.Index
	Reason string // as the operator gave it, cut short; may be empty
}

// Error gives the reason.
func (e *ProhibitedError) Error() string {
	if e.Reason == "" {
		return "access prohibited"
	}
	return "access prohibited: " + e.Reason
}

// ErrUnreadable: the file is there, but cannot be read. Nothing is handed out
// then, as nobody knows what is on the list.
var ErrUnreadable = errors.New("the list of prohibited objects cannot be read")

// List is the file as it was read last. It may be used concurrently. A nil
// *List prohibits nothing.
type List struct {
	file string
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex  // guards below
	seen    fs.FileInfo // nil: there was no file
	settled bool        // a change since would show in seen
	reasons map[ids.Index]string
	err     error // why it could not be read
}

// New returns the list in a file, which need not be there. log may be nil.
func New(file string, log *slog.Logger) *List {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &List{file: file, log: log, now: time.Now}
}

// Check returns nil if the object that a cap stands for may be used, else a
// *ProhibitedError, or one that is ErrUnreadable. What is kept in its cap, or
// is of an unknown kind, has no storage index and may always be used.
func (l *List) Check(c caps.Cap) error {
	if l == nil {
		return nil
	}
	si, ok := caps.Index(c)
	if !ok {
		return nil
	}
	reason, prohibited, err := l.reason(si)
	switch {
	case err != nil:
		return err
	case prohibited:
		return &ProhibitedError{si, reason}
	}
	return nil
}

// Prohibited reports whether an error says that access was refused.
func Prohibited(err error) bool {
	_, listed := errors.AsType[*ProhibitedError](err)
	return listed || errors.Is(err, ErrUnreadable)
}

func (l *List) reason(si ids.Index) (reason string, prohibited bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	if l.err != nil {
		return "", false, l.err
	}
	reason, prohibited = l.reasons[si]
	return reason, prohibited, nil
}

// refresh reads the file if it may have changed. l.mu is held.
func (l *List) refresh() {
	info, err := os.Stat(l.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.seen, l.reasons, l.err = nil, nil, nil
		return
	case err != nil:
		l.fail(err)
		return
	case l.settled && l.err == nil && l.seen != nil && os.SameFile(info, l.seen) && info.Size() == l.seen.Size() && info.ModTime().Equal(l.seen.ModTime()):
		return
	}
	text, err := read(l.file)
	if err != nil {
		l.fail(err)
		return
	}
	changed := l.seen == nil || !info.ModTime().Equal(l.seen.ModTime()) || info.Size() != l.seen.Size()
	reasons, wrong := parse(text)
	if changed || l.err != nil {
		l.log.Info("the list of prohibited objects was read", "objects", len(reasons))
		for i, line := range wrong[:min(len(wrong), maxWarned)] {
			l.log.Warn("a line of access.blacklist is not understood and prohibits nothing: it must begin with a storage index", "line", line,
				"others", len(wrong)-i-1)
		}
	}
	l.seen, l.reasons, l.err = info, reasons, nil
	l.settled = l.now().Sub(info.ModTime()) > settle
}

// fail remembers that the file cannot be read. l.mu is held.
func (l *List) fail(err error) {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if l.err == nil {
		l.log.Warn("access.blacklist cannot be read: nothing is handed out until it can", "err", err)
	}
	l.seen, l.reasons, l.err = nil, nil, fmt.Errorf("%w (access.blacklist: %w)", ErrUnreadable, err)
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return text, err
}

// parse reads the lines. wrong are the numbers of those that say nothing.
func parse(text []byte) (reasons map[ids.Index]string, wrong []int) {
	reasons = map[ids.Index]string{}
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		word, reason := line, []byte(nil)
		if i := bytes.IndexAny(line, " \t\v\f\r"); i >= 0 {
			word, reason = line[:i], bytes.TrimSpace(line[i:])
		}
		si, err := ids.ParseIndex(string(word))
		if err != nil {
			wrong = append(wrong, number)
			continue
		}
		reasons[si] = shorten(reason)
	}
	return reasons, wrong
}

func shorten(reason []byte) string {
	s := strings.ToValidUTF8(string(reason), "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	s = s[:maxReason]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
