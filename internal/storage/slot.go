package storage

import (
	"context"
	"errors"
	"fmt"
	"math"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/kit/redact"
)

const (
	// MaxSlotAnswer is the most share data, in bytes, that ReadSlot and
	// TestAndWrite return; the reference's client takes no more either.
	MaxSlotAnswer = 30 << 20
	// MaxSlotVectors bounds the tests of one share and the spans in one
	// TestAndWrite, as both protocols do.
	MaxSlotVectors = 30
)

// ErrBadWriteEnabler means that a slot is held under another write enabler.
// Where the server says more there is a *BadWriteEnablerError around it.
var ErrBadWriteEnabler = errors.New("another write enabler holds this slot")

// BadWriteEnablerError names the server that recorded the write enabler: it
// is another one than was asked when the share was moved.
type BadWriteEnablerError struct {
	NodeID [20]byte // its tub id
}

// Error names the node as people write it.
func (e *BadWriteEnablerError) Error() string {
	return fmt.Sprintf("%v: it was recorded by nodeid %s", ErrBadWriteEnabler, base32.Encode(e.NodeID[:]))
}

// Unwrap returns ErrBadWriteEnabler.
func (e *BadWriteEnablerError) Unwrap() error { return ErrBadWriteEnabler }

// WriteEnabler is the 32-byte secret, one for each slot and server, that
// permits changing the slot. It never prints. The zero value holds none.
type WriteEnabler struct{ secret redact.Secret }

// NewWriteEnabler holds b.
func NewWriteEnabler(b [32]byte) WriteEnabler { return WriteEnabler{redact.New(string(b[:]))} }

// Reveal returns the secret, and whether there is one.
func (we WriteEnabler) Reveal() (b [32]byte, ok bool) {
	return b, copy(b[:], we.secret.Reveal()) == len(b)
}

// Equal compares in constant time. The zero value equals nothing.
func (we WriteEnabler) Equal(other WriteEnabler) bool { return we.secret.Equal(other.secret) }

// Mutables is the half of a server that keeps slots: sets of shares under one
// index that whoever has the write enabler may change.
type Mutables interface {
	// ReadSlot reads spans of the shares nums, all that are held when nums is
	// empty. Shares that are not held are missing from the answer, which has
	// one piece for each span: shorter, down to empty, where the share ends
	// before. With no spans it tells which shares are held. The pieces of one
	// share are of one instant, except over HTTP, where each megabyte is of
	// its own. ErrTooLarge when the answer is longer than MaxSlotAnswer. The
	// caller owns the bytes.
	ReadSlot(ctx context.Context, si Index, nums []ShareNum, spans []Span) (map[ShareNum][][]byte, error)
	// TestAndWrite reads spans of every share that is held, and then, if all
	// tests of all shares pass, does all the writes: each share becomes
	// entirely new, durably, before it returns, or stays entirely old. Shares
	// written to have their lease added or renewed. Without ErrBadWriteEnabler
	// we is the slot's, or none was held: then it becomes the slot's.
	// ErrTooLarge when a share would grow beyond Version.MaxMutableShareSize
	// or the answer beyond MaxSlotAnswer: then, and with ErrBadWriteEnabler,
	// nothing was changed. ErrNoSpace when the disk is full or a new lease
	// would not fit. After this and any other error each share is old or new,
	// and to try again may fail the tests because of what the first try
	// wrote. Nothing is retained.
	TestAndWrite(ctx context.Context, si Index, we WriteEnabler, ls LeaseSecrets, writes map[ShareNum]SlotWrite, spans []Span) (*SlotResult, error)
	// ReportCorruptSlot tells the server's operator that a share is damaged.
	// ErrNotFound when it is not held.
	ReportCorruptSlot(ctx context.Context, si Index, num ShareNum, reason string) error
}

