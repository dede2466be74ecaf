package faultstore

import (
	"bytes"
	"context"

	"tahoe-go/internal/storage"
)

// Version implements storage.Server.
func (s *Store) Version(ctx context.Context) (v storage.Version, err error) {
	err = s.call(ctx, Version, func(Fault) (err error) {
		v, err = s.inner.Version(ctx)
		return err
	})
	return v, err
}

// AddLease implements storage.Server.
func (s *Store) AddLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	return s.call(ctx, AddLease, func(Fault) error { return s.inner.AddLease(ctx, si, ls) })
}

// Allocate implements storage.Immutables.
func (s *Store) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	var a *storage.Allocation
	err := s.call(ctx, Allocate, func(f Fault) (err error) {
		if f.Refuse {
			nums = nil
		}
		a, err = s.inner.Allocate(ctx, si, nums, size, ls)
		return err
	})
	if err != nil {
		return nil, err
	}
	for num, w := range a.Writers {
		a.Writers[num] = writer{s, num, w}
	}
	return a, nil
}

// Shares implements storage.Immutables.
func (s *Store) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	var shares map[storage.ShareNum]storage.ShareReader
	err := s.call(ctx, Shares, func(Fault) (err error) {
		shares, err = s.inner.Shares(ctx, si)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[storage.ShareNum]storage.ShareReader, len(shares))
	for num, r := range shares {
		out[num] = reader{s, num, r}
	}
	return out, nil
}

type writer struct {
	store *Store
	num   storage.ShareNum
	inner storage.ShareWriter
}

func (w writer) WriteAt(ctx context.Context, p []byte, off int64) error {
	return w.store.call(ctx, WriteAt, func(f Fault) error {
		if f.Corrupt != nil {
			p = bytes.Clone(p)
			f.Corrupt(w.num, p, off)
		}
		return w.inner.WriteAt(ctx, p, off)
	})
}

func (w writer) Close(ctx context.Context) error {
	return w.store.call(ctx, Close, func(Fault) error { return w.inner.Close(ctx) })
}

func (w writer) Abort(ctx context.Context) error {
	return w.store.call(ctx, Abort, func(Fault) error { return w.inner.Abort(ctx) })
}

type reader struct {
	store *Store
	num   storage.ShareNum
	inner storage.ShareReader
}

func (r reader) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = r.store.call(ctx, ReadAt, func(f Fault) (err error) {
		n, err = r.inner.ReadAt(ctx, p, off)
		if f.Corrupt != nil {
			f.Corrupt(r.num, p[:n], off)
		}
		return err
	})
	return n, err
}

func (r reader) ReportCorrupt(ctx context.Context, reason string) error {
	return r.store.call(ctx, ReportCorrupt, func(Fault) error { return r.inner.ReportCorrupt(ctx, reason) })
}
