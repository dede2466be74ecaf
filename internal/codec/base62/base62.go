// Package base62 is the big-endian base 62 of digits, capitals and small
// letters that some older parts of the field write.
//
// The text is as long as the bytes need at worst, so that leading zeros
// survive: its length is fixed by theirs. Made for short identifiers; the
// arithmetic is quadratic.
package base62

import (
	"errors"
	"math"
	"math/big"
)

// ErrSyntax is returned for text that Encode does not make.
var ErrSyntax = errors.New("not base62")

// maxText bounds what Decode works on: about 750 bytes.
const maxText = 1000

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// bitsPerChar is irrational: no whole number of characters holds exactly a
// whole number of bytes, and at the lengths allowed here none comes near
// enough for rounding to matter.
var bitsPerChar = math.Log2(62)

// textLen is the number of characters for n bytes.
func textLen(n int) int { return int(math.Ceil(float64(8*n) / bitsPerChar)) }

// Encode returns the text form of b.
func Encode(b []byte) string {
	text := make([]byte, textLen(len(b)))
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := len(text) - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = alphabet[digit.Int64()]
	}
	return string(text)
}

// Decode is the inverse of Encode; it accepts only what Encode makes, up to
// 1000 characters.
func Decode(s string) ([]byte, error) {
	size := int(float64(len(s)) * bitsPerChar / 8)
	if len(s) > maxText || textLen(size) != len(s) {
		return nil, ErrSyntax
	}
	n, base := new(big.Int), big.NewInt(int64(len(alphabet)))
	for i := range len(s) {
		digit, ok := value(s[i])
		if !ok {
			return nil, ErrSyntax
		}
		n.Add(n.Mul(n, base), big.NewInt(digit))
	}
	if n.BitLen() > 8*size {
		return nil, ErrSyntax
	}
	return n.FillBytes(make([]byte, size)), nil
}

func value(c byte) (digit int64, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'A' <= c && c <= 'Z':
		return int64(c-'A') + 10, true
	case 'a' <= c && c <= 'z':
		return int64(c-'a') + 36, true
	}
	return 0, false
}