// SlotWrite is what is to be done to one share: Writes in their order, then
// NewLength. A share that is not held is empty; one that is written to, even
// without Writes, comes to be.
type SlotWrite struct {
	Tests  []SlotTest
	Writes []SlotPatch
	// NewLength cuts the share to so many bytes; it never makes it longer.
	// 0 deletes the share whatever Writes say. nil leaves it.
	NewLength *int64
}

// SlotTest passes when the Len bytes at Off, or as many of them as the share
// has, are Specimen. So {0, 1, nil} passes only when there is nothing.
type SlotTest struct {
	Off, Len int64
	Specimen []byte
}

// SlotPatch puts Data at Off. The gap between the end of the share and Off
// is filled with zeros, even when Data is empty.
type SlotPatch struct {
	Off  int64
	Data []byte
}

// Deletes reports whether the share is to go.
func (w SlotWrite) Deletes() bool { return w.NewLength != nil && *w.NewLength == 0 }

// SlotResult is the answer to TestAndWrite.
type SlotResult struct {
	Applied bool // all tests passed, everything is written
	// Data is what the spans held before the writes, one entry for each share
	// that was held, as from ReadSlot.
	Data map[ShareNum][][]byte
}

// CheckSlotSpans refuses what no slot can be asked for.
func CheckSlotSpans(spans []Span) error {
	for _, s := range spans {
		if s.Off < 0 || s.Len < 0 {
			return fmt.Errorf("reading %d bytes at %d: negative", s.Len, s.Off)
		}
	}
	return nil
}

// CheckSlotCall refuses arguments of TestAndWrite that have no meaning, and
// writes that end beyond maxSize. Implementations call it first.
func CheckSlotCall(we WriteEnabler, writes map[ShareNum]SlotWrite, spans []Span, maxSize int64) error {
	if _, ok := we.Reveal(); !ok {
		return errors.New("no write enabler was given")
	}
	if len(spans) > MaxSlotVectors {
		return fmt.Errorf("%d spans, more than %d", len(spans), MaxSlotVectors)
	}
	if err := CheckSlotSpans(spans); err != nil {
		return err
	}
	for num, w := range writes {
		if err := w.check(maxSize); err != nil {
			return fmt.Errorf("share %d: %w", num, err)
		}
	}
	return nil
}

func (w SlotWrite) check(maxSize int64) error {
	if len(w.Tests) > MaxSlotVectors {
		return fmt.Errorf("%d tests, more than %d", len(w.Tests), MaxSlotVectors)
	}
	for _, t := range w.Tests {
		if t.Off < 0 || t.Len < 0 {
			return fmt.Errorf("testing %d bytes at %d: negative", t.Len, t.Off)
		}
	}
	for _, p := range w.Writes {
		if p.Off < 0 {
			return fmt.Errorf("writing at %d: negative", p.Off)
		}
		if n := int64(len(p.Data)); n > maxSize || p.Off > maxSize-n {
			return fmt.Errorf("writing %d bytes at %d: %w", n, p.Off, ErrTooLarge)
		}
	}
	if w.NewLength != nil && *w.NewLength < 0 {
		return fmt.Errorf("new length %d: negative", *w.NewLength)
	}
	return nil
}

// Clip returns the part of s that a share of size bytes has: empty, at or
// before the end, where s begins after it. Neither Off nor Len is negative.
func Clip(s Span, size int64) Span {
	s.Off = min(s.Off, size)
	s.Len = min(s.Len, size-s.Off)
	return s
}

// SlotBudget counts the bytes of an answer against MaxSlotAnswer. The zero
// value has nothing spent.
type SlotBudget struct{ spent int64 }

// Spend makes room for n more bytes, or returns ErrTooLarge.
func (b *SlotBudget) Spend(n int64) error {
	if n > MaxSlotAnswer-b.spent {
		b.spent = math.MaxInt64
		return fmt.Errorf("an answer above %d bytes: %w", MaxSlotAnswer, ErrTooLarge)
	}
	b.spent += n
	return nil
}
