// Package netstring writes and strictly reads netstrings: "LENGTH:BYTES,".
//
// It knows nothing of what the bytes mean. The format is D. J. Bernstein's
// (cr.yp.to/proto/netstrings.txt); every hash tag and several file formats
// are built of it. Start with [Append] and [Next].
package netstring

import (
	"errors"
	"fmt"
	"strconv"
)

// Errors of Next; branch on them with errors.Is.
var (
	ErrSyntax   = errors.New("not a netstring")
	ErrTooLong  = errors.New("netstring longer than allowed")
	ErrTooShort = errors.New("netstring cut short")
)

// maxDigits bounds how much of the input is looked at for the length.
const maxDigits = 18

// Append appends the netstring of b to dst.
func Append[T ~string | ~[]byte](dst []byte, b T) []byte {
	dst = strconv.AppendInt(dst, int64(len(b)), 10)
	dst = append(dst, ':')
	dst = append(dst, b...)
	return append(dst, ',')
}

// Len is the number of bytes the netstring of size bytes takes.
func Len(size int) int {
	digits := 1
	for n := size; n >= 10; n /= 10 {
		digits++
	}
	return digits + size + 2
}

// Next reads the netstring at the start of b and returns its bytes and what
// follows it. Both alias b; nothing is allocated. limit is the most bytes the
// string may have.
//
// It is strict: a length has no sign, no space and no leading zero, so that
// what it accepts is exactly what Append makes.
func Next(b []byte, limit int) (data, rest []byte, err error) {
	size, digits, err := length(b)
	if err != nil {
		return nil, nil, err
	}
	if size > int64(limit) {
		return nil, nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLong, size, limit)
	}
	body := b[digits+1:]
	if int64(len(body)) <= size {
		return nil, nil, fmt.Errorf("%w: %d bytes announced, %d left", ErrTooShort, size, len(body))
	}
	if body[size] != ',' {
		return nil, nil, fmt.Errorf("%w: no comma after %d bytes", ErrSyntax, size)
	}
	return body[:size:size], body[size+1:], nil
}

// length reads "DIGITS:" and returns the number and how many digits it had.
func length(b []byte) (size int64, digits int, err error) {
	for i, c := range b {
		switch {
		case c == ':' && i > 0:
			return size, i, nil
		case c < '0' || c > '9':
			return 0, 0, fmt.Errorf("%w: byte %#02x in the length", ErrSyntax, c)
		case i > 0 && b[0] == '0':
			return 0, 0, fmt.Errorf("%w: leading zero", ErrSyntax)
		case i == maxDigits:
			return 0, 0, fmt.Errorf("%w: more than %d digits", ErrTooLong, maxDigits)
		}
		size = size*10 + int64(c-'0')
	}
	return 0, 0, fmt.Errorf("%w: no colon", ErrTooShort)
}
