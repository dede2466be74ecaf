package chk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/codec/zfec"
	"tahoe-go/internal/format/caps"
)

// Config says how one file is encoded. The zero value is rejected for want of
// a key and a size.
type Config struct {
	Key    caps.Key // must never serve two contents
	Size   int64    // of the plaintext in bytes; at least 1
	Params Params

	// Workers is how many segments are encoded at once; 0 means one a CPU.
	Workers int
	// InFlight bounds memory: the segments that exist at once, being encoded
	// or not yet released by the caller, each of n blocks. 0 means Workers+2.
	InFlight int
}

// Encoder turns one plaintext into n shares: Segments once, then Trailer. One
// goroutine at a time, except for what Segment says of itself.
//
// Besides the segments in flight it remembers the hash of every block, 32
// bytes each: 1/3000 of the file at 3-of-10 and 1 MiB segments.
type Encoder struct {
	layout Layout
	cipher *Cipher // nil: what is read is ciphertext already
	again  *known  // the file that is encoded again; nil: a new one
	code   *zfec.Code
	config Config

	leaves    [][]Hash // block hashes: a row for each share, by segment
	crypttext []Hash   // segment hashes
	flat      *tagged.Hasher
	ran       bool
	complete  bool
}

// NewEncoder checks c and lays the file out. ErrUnsupported for parameters
// out of bounds.
func NewEncoder(c Config) (*Encoder, error) {
	layout, err := NewLayout(c.Params, c.Size)
	if err != nil {
		return nil, err
	}
	cipher, err := NewCipher(c.Key)
	if err != nil {
		return nil, err
	}
	e, err := encoderOf(layout, c)
	if err != nil {
		return nil, err
	}
	e.cipher = cipher
	return e, nil
}

// encoderOf has no cipher. Of c it takes key, Workers and InFlight.
func encoderOf(layout Layout, c Config) (*Encoder, error) {
	code, err := zfec.New(layout.K, layout.N)
	if err != nil {
		return nil, err
	}
	if c.Workers < 1 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	c.Workers = int(min(int64(c.Workers), layout.Segments))
	if c.InFlight < 1 {
		c.InFlight = c.Workers + 2
	}
	e := &Encoder{layout: layout, code: code, config: c, flat: tagged.NewCrypttext()}
	e.leaves = make([][]Hash, layout.N)
	for i := range e.leaves {
		e.leaves[i] = make([]Hash, 0, min(layout.Segments, 1<<12))
	}
	return e, nil
}

// Layout tells every size and offset of the shares.
func (e *Encoder) Layout() Layout { return e.layout }

// ShareSize is the exact size of each share in bytes.
func (e *Encoder) ShareSize() int64 { return e.layout.ShareSize }

// Header is the start of every share, up to the first block.
func (e *Encoder) Header() []byte { return e.layout.Header.Append(nil) }

// Segment is one encoded segment.
type Segment struct {
	Num    int64
	Blocks [][]byte // n blocks, by share number; valid until Release

	holds atomic.Int32 // Release calls still to come
	free  chan<- *buffers
	buf   *buffers
}

// Hold makes n more calls of Release necessary, for callers that hand the
// blocks to several goroutines.
func (s *Segment) Hold(n int) { s.holds.Add(int32(n)) }

// Release gives the memory back for another segment. It must be called once,
// and once more for each Hold, from any goroutine, even after the loop has
// ended. The encoder waits when all segments in flight are held.
func (s *Segment) Release() {
	switch n := s.holds.Add(-1); {
	case n == 0:
		s.free <- s.buf // has room for all
	case n < 0:
		panic("chk: internal error: segment released too often")
	}
}

// Segments reads the plaintext from r, which must have exactly the announced
// size (else ErrSourceSize), and yields the encoded segments in order. The
// first error ends the sequence. Leaving the loop early is fine; it returns
// once the workers have, that is after a call of r.Read in progress.
func (e *Encoder) Segments(ctx context.Context, r io.Reader) iter.Seq2[*Segment, error] {
	return func(yield func(*Segment, error) bool) {
		if e.ran {
			yield(nil, errors.New("segments of an encoder can be asked for once only"))
			return
		}
		e.ran = true
		e.run(ctx, r, yield)
	}
}

