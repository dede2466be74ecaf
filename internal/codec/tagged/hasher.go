package tagged

import (
	"crypto/sha256"
	"hash"
	"sync"

	"tahoe-go/internal/codec/netstring"
)

// Hash is the 32-byte output of a tagged SHA-256d.
type Hash = [32]byte

// Hasher is one tagged hash in progress: New, Write any number of times, Sum.
// Reset makes it ready for the next message of the same tag, so that hot
// loops need not allocate. One goroutine at a time.
//
// The tag of a convergence hash holds a secret, so the state sits where fmt
// cannot reach: it follows a pointer to a struct (for %s even a nested one),
// but never a pointer to a pointer.
type Hasher struct{ s **state }

type state struct {
	h      hash.Hash
	prefix []byte            // netstring of the tag
	sum    [sha256.Size]byte // scratch, on the heap once and not per Sum
}

// New starts a hash under tag.
func New(tag string) *Hasher {
	s := &state{h: sha256.New(), prefix: netstring.Append(nil, tag)}
	s.h.Write(s.prefix)
	return &Hasher{&s}
}

// Write adds p to the message. It never fails.
func (h *Hasher) Write(p []byte) (int, error) { return (*h.s).h.Write(p) }

// Sum returns the hash of what was written so far; writing may go on.
func (h *Hasher) Sum() Hash {
	s := *h.s
	inner := s.h.Sum(s.sum[:0])
	return sha256.Sum256(inner)
}

// Sum16 is the first 16 bytes of Sum: keys and storage indexes are this long.
func (h *Hasher) Sum16() [16]byte {
	sum := h.Sum()
	return [16]byte(sum[:16])
}

// Reset forgets what was written since New.
func (h *Hasher) Reset() {
	s := *h.s
	s.h.Reset()
	s.h.Write(s.prefix)
}

// pool lends hashers of one tag, for one-shot hashes of whole buffers.
type pool struct{ p sync.Pool }

func newPool(tag string) *pool {
	return &pool{sync.Pool{New: func() any { return New(tag) }}}
}

func (p *pool) hash(data []byte) Hash {
	h := p.p.Get().(*Hasher)
	h.Write(data)
	sum := h.Sum()
	h.Reset()
	p.p.Put(h)
	return sum
}

// smallMessage is the most bytes hashed from the stack; keys, secrets and
// tree nodes all fit.
const smallMessage = 256

// Sum is SHA256(SHA256(netstring(tag) + data)).
func Sum(tag string, data []byte) Hash {
	if len(tag)+len(data) > smallMessage-16 {
		h := New(tag)
		h.Write(data)
		return h.Sum()
	}
	var buf [smallMessage]byte
	return double(append(netstring.Append(buf[:0], tag), data...))
}

// Pair is SHA256(SHA256(netstring(tag) + netstring(a) + netstring(b))).
func Pair(tag string, a, b []byte) Hash {
	var buf [smallMessage]byte // append moves longer messages to the heap
	return double(netstring.Append(netstring.Append(netstring.Append(buf[:0], tag), a), b))
}

func double(msg []byte) Hash {
	inner := sha256.Sum256(msg)
	return sha256.Sum256(inner[:])
}

// first16 is how the 16-byte keys and indexes are cut from a hash.
func first16(h Hash) [16]byte { return [16]byte(h[:16]) }
