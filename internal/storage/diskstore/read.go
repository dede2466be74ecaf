package diskstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tahoe-go/internal/storage"
)

// readContainer reads and checks the header of a share file.
func readContainer(f file) (container, error) {
	size, err := f.Size()
	if err != nil {
		return container{}, err
	}
	var h [headerSize]byte
	if size >= headerSize {
		if _, err := f.ReadAt(h[:], 0); err != nil {
			return container{}, err
		}
	}
	return parseContainer(h, size)
}

// openShare opens a share for reading.
func (s *Store) openShare(k key) (file, container, error) {
	f, err := s.shares.Open(k.path(), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, container{}, storage.ErrNotFound
	}
	if err != nil {
		return nil, container{}, err
	}
	// Without the lock a lease added between reading size and header could
	// pass for data.
	stripe := s.stripe(k.si)
	stripe.RLock()
	c, err := readContainer(f)
	stripe.RUnlock()
	if err != nil {
		return nil, container{}, errors.Join(err, f.Close())
	}
	return f, c, nil
}

// Shares implements storage.Immutables. Files that are not immutable
// containers are left out.
func (s *Store) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	nums, err := s.list(si)
	if err != nil {
		return nil, fmt.Errorf("listing the shares of %s: %w", si.Short(), err)
	}
	out := make(map[storage.ShareNum]storage.ShareReader, len(nums))
	for _, num := range nums {
		k := key{si, num}
		err := s.check(k)
		if errors.Is(err, errNotContainer) || errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("opening share %d of %s: %w", num, si.Short(), err)
		}
		out[num] = reader{s, k}
	}
	return out, nil
}

// check looks once whether a share file is an immutable container. A file
// that stops being one later fails when it is read.
func (s *Store) check(k key) error {
	const most = 1 << 16 // entries, under 4 MiB
	s.mu.Lock()
	_, ok := s.checked[k]
	s.mu.Unlock()
	if ok {
		return nil
	}
	f, _, err := s.openShare(k)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if len(s.checked) >= most {
		clear(s.checked)
	}
	s.checked[k] = struct{}{}
	s.mu.Unlock()
	return f.Close()
}

// reader reads one share. It holds nothing open.
type reader struct {
	store *Store
	key   key
}

// ReadAt implements storage.ShareReader.
func (r reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.read(p, off)
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("reading share %d of %s: %w", r.key.num, r.key.si.Short(), err)
	}
	return n, err
}

func (r reader) read(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d", off)
	}
	f, c, err := r.store.openShare(r.key)
	if err != nil {
		return 0, err
	}
	var atEnd error
	if left := max(0, c.data-off); int64(len(p)) > left {
		p, atEnd = p[:left], io.EOF
	}
	var n int
	if len(p) > 0 {
		n, err = f.ReadAt(p, headerSize+off)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return n, err
	}
	return n, atEnd
}
