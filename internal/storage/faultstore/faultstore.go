// Package faultstore is a storage server that misbehaves on demand: it wraps
// another and delays, hangs, fails, refuses, corrupts or vanishes, as a
// script of faults per method says. It is for tests, inside synctest bubbles
// or out. It keeps no shares itself. Start with For and Store.Next.
package faultstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/storage"
)

// Errors of calls that were given none of their own.
var (
	ErrGone     = errors.New("server has vanished")
	ErrReleased = errors.New("hanging call released")
)

// Method names a call that faults are queued for.
type Method int

// The methods of a server, its writers and its readers.
const (
	Version Method = iota
	Allocate
	AddLease
	Shares
	WriteAt
	Close
	Abort
	ReadAt
	ReportCorrupt
	ReadSlot
	TestAndWrite
	ReportCorruptSlot
)

// Fault is what happens to one call. The zero Fault does nothing. Its parts
// come in the order of the fields.
type Fault struct {
	Delay  time.Duration // first, unless the context ends before
	Late   bool          // the inner server is called before Hang and Err: only the answer is lost
	Hang   bool          // block until the context ends or Release
	Err    error         // answer with this
	Refuse bool          // Allocate: take no share

	// Corrupt may change the bytes a ReadAt or ReadSlot returns, or a WriteAt
	// or TestAndWrite passes on (a copy; the caller's stay as they are). off
	// is that of p[0].
	Corrupt func(num storage.ShareNum, p []byte, off int64)
}

// FlipBit returns a Corrupt that flips the lowest bit of the byte at off.
func FlipBit(off int64) func(storage.ShareNum, []byte, int64) {
	return func(_ storage.ShareNum, p []byte, at int64) {
		if i := off - at; i >= 0 && i < int64(len(p)) {
			p[i] ^= 1
		}
	}
}

// Store wraps a server. Its methods may be called concurrently.
type Store struct {
	inner storage.Server

	mu      sync.Mutex // guards below
	next    map[Method][]Fault
	always  map[Method]Fault
	calls   map[Method]int
	gone    bool
	release chan struct{} // closed by Release
}

var _ storage.Server = (*Store)(nil)

// New wraps inner without a fault. Whoever lets calls hang calls Release.
func New(inner storage.Server) *Store {
	return &Store{
		inner:   inner,
		next:    make(map[Method][]Fault),
		always:  make(map[Method]Fault),
		calls:   make(map[Method]int),
		release: make(chan struct{}),
	}
}

// For is New with Release in t's cleanup.
func For(t testing.TB, inner storage.Server) *Store {
	s := New(inner)
	t.Cleanup(s.Release)
	return s
}

// Next queues faults for the calls of m to come, one each, before any that
// Always set.
func (s *Store) Next(m Method, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[m] = append(s.next[m], faults...)
}

// Always sets the fault of every call of m that has none queued. The zero
// Fault ends it.
func (s *Store) Always(m Method, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always[m] = f
}

// Vanish makes every call fail with ErrGone, those of writers and readers
// handed out before too, until Return.
func (s *Store) Vanish() { s.setGone(true) }

// Return ends Vanish.
func (s *Store) Return() { s.setGone(false) }

func (s *Store) setGone(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = gone
}

// Release ends every hang, those to come too, with ErrReleased.
func (s *Store) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.release:
	default:
		close(s.release)
	}
}

// Calls returns how many calls of m arrived, faulty ones included.
func (s *Store) Calls(m Method) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[m]
}

// take counts a call and returns its fault.
func (s *Store) take(m Method) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[m]++
	f := s.always[m]
	if queue := s.next[m]; len(queue) > 0 {
		f, s.next[m] = queue[0], queue[1:]
	}
	if s.gone {
		return Fault{Err: ErrGone}
	}
	return f
}

// call runs one call of m: what the fault says, around do.
func (s *Store) call(ctx context.Context, m Method, do func(Fault) error) error {
	f := s.take(m)
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.release:
		}
	}
	if !f.Hang && f.Err == nil {
		return do(f)
	}
	if f.Late {
		_ = do(f) // its answer is what gets lost
	}
	if f.Hang {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.release:
			if f.Err == nil {
				return ErrReleased
			}
		}
	}
	return f.Err
}
