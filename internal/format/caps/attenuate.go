package caps

import (
	"fmt"

	"tahoe-go/internal/codec/ids"
)

// Index returns the storage index of the object's shares. A LIT and an
// Unknown have none.
func Index(c Cap) (si ids.Index, ok bool) {
	switch c := c.(type) {
	case CHK:
		return c.Index(), true
	case CHKVerifier:
		return c.Index, true
	case SSK:
		return c.Index(), true
	case SSKRead:
		return c.Index(), true
	case SSKVerifier:
		return c.Index, true
	case Dir:
		return Index(c.file)
	}
	return si, false
}

// Size returns the length of an immutable file in bytes, where the cap tells.
func Size(c Cap) (n int64, ok bool) {
	switch c := c.(type) {
	case CHK:
		return c.Size, true
	case CHKVerifier:
		return c.Size, true
	case LIT:
		return c.Size(), true
	case Dir:
		return Size(c.file)
	}
	return 0, false
}

// Writable reports whether c grants writing. An Unknown counts as writable
// unless it has a prefix that says otherwise.
func Writable(c Cap) bool {
	switch c := c.(type) {
	case SSK:
		return true
	case Dir:
		return Writable(c.file)
	case Unknown:
		return !c.ReadOnly()
	}
	return false
}

// Mutable reports whether c grants reading of something that may change. A
// verifier does not. An Unknown counts as mutable unless it has the prefix
// imm.
func Mutable(c Cap) bool {
	switch c := c.(type) {
	case SSK, SSKRead:
		return true
	case Dir:
		return Mutable(c.file)
	case Unknown:
		return !c.Immutable()
	}
	return false
}

// IsDir reports whether c is a cap to a directory.
func IsDir(c Cap) bool { _, ok := c.(Dir); return ok }

// Write returns the write cap in c: c itself or the file of a Dir. Other caps
// are ErrNotWritable.
func Write(c Cap) (SSK, error) {
	if d, ok := c.(Dir); ok {
		c = d.file
	}
	w, ok := c.(SSK)
	if !ok {
		return SSK{}, ErrNotWritable
	}
	return w, nil
}

// Read returns the cap that grants reading and no writing: a write cap
// diminished, or c itself. It is not ok for an Unknown that may be writable,
// which nobody here can diminish.
func Read(c Cap) (r Cap, ok bool) {
	switch c := c.(type) {
	case SSK:
		return c.Read(), true
	case Dir:
		f, ok := Read(c.file)
		return Dir{f}, ok
	case Unknown:
		return c, c.ReadOnly()
	case nil:
		return nil, false
	}
	return c, true
}

// Verifier returns the cap that grants checking only; a verifier is its own.
// A LIT and an Unknown have none.
func Verifier(c Cap) (v Cap, ok bool) {
	switch c := c.(type) {
	case CHK:
		return c.Verifier(), true
	case SSK:
		return c.Read().Verifier(), true
	case SSKRead:
		return c.Verifier(), true
	case CHKVerifier, SSKVerifier:
		return c, true
	case Dir:
		if f, ok := Verifier(c.file); ok {
			return Dir{f}, true
		}
	}
	return nil, false
}

// Repair returns the least cap that grants repairing: the verifier of an
// immutable object, the write cap of a mutable one. Other caps cannot repair.
func Repair(c Cap) (r Cap, ok bool) {
	switch c := c.(type) {
	case CHK:
		return c.Verifier(), true
	case CHKVerifier, SSK:
		return c, true
	case Dir:
		if f, ok := Repair(c.file); ok {
			return Dir{f}, true
		}
	}
	return nil, false
}

// Mark returns the text of c under the prefix of a context: imm. replaces ro.,
// and ro. never replaces imm. It returns an error if c breaks the context. For
// an Unknown without prefix nobody here can tell: the caller vouches for it,
// as when the reader of a directory found it in the read-only place.
func Mark(c Cap, in Context) (string, error) {
	u, unknown := c.(Unknown)
	switch {
	case unknown && in > Anywhere && u.Err() != ErrUnknownKind:
		return "", fmt.Errorf("%s: %w", c.Kind(), u.Err())
	case !unknown && in == Immutable && Mutable(c):
		return "", fmt.Errorf("%s: %w", c.Kind(), ErrMutable)
	case !unknown && in >= ReadOnly && Writable(c):
		return "", fmt.Errorf("%s: %w", c.Kind(), ErrWritable)
	}
	s, claimed := cutPrefix(c.Reveal())
	switch max(in, claimed) {
	case ReadOnly:
		return prefixReadOnly + s, nil
	case Immutable:
		return prefixImmutable + s, nil
	}
	return s, nil
}
