package gbs

import "sync"

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
