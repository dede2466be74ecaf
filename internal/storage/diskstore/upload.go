package diskstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"

	"tahoe-go/internal/storage"
)

// Allocate implements storage.Immutables.
func (s *Store) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := s.allocate(si, nums, size, ls)
	if err != nil {
		return nil, fmt.Errorf("allocating %d bytes for %d shares of %s: %w", size, len(nums), si.Short(), noSpace(err))
	}
	return a, nil
}

func (s *Store) allocate(si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	if size < 0 {
		return nil, errors.New("negative size")
	}
	// The lease is written when the share is whole; secrets it could not be
	// written with are refused now.
	if _, err := newLease(2, ownerUpload, ls, s.cfg.Now()); err != nil {
		return nil, err
	}
	stripe := s.stripe(si)
	stripe.Lock()
	defer stripe.Unlock()
	have, taken, err := s.renewAll(si, ownerUpload, ls)
	if err != nil {
		return nil, err
	}
	a := &storage.Allocation{Have: have, Writers: make(map[storage.ShareNum]storage.ShareWriter)}
	for _, num := range nums {
		if slices.Contains(taken, num) || a.Writers[num] != nil {
			continue
		}
		w, err := s.begin(key{si, num}, size, ls)
		if err != nil {
			for _, begun := range a.Writers {
				err = errors.Join(err, begun.Abort(context.Background()))
			}
			return nil, err
		}
		if w != nil {
			a.Writers[num] = w
		}
	}
	return a, nil
}

// diskCost is what a share of size bytes may take of the disk: container and
// one lease, in whole file system blocks.
func diskCost(size int64) int64 {
	const block = 4096
	if size > math.MaxInt64-2*block {
		return math.MaxInt64
	}
	return (size + headerSize + leaseSize + block - 1) / block * block
}

// begin starts one upload. It returns nil when the share is refused.
func (s *Store) begin(k key, size int64, ls storage.LeaseSecrets) (*writer, error) {
	w := &writer{store: s, key: k, size: size, cost: diskCost(size), secrets: ls}
	if !s.reserve(w) {
		return nil, nil
	}
	f, err := s.shares.Create(k.incomingPath())
	if errors.Is(err, fs.ErrExist) { // an upload whose end could not be removed
		if err = s.shares.Remove(k.incomingPath()); err == nil {
			f, err = s.shares.Create(k.incomingPath())
		}
	}
	if err != nil {
		s.release(w)
		return nil, err
	}
	select {
	case s.handles <- struct{}{}:
		w.open = f
	default:
		if err := f.Close(); err != nil {
			err = errors.Join(err, s.shares.Remove(k.incomingPath()))
			s.release(w)
			return nil, err
		}
	}
	return w, nil
}

// reserve takes the share number and the space for w, if both are free.
func (s *Store) reserve(w *writer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Space that uploads have filled already is counted twice, by us and by
	// the file system, as in the reference: the reserve errs on the safe side.
	if s.closed || s.cfg.ReadOnly || s.incoming[w.key] != nil || w.cost > s.available()-s.reserved {
		return false
	}
	s.incoming[w.key] = w
	s.reserved += w.cost
	return true
}

func (s *Store) release(w *writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.incoming, w.key)
	s.reserved -= w.cost
}

// writer is one share under upload. Bytes go straight to its file in
// incoming; what it remembers is bounded by storage.MaxPieces.
type writer struct {
	store   *Store
	key     key
	size    int64
	cost    int64 // reserved for it
	secrets storage.LeaseSecrets

	mu      sync.Mutex // guards below; taken before a stripe
	open    file       // nil when it has no token of store.handles
	written storage.Spans
	dirty   int64 // bytes written since the disk was last told to begin
	ended   bool
}

// flushSize is how much of a share gathers before the disk begins to write:
// it works while more comes in, and has little left to do at the end.
const flushSize = 4 << 20

// flush has the disk begin with what was written up to end. It is a hint:
// seal makes sure.
func (w *writer) flush(f file, end int64) {
	if w.dirty < flushSize {
		return
	}
	if h, ok := f.(interface{ flush(off, n int64) }); ok {
		h.flush(end-w.dirty, w.dirty)
	}
	w.dirty = 0
}

// file returns the file of the share; done lets go of it.
func (w *writer) file() (f file, done func() error, err error) {
	if w.open != nil {
		return w.open, func() error { return nil }, nil
	}
	f, err = w.store.shares.Open(w.key.incomingPath(), true)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// letGo closes the file kept open, if any.
func (w *writer) letGo() error {
	if w.open == nil {
		return nil
	}
	err := w.open.Close()
	w.open = nil
	<-w.store.handles
	return err
}

// failed wraps an error of this share.
func (w *writer) failed(doing string, err error) error {
	return fmt.Errorf("%s share %d of %s: %w", doing, w.key.num, w.key.si.Short(), noSpace(err))
}

// WriteAt implements storage.ShareWriter. ErrNoSpace when the disk is full;
// the bytes may be sent again.
func (w *writer) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.put(p, off); err != nil {
		return w.failed("writing", err)
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
	case w.store.cfg.Discard:
		w.written.Add(span)
		return nil
	}
	f, done, err := w.file()
	if err != nil {
		return err
	}
	err = w.agree(f, p, off)
	if err == nil {
		_, err = f.WriteAt(p, headerSize+off)
		w.dirty += span.Len
		w.flush(f, headerSize+span.End())
	}
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	w.written.Add(span)
	return nil
}

