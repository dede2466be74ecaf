package gbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// shareWriter sends one share. The server completes it by itself when the
// last byte has arrived, so Close only looks whether it said so, and Abort
// comes too late then.
type shareWriter struct {
	c      *Client
	path   path // of the share
	secret redact.Secret
	size   int64

	mu       sync.Mutex // guards below
	complete bool       // the server has answered 201
	ended    bool       // Close succeeded, or Abort was called
	over     bool       // the server needs not be told that it ended
}

var _ storage.ShareWriter = (*shareWriter)(nil)

// WriteAt implements storage.ShareWriter. After an error it may be repeated.
func (w *shareWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	if w.hasEnded() {
		return fmt.Errorf("writing %v: %w", w, storage.ErrClosed)
	}
	if off < 0 || off > w.size || int64(len(p)) > w.size-off {
		return fmt.Errorf("writing %v: %w", w, storage.ErrTooLarge)
	}
	for len(p) > 0 {
		n := min(len(p), maxBody)
		if err := w.patch(ctx, p[:n], off); err != nil {
			return fmt.Errorf("writing %v: %w", w, err)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (w *shareWriter) patch(ctx context.Context, p []byte, off int64) error {
	var missing writeAnswer
	code, err := w.c.exchange(ctx, request{
		method:  "PATCH",
		path:    w.path,
		secrets: []secretValue{{uploadSecret, w.secret}},
		header: map[string]string{
			"Content-Range": formatContentRange(storage.Span{Off: off, Len: int64(len(p))}),
			"Content-Type":  bytesType,
		},
		data: p,
	}, &missing, codeOK, codeCreated)
	if err == nil && code == codeCreated {
		w.mu.Lock()
		w.complete = true
		w.mu.Unlock()
	}
	return err
}

// Close implements storage.ShareWriter. It asks the server nothing.
func (w *shareWriter) Close(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("closing %v: %w", w, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return fmt.Errorf("closing %v: %w", w, storage.ErrClosed)
	case !w.complete:
		return fmt.Errorf("closing %v: %w", w, storage.ErrIncomplete)
	}
	w.ended, w.over = true, true
	return nil
}

// Abort implements storage.ShareWriter. It goes out even when ctx is over,
// as that is often why there is something to abort.
func (w *shareWriter) Abort(ctx context.Context) error {
	w.mu.Lock()
	over := w.over || w.complete
	w.ended = true
	w.mu.Unlock()
	if over {
		return nil
	}
	abort := w.path
	abort.res = resAbort
	req := request{method: "PUT", path: abort, secrets: []secretValue{{uploadSecret, w.secret}}}
	_, err := w.c.exchange(context.WithoutCancel(ctx), req, nil, codeOK)
	if e, ok := errors.AsType[*StatusError](err); err != nil && !(ok && nothingToAbort(e.Code)) {
		return fmt.Errorf("aborting %v: %w", w, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	return nil
}

func (w *shareWriter) hasEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// String names the share for errors.
func (w *shareWriter) String() string { return w.path.shareName() }

func (p path) shareName() string { return fmt.Sprintf("share %d of %s", p.num, p.si.Short()) }

// shareReader reads one share.
type shareReader struct {
	c    *Client
	path path
}

var _ storage.ShareReader = shareReader{}

// ReadAt implements storage.ShareReader.
func (r shareReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading %s: negative offset %d", r.path.shareName(), off)
	}
	read := 0
	for read < len(p) {
		at := off + int64(read)
		if at < 0 || at+1 < 0 { // no share reaches so far
			return read, io.EOF
		}
		n, err := r.get(ctx, p[read:min(len(p), read+maxBody)], at)
		read += n
		if err == io.EOF {
			return read, io.EOF
		}
		if err != nil {
			return read, fmt.Errorf("reading %s: %w", r.path.shareName(), err)
		}
	}
	return read, nil
}

// get fills p in one request; io.EOF when the share ends before.
func (r shareReader) get(ctx context.Context, p []byte, off int64) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.Timeouts.Call)
	defer cancel()
	want := storage.Span{Off: off, Len: min(int64(len(p)), maxEnd-off)}
	resp, done, err := r.c.do(ctx, request{
		method: "GET",
		path:   r.path,
		header: map[string]string{"Range": formatRange(want)},
	})
	if err != nil {
		return 0, err
	}
	defer done()
	switch {
	case beyondEnd(resp.StatusCode):
		io.CopyN(io.Discard, resp.Body, maxErrorBody)
		return 0, io.EOF
	case resp.StatusCode != codePartial:
		return 0, statusError(resp)
	}
	n, err := r.receive(resp, p, want)
	if err != nil && err != io.EOF {
		return n, r.c.explain(ctx, err)
	}
	return n, err
}

// receive reads the body of a 206 into p, if it is what was asked for.
func (r shareReader) receive(resp *http.Response, p []byte, want storage.Span) (int, error) {
	got, _, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || got.Off != want.Off || got.Len > want.Len {
		return 0, errors.New("the server sent another range than it was asked for")
	}
	n, err := io.ReadFull(resp.Body, p[:got.Len])
	if err != nil {
		return n, fmt.Errorf("the answer ended early: %w", noEOF(err))
	}
	// Reading the end lets the connection be used again.
	if extra, _ := io.ReadFull(resp.Body, make([]byte, 1)); extra > 0 {
		return n, errors.New("the server sent more than the range it announced")
	}
	if got.Len < int64(len(p)) {
		return n, io.EOF
	}
	return n, nil
}

// noEOF keeps a cut connection from looking like the end of the share.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReportCorrupt implements storage.ShareReader. A reason longer than 32,757
// bytes is cut.
func (r shareReader) ReportCorrupt(ctx context.Context, reason string) error {
	reason = clipReason(reason)
	corrupt := r.path
	corrupt.res = resCorrupt
	if r.path.res == resSlotShare {
		corrupt.res = resSlotCorrupt
	}
	req := request{method: "POST", path: corrupt, message: [][]byte{encode(&corruptRequest{&reason})}}
	if _, err := r.c.exchange(ctx, req, nil, codeOK); err != nil {
		return fmt.Errorf("reporting %s as corrupt: %w", r.path.shareName(), err)
	}
	return nil
}
