package banana

import (
	"math/bits"
	"sync"
)

// Large buffers are kept for reuse, by size: 64 KiB, 256 KiB, 1 MiB, 4 MiB,
// each with some room for what stands around a block of that size. A step is
// four times the one before, so that all the copying while a body grows is
// less than half of it.
const (
	smallest = 64 << 10
	classes  = 4
	around   = 4 << 10
)

var pools [classes]sync.Pool

// class is the pool whose buffers have at least n bytes, or classes.
func class(n int) int {
	n -= around
	if n <= smallest {
		return 0
	}
	return min((bits.Len(uint(n-1))-16+1)/2, classes)
}

func classSize(c int) int { return smallest<<(2*c) + around }

// room is what a buffer for n bytes takes.
func room(n int) int {
	if c := class(n); c < classes {
		return classSize(c)
	}
	return n
}

// GetBuffer returns an empty buffer with room for n bytes. Hand it to
// PutBuffer when nobody uses it any more.
func GetBuffer(n int) []byte {
	c := class(n)
	if c == classes {
		return make([]byte, 0, n)
	}
	if p, ok := pools[c].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, classSize(c))
}

// PutBuffer keeps b for reuse if it is of a size worth keeping.
func PutBuffer(b []byte) {
	c := class(cap(b))
	if c == classes || cap(b) != classSize(c) {
		return
	}
	b = b[:0]
	pools[c].Put(&b)
}

// grow makes room for n more bytes, taking large buffers from the pools.
func grow(b []byte, n int) []byte {
	need := len(b) + n
	if need <= cap(b) || need < smallest {
		return b
	}
	bigger := append(GetBuffer(need), b...)
	PutBuffer(b)
	return bigger
}
