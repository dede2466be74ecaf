package gbs

import (
	"math/bits"
	"sync"
)

// Share bytes move in pieces of a chunk: large enough for few calls, small
// enough to stay in a core's cache between the socket and the store.
const (
	chunk      = 256 << 10
	smallChunk = 16 << 10
)

// buffers hands out chunk buffers up to a budget and small ones beyond it, so
// that many slow clients cost little and nobody waits for a buffer.
type buffers struct {
	budget chan struct{} // one slot for each chunk handed out
	large  sync.Pool
	small  sync.Pool
}

func newBuffers(bytes int64) *buffers {
	return &buffers{budget: make(chan struct{}, max(1, bytes/chunk))}
}

// get returns a buffer for n bytes in all, in pieces when n is large. The
// caller calls put when done.
func (b *buffers) get(n int64) (buf []byte, put func()) {
	if n > smallChunk {
		select {
		case b.budget <- struct{}{}:
			p, _ := b.large.Get().(*[chunk]byte)
			if p == nil {
				p = new([chunk]byte)
			}
			return p[:], func() { b.large.Put(p); <-b.budget }
		default:
		}
	}
	p, _ := b.small.Get().(*[smallChunk]byte)
	if p == nil {
		p = new([smallChunk]byte)
	}
	return p[:], func() { b.small.Put(p) }
}

// maxPooled is the largest buffer for a whole message that is kept for the
// next one.
const maxPooled = 8 << 20

// bodies keeps buffers for whole messages, of chunk bytes and its doubles up
// to maxPooled.
type bodies [6]sync.Pool

// bodySize returns the size of a buffer for n bytes.
func bodySize(n int64) int64 {
	if n > maxPooled {
		return n
	}
	return chunk << bodyClass(n)
}

func bodyClass(n int64) int { return bits.Len64(uint64(max(n, chunk)-1)) - bits.Len(chunk-1) }

// get returns an empty buffer of size bytes, which bodySize has returned.
func (b *bodies) get(size int64) []byte {
	if size <= maxPooled {
		if p, _ := b[bodyClass(size)].Get().(*[]byte); p != nil {
			return *p
		}
	}
	return make([]byte, 0, size)
}

// put takes a buffer back that get has returned.
func (b *bodies) put(buf []byte) {
	if size := int64(cap(buf)); size <= maxPooled {
		buf = buf[:0]
		b[bodyClass(size)].Put(&buf)
	}
}