// agree compares p with what is already written in its place.
func (w *writer) agree(f file, p []byte, off int64) error {
	for _, o := range w.written.Overlap(storage.Span{Off: off, Len: int64(len(p))}) {
		buf := make([]byte, min(o.Len, 64<<10))
		for at := o.Off; at < o.End(); at += int64(len(buf)) {
			buf = buf[:min(int64(len(buf)), o.End()-at)]
			if _, err := f.ReadAt(buf, headerSize+at); err != nil {
				return err
			}
			if !bytes.Equal(buf, p[at-off:][:len(buf)]) {
				return storage.ErrConflict
			}
		}
	}
	return nil
}

// Close implements storage.ShareWriter: when it returns nil the share is on
// disk under its own name, and so is every directory above it.
func (w *writer) Close(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return w.failed("closing", storage.ErrClosed)
	}
	if w.written.Bytes() < w.size {
		return w.failed(fmt.Sprintf("closing, at %d of %d bytes,", w.written.Bytes(), w.size), storage.ErrIncomplete)
	}
	if err := w.finish(); err != nil {
		return w.failed("closing", errors.Join(err, w.discard()))
	}
	w.ended = true
	return nil
}

// finish completes the container and publishes it. The directories are made
// before the file is synced: where a journal holds both, one commit does.
func (w *writer) finish() error {
	s := w.store
	if err := s.makeDirs(w.key.si); err != nil {
		return err
	}
	if err := w.seal(); err != nil {
		return err
	}
	stripe := s.stripe(w.key.si)
	stripe.Lock()
	defer stripe.Unlock()
	if err := s.syncParents(w.key.si); err != nil {
		return err
	}
	taken, err := s.shares.Exists(w.key.path()) // by a slot, meanwhile
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("the share has become mutable: %w", storage.ErrConflict)
	}
	if err := s.shares.Rename(w.key.incomingPath(), w.key.path()); err != nil {
		return err
	}
	// From here readers see the share; it counts as held once this is done.
	if err := s.shares.SyncDir(indexDir(w.key.si)); err != nil {
		return errors.Join(err, s.shares.Remove(w.key.path()))
	}
	s.release(w)
	return nil
}

// seal writes header and lease and puts the file on disk.
func (w *writer) seal() error {
	l, err := newLease(2, ownerUpload, w.secrets, w.store.cfg.Now().Add(LeaseDuration))
	if err != nil {
		return err
	}
	f, done, err := w.file()
	if err != nil {
		return err
	}
	h, b := newHeader(w.size), l.encode()
	_, err = f.WriteAt(h[:], 0)
	if err == nil {
		_, err = f.WriteAt(b[:], headerSize+w.size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, done(), w.letGo())
}

// Abort implements storage.ShareWriter. It discards even when ctx is done.
func (w *writer) Abort(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	if err := w.discard(); err != nil {
		return w.failed("discarding", err)
	}
	return nil
}

// discard ends the upload and leaves nothing of it.
func (w *writer) discard() error {
	w.ended = true
	err := w.letGo()
	if rm := w.store.shares.Remove(w.key.incomingPath()); !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	w.store.release(w)
	return err
}

// makeDirs makes the directories of si, and remembers what is not yet known
// to be on disk.
func (s *Store) makeDirs(si storage.Index) error {
	stripe := s.stripe(si)
	stripe.Lock()
	defer stripe.Unlock()
	return s.mkdirs(si)
}

// mkdirs is makeDirs for a caller that holds the stripe.
func (s *Store) mkdirs(si storage.Index) error {
	err := s.shares.Mkdir(prefixDir(si))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = s.shares.Mkdir(indexDir(si))
	if err == nil {
		s.mu.Lock()
		s.fresh[indexDir(si)] = true
		s.mu.Unlock()
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// syncParents puts the directories of si on disk unless they are.
func (s *Store) syncParents(si storage.Index) error {
	s.mu.Lock()
	fresh, synced := s.fresh[indexDir(si)], s.synced[prefixDir(si)]
	s.mu.Unlock()
	if fresh {
		if err := s.shares.SyncDir(prefixDir(si)); err != nil {
			return err
		}
	}
	if !synced {
		if err := s.shares.SyncDir("."); err != nil {
			return err
		}
	}
	s.mu.Lock()
	delete(s.fresh, indexDir(si))
	s.synced[prefixDir(si)] = true
	s.mu.Unlock()
	return nil
}
