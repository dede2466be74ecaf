package gbs

import (
	"encoding/binary"
	"math"
)

// The major types of CBOR.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorOther = 7

	cborFalse, cborTrue, cborNull = 0xf4, 0xf5, 0xf6
)

// scanner reads CBOR in place: byte strings it returns are parts of what it
// was given, and it allocates nothing. It is for messages too large to be
// held twice. After anything unexpected it is bad, returns zeros, and so ends
// every loop that counts by what is left. Indefinite lengths and tags are
// unexpected.
type scanner struct {
	b   []byte
	bad bool
}

func (s *scanner) fail() {
	s.b, s.bad = nil, true
}

// take returns the next n bytes.
func (s *scanner) take(n uint64) []byte {
	if n > uint64(len(s.b)) {
		s.fail()
		return nil
	}
	p := s.b[:n:n]
	s.b = s.b[n:]
	return p
}

// head reads the head of an item of one major type.
func (s *scanner) head(major byte) uint64 {
	if len(s.b) == 0 || s.b[0]>>5 != major {
		s.fail()
		return 0
	}
	info := s.take(1)[0] & 31
	switch {
	case info < 24:
		return uint64(info)
	case info > 27:
		s.fail()
		return 0
	}
	p := s.take(1 << (info - 24))
	if p == nil {
		return 0
	}
	var wide [8]byte
	copy(wide[8-len(p):], p)
	return binary.BigEndian.Uint64(wide[:])
}

// size reads an unsigned integer as a length, the largest there is when it
// does not fit.
func (s *scanner) size() int64 { return int64(min(s.head(majorUint), math.MaxInt64)) }

// bytes reads a byte string.
func (s *scanner) bytes() []byte { return s.take(s.head(majorBytes)) }

// array and pairs read how many items or pairs follow, at most so many.
func (s *scanner) array(most int) int { return s.count(majorArray, most) }
func (s *scanner) pairs(most int) int { return s.count(majorMap, most) }

func (s *scanner) count(major byte, most int) int {
	n := s.head(major)
	if n > uint64(most) {
		s.fail()
		return 0
	}
	return int(n)
}

// simple reads false, true or null.
func (s *scanner) simple() byte {
	if p := s.take(1); p != nil {
		return p[0]
	}
	return 0
}

// isNull reports whether null is next, and if so reads it.
func (s *scanner) isNull() bool {
	if len(s.b) == 0 || s.b[0] != cborNull {
		return false
	}
	s.take(1)
	return true
}

// record reads a map that has exactly these keys, in any order, and calls
// value with the number of each to read what it has.
func (s *scanner) record(keys []string, value func(key int)) {
	if s.pairs(len(keys)) != len(keys) {
		s.fail()
		return
	}
	seen := 0
	for range keys {
		name := s.take(s.head(majorText))
		key := -1
		for i, k := range keys {
			if string(name) == k && seen&(1<<i) == 0 {
				key = i
			}
		}
		if s.bad || key < 0 {
			s.fail()
			return
		}
		seen |= 1 << key
		value(key)
	}
}

// done reports whether all was as expected, and nothing is left.
func (s *scanner) done() bool { return !s.bad && len(s.b) == 0 }

// appendHead writes the head of an item in its shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

func appendBytes(b, p []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(p))), p...)
}
