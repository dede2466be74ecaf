package memstore

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"tahoe-go/internal/storage"
)

// writer is one share under upload. Its memory grows with what was written,
// not with what was allocated.
type writer struct {
	store   *Store
	key     key
	size    int64
	secrets storage.LeaseSecrets

	mu      sync.Mutex // guards below; taken before store.mu
	data    []byte
	written storage.Spans
	ended   bool
}

// WriteAt implements storage.ShareWriter.
func (w *writer) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.put(p, off); err != nil {
		return fmt.Errorf("writing %d bytes at %d of share %d of %s: %w", len(p), off, w.key.num, w.key.si.Short(), err)
	}
	return nil
}

func (w *writer) put(p []byte, off int64) error {
	span := storage.Span{Off: off, Len: int64(len(p))}
	switch {
	case w.ended:
		return storage.ErrClosed
	case off < 0 || span.Len > w.size || off > w.size-span.Len:
		return storage.ErrTooLarge
	case w.written.Pieces() >= storage.MaxPieces && !w.written.Touches(span):
		return storage.ErrFragmented
	}
	for _, o := range w.written.Overlap(span) {
		if !bytes.Equal(w.data[o.Off:o.End()], p[o.Off-off:o.End()-off]) {
			return storage.ErrConflict
		}
	}
	if grow := span.End() - int64(len(w.data)); grow > 0 {
		w.data = append(w.data, make([]byte, grow)...)
	}
	copy(w.data[off:], p)
	w.written.Add(span)
	return nil
}

// Close implements storage.ShareWriter.
func (w *writer) Close(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return fmt.Errorf("closing share %d of %s: %w", w.key.num, w.key.si.Short(), storage.ErrClosed)
	}
	if w.written.Bytes() < w.size {
		return fmt.Errorf("closing share %d of %s at %d of %d bytes: %w", w.key.num, w.key.si.Short(), w.written.Bytes(), w.size, storage.ErrIncomplete)
	}
	w.ended = true
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.incoming, w.key)
	if s.slots[w.key] != nil {
		s.used -= w.size
		return fmt.Errorf("closing share %d of %s, which has become mutable: %w", w.key.num, w.key.si.Short(), storage.ErrConflict)
	}
	s.shares[w.key] = &share{
		data:   w.data,
		leases: []Lease{{Secrets: w.secrets, Expires: s.cfg.Now().Add(LeaseDuration)}},
	}
	return nil
}

// Abort implements storage.ShareWriter. It discards even when ctx is done.
func (w *writer) Abort(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	w.ended, w.data = true, nil
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.incoming, w.key)
	s.used -= w.size
	return nil
}
