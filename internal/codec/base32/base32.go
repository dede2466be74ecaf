// Package base32 is the project's base32: lower-case RFC 3548 alphabet, no
// padding, trailing bits zero.
package base32

import (
	"encoding/base32"
	"errors"
)

// ErrSyntax is returned for text that is not canonical base32.
var ErrSyntax = errors.New("not base32 (lower case, no padding)")

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

var enc = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Encode returns the text form of b.
func Encode(b []byte) string { return enc.EncodeToString(b) }

// Decode is the inverse of Encode; it accepts only what Encode makes.
func Decode(s string) ([]byte, error) {
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' {
			return nil, ErrSyntax
		}
	}
	b, err := enc.DecodeString(s)
	if err != nil || enc.EncodeToString(b) != s {
		return nil, ErrSyntax
	}
	return b, nil
}
