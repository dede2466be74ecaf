// Package memstore is a storage server that keeps its shares in memory. It
// is for tests and as the shortest reading of what storage.Server promises;
// nothing survives the process. Start with New.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/storage"
)

// LeaseDuration is how long a lease lasts from its last renewal.
const LeaseDuration = 31 * 24 * time.Hour

// Config says what the server accepts. The zero value accepts everything.
type Config struct {
	Capacity int64            // bytes of share data it takes, in progress included; 0 means no limit. Slots count, but are taken all the same
	ReadOnly bool             // refuse every new immutable share
	Now      func() time.Time // clock of leases; nil means time.Now
}

// Store is a storage.Server in memory.
type Store struct {
	cfg Config

	mu       sync.Mutex // guards below
	shares   map[key]*share
	slots    map[key]*slot
	incoming map[key]*writer
	used     int64 // bytes allocated, complete or not, and in slots
	reports  []Report
}

var _ storage.Server = (*Store)(nil)

type key struct {
	si  storage.Index
	num storage.ShareNum
}

type share struct {
	data   []byte
	leases []Lease
}

// Lease is one lease of a share.
type Lease struct {
	Secrets storage.LeaseSecrets
	Expires time.Time
}

// Report is a share said to be corrupt.
type Report struct {
	SI     storage.Index
	Num    storage.ShareNum
	Reason string
}

// New returns an empty server.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{cfg: cfg, shares: make(map[key]*share), slots: make(map[key]*slot), incoming: make(map[key]*writer)}
}

// Version implements storage.Server.
func (s *Store) Version(ctx context.Context) (storage.Version, error) {
	if err := ctx.Err(); err != nil {
		return storage.Version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.free()
	return storage.Version{
		MaxImmutableShareSize: free,
		MaxMutableShareSize:   maxSlotSize,
		AvailableSpace:        free,
		Application:           "tahoe-go/memory",
	}, nil
}

// free returns how many bytes may still be allocated; s.mu is held.
func (s *Store) free() int64 {
	switch {
	case s.cfg.ReadOnly:
		return 0
	case s.cfg.Capacity == 0:
		return math.MaxInt64 - s.used
	}
	return max(0, s.cfg.Capacity-s.used)
}

// Allocate implements storage.Immutables.
func (s *Store) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if size < 0 {
		return nil, fmt.Errorf("allocating %d bytes: negative size", size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &storage.Allocation{Have: s.renew(si, ls), Writers: make(map[storage.ShareNum]storage.ShareWriter)}
	for _, num := range nums {
		k := key{si, num}
		if s.shares[k] != nil || s.slots[k] != nil || s.incoming[k] != nil || s.cfg.ReadOnly || size > s.free() {
			continue
		}
		w := &writer{store: s, key: k, size: size, secrets: ls}
		s.incoming[k] = w
		s.used += size
		a.Writers[num] = w
	}
	return a, nil
}

// renew adds or renews a lease on every immutable share under si and returns
// their numbers, ascending; s.mu is held.
func (s *Store) renew(si storage.Index, ls storage.LeaseSecrets) []storage.ShareNum {
	var have []storage.ShareNum
	for k, sh := range s.shares {
		if k.si == si {
			have = append(have, k.num)
			s.renewShare(sh, ls)
		}
	}
	slices.Sort(have)
	return have
}

// renewShare adds or renews one lease; s.mu is held.
func (s *Store) renewShare(sh *share, ls storage.LeaseSecrets) {
	lease := Lease{Secrets: ls, Expires: s.cfg.Now().Add(LeaseDuration)}
	i := slices.IndexFunc(sh.leases, func(l Lease) bool { return l.Secrets.Renew.Equal(ls.Renew) })
	if i < 0 {
		sh.leases = append(sh.leases, lease)
	} else if lease.Expires.After(sh.leases[i].Expires) {
		sh.leases[i].Expires = lease.Expires
	}
}

// AddLease implements storage.Server.
func (s *Store) AddLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held := len(s.renew(si, ls))
	for k, sl := range s.slots {
		if k.si == si {
			held++
			s.renewShare(&sl.share, ls)
		}
	}
	if held == 0 {
		return fmt.Errorf("adding a lease to %s: %w", si.Short(), storage.ErrNotFound)
	}
	return nil
}

// Shares implements storage.Immutables.
func (s *Store) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[storage.ShareNum]storage.ShareReader)
	for k := range s.shares {
		if k.si == si {
			out[k.num] = reader{s, k}
		}
	}
	return out, nil
}

// held returns a share of either kind, or nil; s.mu is held.
func (s *Store) held(k key) *share {
	if sl := s.slots[k]; sl != nil {
		return &sl.share
	}
	return s.shares[k]
}

// Leases returns a copy of the leases of one share, of either kind, in the
// order they were added.
func (s *Store) Leases(si storage.Index, num storage.ShareNum) []Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.held(key{si, num}); sh != nil {
		return slices.Clone(sh.leases)
	}
	return nil
}

// Reports returns a copy of the corruption reports so far.
func (s *Store) Reports() []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports)
}

// Change hands the bytes of a share, of either kind, to f, which may alter them in place: a
// disk that rots. It reports whether the share is held.
func (s *Store) Change(si storage.Index, num storage.ShareNum, f func(data []byte)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.held(key{si, num})
	if sh == nil {
		return false
	}
	sh.data = bytes.Clone(sh.data) // a reader may be copying out of the old bytes
	f(sh.data)
	return true
}

// Delete removes a share of either kind. It reports whether it was held.
func (s *Store) Delete(si storage.Index, num storage.ShareNum) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.held(key{si, num})
	if sh == nil {
		return false
	}
	s.used -= int64(len(sh.data))
	delete(s.shares, key{si, num})
	delete(s.slots, key{si, num})
	return true
}

type reader struct {
	store *Store
	key   key
}

// ReadAt implements storage.ShareReader.
func (r reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r.store.mu.Lock()
	sh := r.store.shares[r.key]
	var data []byte
	if sh != nil {
		data = sh.data
	}
	r.store.mu.Unlock()
	switch {
	case sh == nil:
		return 0, fmt.Errorf("reading share %d of %s: %w", r.key.num, r.key.si.Short(), storage.ErrNotFound)
	case off < 0:
		return 0, fmt.Errorf("reading share %d of %s: negative offset %d", r.key.num, r.key.si.Short(), off)
	case off >= int64(len(data)):
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ReportCorrupt implements storage.ShareReader.
func (r reader) ReportCorrupt(ctx context.Context, reason string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	if r.store.shares[r.key] == nil {
		return fmt.Errorf("reporting share %d of %s: %w", r.key.num, r.key.si.Short(), storage.ErrNotFound)
	}
	r.store.reports = append(r.store.reports, Report{r.key.si, r.key.num, reason})
	return nil
}
