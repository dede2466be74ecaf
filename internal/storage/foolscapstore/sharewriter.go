package foolscapstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// depth is how many writes of one share are under way at once. With the one
// that is being collected a share costs up to depth+1 batches of memory.
const depth = 3

// shareWriter sends one share. It collects what belongs together into batches
// and does not wait for the answers: an error of one write is that of a later
// one, or of Close.
type shareWriter struct {
	c    *Client
	ref  *foolscap.Ref // RIBucketWriter
	name string
	size int64

	quit   context.CancelFunc // ends the writes under way
	life   context.Context    // ended by quit
	places chan struct{}      // of capacity depth: writes under way
	lock   chan struct{}      // of capacity 1: who has put something in it may use what is below
	have   storage.Spans      // bytes taken from the caller
	buf    []byte             // those that go out next
	at     int64              // where buf belongs
	ended  bool               // Close succeeded, or Abort was called
	over   bool               // the server needs not be told that it ended

	mu     sync.Mutex // guards below
	failed error      // of a write that nobody waited for
}

var _ storage.ShareWriter = (*shareWriter)(nil)

func newShareWriter(c *Client, ref *foolscap.Ref, name string, size int64) *shareWriter {
	w := &shareWriter{c: c, ref: ref, name: name, size: size, places: make(chan struct{}, depth), lock: make(chan struct{}, 1)}
	w.life, w.quit = context.WithCancel(context.Background())
	return w
}

// WriteAt implements storage.ShareWriter. It waits for the server only to
// write over what is there already.
func (w *shareWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := w.writeAt(ctx, p, off); err != nil {
		return fmt.Errorf("writing %s: %w", w.name, err)
	}
	return nil
}

func (w *shareWriter) writeAt(ctx context.Context, p []byte, off int64) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	defer w.leave()
	if off < 0 || off > w.size || int64(len(p)) > w.size-off {
		return storage.ErrTooLarge
	}
	if err := w.failure(); err != nil || len(p) == 0 {
		return err
	}
	span := storage.Span{Off: off, Len: int64(len(p))}
	if len(w.have.Overlap(span)) > 0 {
		return w.overwrite(ctx, p, span)
	}
	if !w.have.Touches(span) && w.have.Pieces() >= storage.MaxPieces {
		return storage.ErrFragmented
	}
	w.have.Add(span)
	if err := w.collect(ctx, p, off); err != nil {
		w.fail(err) // some of it did not go out
		return err
	}
	return nil
}

// enter takes the lock, for a writer that has not ended.
func (w *shareWriter) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.ended {
		w.leave()
		return storage.ErrClosed
	}
	return nil
}

func (w *shareWriter) leave() { <-w.lock }

// overwrite has the server compare p with what is there.
func (w *shareWriter) overwrite(ctx context.Context, p []byte, span storage.Span) error {
	if err := w.settle(ctx); err != nil {
		return err
	}
	for off := int64(0); off < span.Len; off += batch {
		if err := w.send(ctx, p[off:min(span.Len, off+batch)], span.Off+off); err != nil {
			return err
		}
	}
	w.have.Add(span)
	return nil
}

// collect puts p into batches.
func (w *shareWriter) collect(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		if w.buf != nil && w.at+int64(len(w.buf)) != off {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
		if w.buf == nil {
			w.buf, w.at = banana.GetBuffer(int(min(batch, w.size-off))), off
		}
		n := min(len(p), batch-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p, off = p[n:], off+int64(n)
		if len(w.buf) == batch {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush has what was collected sent, once there is a place for it.
func (w *shareWriter) flush(ctx context.Context) error {
	if w.buf == nil {
		return nil
	}
	if err := w.place(ctx); err != nil {
		return err
	}
	buf, at := w.buf, w.at
	w.buf = nil
	// The goroutine ends with its place, which settle and Abort wait for.
	go func() {
		defer func() { <-w.places }()
		if err := w.send(w.life, buf, at); err != nil {
			w.fail(err)
		}
		banana.PutBuffer(buf)
	}()
	return nil
}

func (w *shareWriter) place(ctx context.Context) error {
	select {
	case w.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-w.life.Done():
		return storage.ErrClosed
	}
}

// settle sends what was collected and waits until all is written.
func (w *shareWriter) settle(ctx context.Context) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	for n := range depth {
		if err := w.place(ctx); err != nil {
			w.vacate(n)
			return err
		}
	}
	w.vacate(depth)
	return w.failure()
}

func (w *shareWriter) vacate(n int) {
	for range n {
		<-w.places
	}
}

// send makes one call.
func (w *shareWriter) send(ctx context.Context, p []byte, off int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.life, cancel)()
	return w.call(ctx, int64(len(p)), "write", off, p)
}

// call asks the server's writer, which is gone for good with its connection:
// trying again over another would be in vain.
func (w *shareWriter) call(ctx context.Context, bytes int64, method string, args ...any) error {
	err := w.c.timed(ctx, bytes, func(ctx context.Context) error {
		_, err := w.ref.Call(ctx, method, nil, args...)
		return err
	})
	if errors.Is(err, foolscap.ErrLost) {
		err = fmt.Errorf("%w: %w", storage.ErrClosed, err)
	}
	return err
}

func (w *shareWriter) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

func (w *shareWriter) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// Close implements storage.ShareWriter. The server is asked only when it has
// confirmed all writes: it would take a share with some of them missing.
func (w *shareWriter) Close(ctx context.Context) error {
	if err := w.close(ctx); err != nil {
		return fmt.Errorf("closing %s: %w", w.name, err)
	}
	return nil
}

func (w *shareWriter) close(ctx context.Context) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	defer w.leave()
	if err := w.failure(); err != nil {
		return err
	}
	if w.have.Bytes() != w.size {
		return storage.ErrIncomplete
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	if err := w.call(ctx, 0, "close"); err != nil {
		return err
	}
	w.end()
	return nil
}

// end is for a writer that the server has forgotten; it holds the lock.
func (w *shareWriter) end() {
	w.ended, w.over = true, true
	w.quit()
	w.ref.Release()
}

// Abort implements storage.ShareWriter. It goes out even when ctx is over, as
// that is often why there is something to abort. With the connection gone the
// server has aborted by itself.
func (w *shareWriter) Abort(ctx context.Context) error {
	w.quit()
	w.lock <- struct{}{} // not for long: all that is under way has just ended
	defer w.leave()
	w.ended = true
	if w.over {
		return nil
	}
	for range depth {
		w.places <- struct{}{}
	}
	w.vacate(depth)
	if w.buf != nil {
		banana.PutBuffer(w.buf)
		w.buf = nil
	}
	err := w.call(context.WithoutCancel(ctx), 0, "abort")
	if err != nil && !errors.Is(err, foolscap.ErrLost) && !errors.Is(err, foolscap.ErrClosed) {
		return fmt.Errorf("aborting %s: %w", w.name, err)
	}
	w.end()
	return nil
}
