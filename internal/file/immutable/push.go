package immutable

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/format/chk"
)

const (
	// batch is how much of a share goes out in one write, in bytes.
	batch = 1 << 20
	// lanes is how many writes of one share may be under way at once: while
	// one waits for its answer another one fills the line.
	lanes = 2
	// queue is how many segments may wait for a share's lanes.
	queue = 1
)

// push encodes what src has and sends every share to its home. A server that
// fails or stalls is dropped as long as happiness holds, or, if that is no
// matter, as long as one is left.
//
// Memory: each share holds up to lanes batches, and the encoder its segments
// in flight.
func (u *sending) push(ctx context.Context, p *placement, src io.Reader) (*chk.Trailer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	all := make([]*pusher, len(p.writers))
	for i, w := range p.writers {
		all[i] = newPusher(u, w)
		go all[i].run(ctx)
	}
	defer func() { // nobody outlives the operation
		cancel(nil)
		for _, s := range all {
			<-s.done
		}
	}()
	live, l := all, u.enc.Layout()
	var trailer *chk.Trailer
	var err error
	for seg, serr := range u.enc.Segments(ctx, src) {
		if serr != nil {
			err = serr
			break
		}
		if live, err = u.feed(ctx, p, live, seg); err != nil {
			break
		}
		u.trace.encoded(min((seg.Num+1)*l.SegmentSize, l.Size), l.Size)
	}
	if err == nil {
		trailer, err = u.enc.Trailer()
	}
	if err == nil {
		err = u.finish(ctx, p, live, trailer)
	}
	if err != nil {
		cancel(err)
		p.abort(ctx)
		return nil, err
	}
	return trailer, nil
}

// feed hands a segment's blocks to the shares that are still under way.
func (u *sending) feed(ctx context.Context, p *placement, live []*pusher, seg *chk.Segment) ([]*pusher, error) {
	defer seg.Release()
	keep := live[:0:0]
	for _, s := range live {
		seg.Hold(1)
		if err := s.offer(ctx, part{data: seg.Blocks[s.num], release: seg.Release}); err != nil {
			seg.Release()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err := u.lose(p, s, err); err != nil {
				return nil, err
			}
			continue
		}
		keep = append(keep, s)
	}
	return keep, nil
}

