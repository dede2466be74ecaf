// Package redact holds secrets so that they cannot be printed by accident.
//
// fmt cannot call methods on unexported struct fields, so a Format method
// alone leaks as soon as a secret sits inside another struct. Secret keeps
// its bytes behind a unique.Handle: whatever verb or encoder walks the value
// sees a pointer, never the text. It does not wipe memory and does not hide
// from reflection that means to look. Start with New and Secret.Reveal;
// redacttest checks types that hold secrets.
package redact

import (
	"crypto/subtle"
	"fmt"
	"io"
	"unique"
)

// Secret is a comparable, copyable holder of secret bytes. The zero value
// holds nothing and is distinct from New("").
type Secret struct {
	h unique.Handle[string]
}

// New holds the bytes of s.
func New(s string) Secret { return Secret{h: unique.Make(s)} }

// Reveal returns the secret. It is the only way to the bytes, so that every
// use can be found by its name.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.h.Value()
}

// IsZero reports whether s holds nothing.
func (s Secret) IsZero() bool { return s == Secret{} }

// Equal compares in constant time (for equal lengths). The zero value equals
// nothing, so that a secret which was never set opens no door.
func (s Secret) Equal(t Secret) bool {
	return !s.IsZero() && !t.IsZero() && subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// Format prints a fixed word for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[secret]") }

// String returns a fixed word.
func (s Secret) String() string { return "[secret]" }

// MarshalJSON writes a fixed word.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"[secret]"`), nil }
