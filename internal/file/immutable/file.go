package immutable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
)

// File reads one immutable file. It may be used concurrently; what one read
// has proven of the file as a whole serves the others.
type File struct {
	c      *Client
	cap    caps.CHKVerifier
	si     storage.Index
	cipher *chk.Cipher // nil: what is read is ciphertext
	chk    *chk.File

	// damaged are shares that are known not to be worth reading, by server.
	damaged map[string][]storage.ShareNum
}

// Open prepares to read the file that cap stands for. It asks nobody yet.
func (c *Client) Open(cap caps.CHK) (*File, error) {
	cipher, err := chk.NewCipher(cap.Key)
	if err != nil {
		return nil, err
	}
	file, err := chk.NewFile(cap.Verifier())
	if err != nil {
		return nil, err
	}
	return &File{c: c, cap: cap.Verifier(), si: cap.Index(), cipher: cipher, chk: file}, nil
}

// openCiphertext prepares to read the file undeciphered, which takes no key.
func (c *Client) openCiphertext(cap caps.CHKVerifier, damaged map[string][]storage.ShareNum) (*File, error) {
	file, err := chk.NewFile(cap)
	if err != nil {
		return nil, err
	}
	return &File{c: c, cap: cap, si: cap.Index, chk: file, damaged: damaged}, nil
}

// Size is the file's length in bytes, as the cap says.
func (f *File) Size() int64 { return f.cap.Size }

// ReadRange writes n bytes from offset off to w, in order, each proven to be
// the file's before it is written. It ends with *NotEnoughSharesError when the
// shares cannot be had, with the error of w, or with ctx.
//
// When servers vanish while it reads it goes on where it stopped once enough
// are back, for as long as Patience.Outage allows.
func (f *File) ReadRange(ctx context.Context, w io.Writer, off, n int64, tr *Trace) error {
	if off < 0 || n < 0 || off > f.cap.Size || n > f.cap.Size-off {
		return fmt.Errorf("range of %d bytes at %d in a file of %d", n, off, f.cap.Size)
	}
	end := off + n
	out := &counter{w: w}
	lastGood, began := time.Now(), false
	absent := map[string]bool{}
	for off < end {
		err := f.attempt(ctx, out, off, end, tr)
		if err == nil {
			return nil
		}
		if out.n > 0 {
			lastGood, began = time.Now(), true
		}
		off, out.n = off+out.n, 0
		if !worthWaiting(ctx, err, began, absent) || time.Since(lastGood) > f.c.c.Patience.Outage {
			return err
		}
		pause(ctx, f.c.c.Patience.Hedge)
	}
	return nil
}

// worthWaiting reports whether err may pass by itself: servers did not answer,
// as opposed to answering that they have no good share. If a part of the file
// was read already, shares that are missing now are on servers that are not
// connected: nobody asks those, so they give no error. absent is kept between
// tries: the servers that have not answered since they gave an error. Those
// that come back first must not be taken for all there are.
func worthWaiting(ctx context.Context, err error, began bool, absent map[string]bool) bool {
	e, ok := errors.AsType[*NotEnoughSharesError](err)
	if !ok || ctx.Err() != nil {
		return false
	}
	for _, s := range e.Servers {
		if s.Err != nil {
			absent[s.ID] = true
		} else {
			delete(absent, s.ID)
		}
	}
	return len(e.Servers) == 0 || began && e.Corrupt == 0 || len(absent) > 0
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// attempt reads from off to end with one set of shares.
func (f *File) attempt(ctx context.Context, w io.Writer, off, end int64, tr *Trace) error {
	ctx, cancel := context.WithCancel(ctx)
	p := newPool(ctx, f, off, end, tr)
	defer p.wait()
	defer cancel()
	l, err := p.layout(ctx)
	if err != nil {
		return err
	}
	r := &reader{File: f, pool: p, l: l, trace: tr, end: end}
	return r.copy(ctx, w, off)
}

// reader is one pass over a range.
type reader struct {
	*File
	pool  *pool
	l     chk.Layout
	trace *Trace
	end   int64
	wg    sync.WaitGroup
	bufs  sync.Pool // of *[]byte: blocks and segments that have served
}

// buffer returns n bytes, perhaps used before.
func (r *reader) buffer(n int64) []byte {
	if b, ok := r.bufs.Get().(*[]byte); ok && int64(cap(*b)) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

// recycle takes back what buffer gave; the caller must not touch it again.
func (r *reader) recycle(b []byte) { r.bufs.Put(&b) }

const (
	// ahead is how many chunks are fetched at once: while one is decoded and
	// written the next are on the line.
	ahead = 3
	// chunkShare and chunkFile bound a chunk: bytes of one share, which go
	// in one request, and bytes of the file, which is what memory holds.
	chunkShare = 1 << 20
	chunkFile  = 4 << 20
)

// chunk is a run of segments fetched together.
type chunk struct {
	first int64
	count int
	bytes int64        // of one share, at most
	text  chan decoded // receives one value
}

// decoded is a chunk's plaintext, segment by segment.
type decoded struct {
	segs [][]byte
	err  error
}

// copy writes the range, a chunk at a time, with ahead chunks under way.
func (r *reader) copy(ctx context.Context, w io.Writer, off int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()
	next, last := off/r.l.SegmentSize, (r.end-1)/r.l.SegmentSize
	var under []*chunk
	for size := 1; next <= last || len(under) > 0; {
		for len(under) < ahead && next <= last {
			c := &chunk{first: next, count: int(min(int64(size), last-next+1)), text: make(chan decoded, 1)}
			c.bytes = int64(c.count) * r.l.BlockSize
			next += int64(c.count)
			size = r.fullChunk() // the first is small, for a quick first byte
			under = append(under, c)
			r.wg.Go(func() { c.text <- r.chunk(ctx, c) })
		}
		c := under[0]
		under = under[1:]
		d := <-c.text
		if d.err != nil {
			return d.err
		}
		for i, text := range d.segs {
			at := (c.first + int64(i)) * r.l.SegmentSize
			from, to := max(off-at, 0), min(r.end-at, int64(len(text)))
			if _, err := w.Write(text[from:to]); err != nil {
				return err
			}
			r.recycle(text)
		}
	}
	return nil
}

// fullChunk is the number of segments in a chunk.
func (r *reader) fullChunk() int {
	n := min(chunkShare/r.l.BlockSize, chunkFile/r.l.SegmentSize, chk.MaxBlocks)
	return int(max(n, 1))
}
