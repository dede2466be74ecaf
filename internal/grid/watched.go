package grid

import (
	"context"
	"errors"
	"io"

	"tahoe-go/internal/storage"
)

// watched passes every call on and tells the server's loop how it went.
type watched struct {
	s  *server
	to storage.Server
}

var _ storage.Server = (*watched)(nil)

func (w *watched) Version(ctx context.Context) (storage.Version, error) {
	v, err := w.to.Version(ctx)
	w.s.heard(ctx, err)
	return v, err
}

func (w *watched) AddLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	err := w.to.AddLease(ctx, si, ls)
	w.s.heard(ctx, err)
	return err
}

func (w *watched) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	a, err := w.to.Allocate(ctx, si, nums, size, ls)
	w.s.heard(ctx, err)
	if err != nil {
		return nil, err
	}
	for num, sw := range a.Writers {
		a.Writers[num] = &watchedWriter{w.s, sw}
	}
	return a, nil
}

func (w *watched) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	shares, err := w.to.Shares(ctx, si)
	w.s.heard(ctx, err)
	for num, r := range shares {
		shares[num] = &watchedReader{w.s, r}
	}
	return shares, err
}

func (w *watched) ShareAt(si storage.Index, num storage.ShareNum) (storage.ShareReader, bool) {
	r, ok := storage.ShareAt(w.to, si, num)
	return &watchedReader{w.s, r}, ok
}

func (w *watched) ReadSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	data, err := w.to.ReadSlot(ctx, si, nums, spans)
	w.s.heard(ctx, err)
	return data, err
}

func (w *watched) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	result, err := w.to.TestAndWrite(ctx, si, we, ls, writes, spans)
	w.s.heard(ctx, err)
	return result, err
}

func (w *watched) ReportCorruptSlot(ctx context.Context, si storage.Index, num storage.ShareNum, reason string) error {
	return w.to.ReportCorruptSlot(ctx, si, num, reason)
}

type watchedWriter struct {
	s  *server
	to storage.ShareWriter
}

// WriteAt is no sign of life where it succeeds: it need not wait for the server.
func (w *watchedWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	err := w.to.WriteAt(ctx, p, off)
	if err != nil {
		w.s.heard(ctx, err)
	}
	return err
}

func (w *watchedWriter) Close(ctx context.Context) error {
	err := w.to.Close(ctx)
	w.s.heard(ctx, err)
	return err
}

func (w *watchedWriter) Abort(ctx context.Context) error { return w.to.Abort(ctx) }

type watchedReader struct {
	s  *server
	to storage.ShareReader
}

func (r *watchedReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := r.to.ReadAt(ctx, p, off)
	if errors.Is(err, io.EOF) {
		r.s.heard(ctx, nil)
	} else {
		r.s.heard(ctx, err)
	}
	return n, err
}

func (r *watchedReader) ReportCorrupt(ctx context.Context, reason string) error {
	return r.to.ReportCorrupt(ctx, reason)
}