func (e *Encoder) run(ctx context.Context, r io.Reader, yield func(*Segment, error) bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := newPipeline(e, r)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel(nil)
	for range e.config.Workers {
		workers.Go(func() {
			if err := p.work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	early := make(map[int64]*encoded) // done before their turn; at most InFlight
	for num := range e.layout.Segments {
		for early[num] == nil {
			select {
			case seg := <-p.done:
				early[seg.Num] = seg
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			}
		}
		seg := early[num]
		delete(early, num)
		for i, h := range seg.buf.hashes {
			e.leaves[i] = append(e.leaves[i], h)
		}
		e.crypttext = append(e.crypttext, seg.hash)
		// Before the last segment is out, so that Trailer may follow any
		// loop that saw it.
		e.complete = num == e.layout.Segments-1
		if !yield(&seg.Segment, nil) {
			return
		}
	}
}

// buffers are the memory of one segment in flight. The primary blocks lie side
// by side, being the ciphertext; the parity blocks lie apart, each with room
// to be computed in whole vectors.
type buffers struct {
	data    []byte
	text    []byte   // the segment: plaintext, then ciphertext; a view of data
	blocks  [][]byte // views of data
	room    [][]byte // the same, up to whole vectors
	hashes  []Hash   // of the blocks
	hashers []*tagged.Hasher
	segment *tagged.Hasher
	stripes [][]byte // scratch: of each block the stripe in hand
}

// encoded is a segment on its way from a worker to the caller.
type encoded struct {
	Segment
	hash Hash // of the ciphertext
}

// pipeline is what the workers of one run share.
type pipeline struct {
	*Encoder
	free chan *buffers
	done chan *encoded

	reader chan struct{} // full while a worker reads; guards below. Reading may take long: no mutex
	r      io.Reader
	next   int64
	turn   chan struct{} // closed when the segment read last has been through the flat hash
}

func newPipeline(e *Encoder, r io.Reader) *pipeline {
	p := &pipeline{Encoder: e, r: r, reader: make(chan struct{}, 1), turn: make(chan struct{})}
	p.free = make(chan *buffers, e.config.InFlight)
	p.done = make(chan *encoded, e.config.InFlight)
	for range e.config.InFlight {
		p.free <- new(buffers) // memory comes when first used
	}
	close(p.turn)
	return p
}

// work encodes segments until there are no more.
func (p *pipeline) work(ctx context.Context) error {
	for {
		var buf *buffers
		select {
		case buf = <-p.free:
		case <-ctx.Done():
			return nil
		}
		num, before, mine, err := p.read(ctx, buf)
		if err != nil {
			return err
		}
		if num == p.layout.Segments {
			p.free <- buf
			return nil
		}
		seg := &encoded{Segment: Segment{Num: num, Blocks: buf.blocks, free: p.free, buf: buf}}
		seg.holds.Store(1)
		if p.cipher != nil {
			p.cipher.XOR(buf.text, buf.text, num*p.layout.SegmentSize)
		}
		buf.segment.Reset()
		buf.segment.Write(buf.text)
		seg.hash = buf.segment.Sum()
		// The flat hash is the one serial step besides reading: segments
		// pass through it in order while others are encoded.
		select {
		case <-before:
		case <-ctx.Done():
			return nil
		}
		p.flat.Write(buf.text)
		close(mine)
		if err := p.encode(buf); err != nil {
			return err
		}
		p.done <- seg // has room for all
	}
}

// read takes the next segment of plaintext into buf and lines up for the flat
// hash: after before is closed, until mine is.
func (p *pipeline) read(ctx context.Context, buf *buffers) (num int64, before, mine chan struct{}, err error) {
	select {
	case p.reader <- struct{}{}:
	case <-ctx.Done():
		return p.layout.Segments, nil, nil, nil
	}
	defer func() { <-p.reader }()
	num = p.next
	if num == p.layout.Segments || ctx.Err() != nil {
		return p.layout.Segments, nil, nil, nil
	}
	buf.shape(&p.layout, num)
	n, err := io.ReadFull(p.r, buf.text)
	if err == nil && num == p.layout.Segments-1 {
		err = expectEnd(p.r)
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrSourceSize):
		return 0, nil, nil, ErrSourceSize
	case err != nil:
		return 0, nil, nil, fmt.Errorf("reading source at %d: %w", num*p.layout.SegmentSize+int64(n), err)
	}
	before, mine = p.turn, make(chan struct{})
	p.next, p.turn = num+1, mine
	return num, before, mine, nil
}

// expectEnd reports ErrSourceSize when r has more bytes.
func expectEnd(r io.Reader) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	if n > 0 {
		return ErrSourceSize
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// vector is what the code's kernels compute at once; shorter rests are slow.
const vector = 64

// shape cuts buf for segment num, with the padding of a tail zeroed.
func (b *buffers) shape(l *Layout, num int64) {
	size := l.BlockLen(num)
	k, stride := int64(l.K), roundUp(size, vector)
	primary := roundUp(k*size, vector) + vector
	if b.data == nil {
		b.data = make([]byte, primary+int64(l.N-l.K)*stride)
		b.blocks, b.room, b.stripes = make([][]byte, l.N), make([][]byte, l.N), make([][]byte, l.N)
		b.hashes = make([]Hash, l.N)
		b.segment = tagged.NewCrypttextSegment()
		for range l.N {
			b.hashers = append(b.hashers, tagged.NewBlock())
		}
	}
	for i := range b.blocks {
		off := int64(i) * size
		if i >= l.K {
			off = primary + (int64(i)-k)*stride
		}
		b.blocks[i] = b.data[off : off+size : off+size]
		b.room[i] = b.data[off : off+stride : off+stride]
	}
	b.text = b.data[:l.SegmentLen(num)]
	clear(b.data[len(b.text) : k*size])
}

// stripe is how many bytes of each block are worked on at once: small enough
// that they stay in the processor's nearest caches between code and hash.
const stripe = 16 << 10

// encode fills the parity blocks and hashes all blocks. The last stripe
// reaches into the room behind the blocks; behind primary blocks that is the
// next block, which is read for nothing.
func (e *Encoder) encode(b *buffers) error {
	for _, h := range b.hashers {
		h.Reset()
	}
	size, padded := len(b.blocks[0]), len(b.room[0])
	for off := 0; off < size; off += stripe {
		end := min(off+stripe, padded)
		for i := range b.stripes {
			b.stripes[i] = b.room[i][off:end]
		}
		if err := e.code.Encode(b.stripes[:e.layout.K], b.stripes[e.layout.K:]); err != nil {
			return fmt.Errorf("encoding: %w", err)
		}
		for i, h := range b.hashers {
			h.Write(b.blocks[i][off:min(end, size)])
		}
	}
	for i, h := range b.hashers {
		b.hashes[i] = h.Sum()
	}
	return nil
}
