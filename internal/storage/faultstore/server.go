package faultstore

import (
	"bytes"
	"context"
	"slices"

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

// ReadSlot implements storage.Mutables.
func (s *Store) ReadSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (data map[storage.ShareNum][][]byte, err error) {
	err = s.call(ctx, ReadSlot, func(f Fault) (err error) {
		data, err = s.inner.ReadSlot(ctx, si, nums, spans)
		if f.Corrupt != nil {
			for num, pieces := range data {
				for i, p := range pieces {
					f.Corrupt(num, p, spans[i].Off)
				}
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// TestAndWrite implements storage.Mutables. With Late and Err the write is
// done and the writer does not know.
func (s *Store) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (result *storage.SlotResult, err error) {
	err = s.call(ctx, TestAndWrite, func(f Fault) (err error) {
		if f.Corrupt != nil {
			writes = corrupted(writes, f.Corrupt)
		}
		result, err = s.inner.TestAndWrite(ctx, si, we, ls, writes, spans)
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// corrupted copies writes with their data changed.
func corrupted(writes map[storage.ShareNum]storage.SlotWrite, change func(storage.ShareNum, []byte, int64)) map[storage.ShareNum]storage.SlotWrite {
	out := make(map[storage.ShareNum]storage.SlotWrite, len(writes))
	for num, w := range writes {
		w.Writes = slices.Clone(w.Writes)
		for i, p := range w.Writes {
			w.Writes[i].Data = bytes.Clone(p.Data)
			change(num, w.Writes[i].Data, p.Off)
		}
		out[num] = w
	}
	return out
}

// ReportCorruptSlot implements storage.Mutables.
func (s *Store) ReportCorruptSlot(ctx context.Context, si storage.Index, num storage.ShareNum, reason string) error {
	return s.call(ctx, ReportCorruptSlot, func(Fault) error { return s.inner.ReportCorruptSlot(ctx, si, num, reason) })
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