// finish sends the trailers and waits for every share to be acknowledged.
func (u *sending) finish(ctx context.Context, p *placement, live []*pusher, t *chk.Trailer) error {
	var offers sync.WaitGroup
	for _, s := range live {
		offers.Go(func() { s.offer(ctx, part{rest: t.Share(s.num)}) })
	}
	offers.Wait()
	for _, s := range live {
		if err := s.wait(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := u.lose(p, s, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// lose drops a share, and says whether that ends the upload.
func (u *sending) lose(p *placement, s *pusher, why error) error {
	s.cancel(why)
	p.drop(s.writer, why)
	if h := p.happiness(); h < u.happy {
		return p.unhappy(h)
	}
	for i, w := range p.writers {
		if w.num == s.num && w.peer.ID == s.peer.ID {
			p.writers = append(p.writers[:i:i], p.writers[i+1:]...)
			break
		}
	}
	u.abortOne(context.Background(), s.writer)
	if u.happy == 0 && len(p.writers) == 0 {
		if u.giveUp != nil {
			u.giveUp()
		}
		return errNobodyLeft
	}
	return nil
}

// part is a piece of a share, in order: a block, or the rest of the share.
type part struct {
	data    []byte
	release func() // gives data back
	rest    io.Reader
}

// pusher sends one share.
type pusher struct {
	writer
	u      *sending
	in     chan part
	done   chan struct{} // closed when err is final
	err    error         // readable once done is closed
	moved  atomic.Int64  // when the share last made progress or got work, Unix nanoseconds
	flying atomic.Int32  // writes under way
	cancel context.CancelCauseFunc
	ctx    context.Context // of the writes; ends with the operation
}

func newPusher(u *sending, w writer) *pusher {
	s := &pusher{writer: w, u: u, in: make(chan part, queue), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.moved.Store(time.Now().UnixNano())
	return s
}

// offer queues a part; an error says that the share has failed, stalls, or
// that the operation has ended.
func (s *pusher) offer(ctx context.Context, pt part) error {
	for {
		patience := s.patience()
		timer := time.NewTimer(patience)
		select {
		case s.in <- pt:
			timer.Stop()
			return nil
		case <-s.done:
			timer.Stop()
			return s.err
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
			if s.patience() <= 0 {
				return s.stalled()
			}
		}
	}
}

// wait returns when the share is acknowledged, or why it will not be.
func (s *pusher) wait(ctx context.Context) error {
	for {
		timer := time.NewTimer(s.patience())
		select {
		case <-s.done:
			timer.Stop()
			return s.err
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
			if s.patience() <= 0 {
				return s.stalled()
			}
		}
	}
}

// patience is how long the share may still go without progress. A share that
// has nothing to send is not late, whoever it waits for.
func (s *pusher) patience() time.Duration {
	if s.flying.Load() == 0 {
		return s.u.c.Patience.Stall
	}
	return s.u.c.Patience.Stall - time.Since(time.Unix(0, s.moved.Load()))
}

func (s *pusher) stalled() error {
	return fmt.Errorf("%w for %v", errStalled, s.u.c.Patience.Stall)
}

// run cuts what comes in into batches and keeps up to lanes of them under
// way.
func (s *pusher) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
	defer stop()
	err := s.send()
	if err == nil {
		err = s.to.Close(s.ctx)
	}
	if err != nil && s.ctx.Err() != nil {
		err = context.Cause(s.ctx)
	}
	s.err = err
	close(s.done)
	for { // parts queued in vain go back to the encoder
		select {
		case pt := <-s.in:
			pt.free()
		default:
			return
		}
	}
}

func (pt part) free() {
	if pt.release != nil {
		pt.release()
	}
}

func (s *pusher) send() error {
	b := batcher{s: s, slots: make(chan *[]byte, lanes)}
	for range lanes {
		b.slots <- nil
	}
	err := b.fill()
	b.lanes.Wait()
	if err == nil {
		err = b.failure()
	}
	return err
}

// batcher gathers a share's bytes and writes them a batch at a time.
type batcher struct {
	s     *pusher
	slots chan *[]byte // free buffers; nil: one not made yet
	buf   []byte       // being filled
	off   int64        // of buf in the share
	lanes sync.WaitGroup

	mu  sync.Mutex // guards below
	err error      // the first that a lane met
}

func (b *batcher) fill() error {
	if err := b.add(b.s.u.enc.Header()); err != nil {
		return err
	}
	for {
		select {
		case pt := <-b.s.in:
			if pt.rest != nil {
				return b.rest(pt.rest)
			}
			err := b.add(pt.data)
			pt.free()
			if err != nil {
				return err
			}
		case <-b.s.ctx.Done():
			return context.Cause(b.s.ctx)
		}
	}
}

// rest takes the share's last part from a reader.
func (b *batcher) rest(r io.Reader) error {
	piece := make([]byte, 32<<10)
	for {
		n, err := r.Read(piece)
		if err := b.add(piece[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return b.flush()
		}
		if err != nil {
			return err
		}
	}
}

func (b *batcher) add(p []byte) error {
	for len(p) > 0 {
		if b.buf == nil {
			if err := b.take(); err != nil {
				return err
			}
		}
		n := copy(b.buf[len(b.buf):cap(b.buf)], p)
		b.buf, p = b.buf[:len(b.buf)+n], p[n:]
		if len(b.buf) == cap(b.buf) {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// take waits for a free buffer.
func (b *batcher) take() error {
	if err := b.failure(); err != nil {
		return err
	}
	select {
	case buf := <-b.slots:
		if buf == nil {
			fresh := make([]byte, 0, min(batch, b.s.u.enc.ShareSize()))
			buf = &fresh
		}
		b.buf = (*buf)[:0]
		return nil
	case <-b.s.ctx.Done():
		return context.Cause(b.s.ctx)
	}
}

// flush sends what has been gathered along a lane of its own.
func (b *batcher) flush() error {
	if len(b.buf) == 0 {
		return nil
	}
	buf, off := b.buf, b.off
	b.buf, b.off = nil, b.off+int64(len(buf))
	if b.s.flying.Add(1) == 1 {
		b.s.moved.Store(time.Now().UnixNano())
	}
	b.lanes.Go(func() {
		defer func() { b.slots <- &buf }()
		defer b.s.flying.Add(-1)
		if err := b.s.write(buf, off); err != nil {
			b.mu.Lock()
			if b.err == nil {
				b.err = err
			}
			b.mu.Unlock()
			return
		}
		b.s.moved.Store(time.Now().UnixNano())
		b.s.u.took.Store(true)
		b.s.u.trace.pushed(b.s.peer.ID, b.s.num, len(buf))
	})
	return nil
}

// write sends a batch. While the way to the server is broken it tries again:
// what has arrived is still there, so the share goes on where it stopped.
func (s *pusher) write(p []byte, off int64) error {
	for {
		err := s.to.WriteAt(s.ctx, p, off)
		again := err != nil && s.u.c.Patience.Outage > 0 && unheard(err) && s.patience() > s.u.c.Patience.Stall/2
		if !again || s.ctx.Err() != nil {
			return err
		}
		pause(s.ctx, s.u.c.Patience.Hedge)
	}
}

func (b *batcher) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
