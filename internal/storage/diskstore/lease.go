package diskstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"tahoe-go/internal/storage"
)

// AddLease implements storage.Server. ErrNoSpace when a new lease would not
// fit beside the reserve.
func (s *Store) AddLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stripe := s.stripe(si)
	stripe.Lock()
	defer stripe.Unlock()
	have, taken, err := s.renewAll(si, ownerAdded, ls)
	slots := 0
	if err == nil {
		slots, err = s.renewSlots(si, taken, ls)
	}
	if err == nil && len(have)+slots == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("adding a lease to %s: %w", si.Short(), noSpace(err))
	}
	return nil
}

// renewAll adds or renews a lease on every immutable share under si. have are
// their numbers, ascending; taken are all numbers a file stands for, damaged
// and mutable ones too. The caller holds the stripe.
func (s *Store) renewAll(si storage.Index, owner uint32, ls storage.LeaseSecrets) (have, taken []storage.ShareNum, err error) {
	taken, err = s.list(si)
	if err != nil {
		return nil, nil, err
	}
	for _, num := range taken {
		err := s.renew(key{si, num}, owner, ls)
		if errors.Is(err, errNotContainer) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("renewing the lease of share %d: %w", num, err)
		}
		have = append(have, num)
	}
	if len(have) == 0 {
		return nil, taken, nil
	}
	// Have promises that the share stays, and an earlier process may have
	// died between renaming it and syncing its directory.
	if err := s.shares.SyncDir(indexDir(si)); err != nil {
		return nil, nil, err
	}
	return have, taken, nil
}

// renewSlots adds or renews a lease on every mutable share among nums, and
// returns how many there are. The caller holds the stripe.
func (s *Store) renewSlots(si storage.Index, nums []storage.ShareNum, ls storage.LeaseSecrets) (int, error) {
	if err := s.rollForward(si); err != nil {
		return 0, err
	}
	var changes []*change
	for _, num := range nums {
		err := s.inSlot(key{si, num}, func(file, slotContainer) error {
			changes = append(changes, &change{key: key{si, num}})
			return nil
		})
		if err != nil && !errors.Is(err, errNotSlot) {
			return 0, fmt.Errorf("share %d: %w", num, err)
		}
	}
	return len(changes), s.commit(si, changes, storage.WriteEnabler{}, ls)
}

// list returns the share numbers under si, ascending.
func (s *Store) list(si storage.Index) ([]storage.ShareNum, error) {
	names, err := s.shares.ReadDir(indexDir(si))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var nums []storage.ShareNum
	for _, name := range names {
		if num, ok := parseNum(name); ok {
			nums = append(nums, num)
		}
	}
	slices.Sort(nums)
	return nums, nil
}

// renew renews the lease of ls on one share, or adds it.
func (s *Store) renew(k key, owner uint32, ls storage.LeaseSecrets) error {
	f, err := s.shares.Open(k.path(), true)
	if err != nil {
		return err
	}
	return errors.Join(s.renewIn(f, owner, ls), f.Close())
}

func (s *Store) renewIn(f file, owner uint32, ls storage.LeaseSecrets) error {
	c, err := readContainer(f)
	if err != nil {
		return err
	}
	want, err := newLease(c.version, owner, ls, s.cfg.Now().Add(LeaseDuration))
	if err != nil {
		return err
	}
	var found int64 = -1
	for i, l := range leases(f, c, &err) {
		if l.sameRenew(&want) {
			if l.expires >= want.expires {
				// Written, but perhaps by a process that died before its sync.
				return f.Sync()
			}
			found = i
			break
		}
	}
	switch {
	case err != nil:
		return err
	case found >= 0:
		return putExpiry(f, c, found, want.expires)
	case s.available() < leaseSize:
		return storage.ErrNoSpace
	}
	return addLease(f, c, want)
}

// leases yields the leases of a container. It stops at the first read error
// and stores it in *err. Memory does not grow with their number.
func leases(f file, c container, err *error) func(yield func(int64, *lease) bool) {
	return func(yield func(int64, *lease) bool) {
		const batch = 256
		buf := make([]byte, min(c.leases, batch)*leaseSize)
		for first := int64(0); first < c.leases; first += batch {
			n := min(batch, c.leases-first)
			if _, e := f.ReadAt(buf[:n*leaseSize], c.leaseOff(first)); e != nil {
				*err = e
				return
			}
			for i := range n {
				l := parseLease(buf[i*leaseSize:])
				if !yield(first+i, &l) {
					return
				}
			}
		}
	}
}

// putExpiry changes the expiry of lease i, four bytes in place.
func putExpiry(f file, c container, i int64, expires uint32) error {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], expires)
	if _, err := f.WriteAt(b[:], c.leaseOff(i)+leaseSize-4); err != nil {
		return err
	}
	return f.Sync()
}

// addLease appends a lease. The record is on disk before the count says so:
// a count without its record would make the reference count the end of the
// data as a lease.
func addLease(f file, c container, l lease) error {
	if c.leases >= maxLeases {
		return errors.New("the share has as many leases as its container can count")
	}
	b := l.encode()
	if _, err := f.WriteAt(b[:], c.leaseOff(c.leases)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// The length goes along, in case it was one that parseContainer overruled.
	var h [8]byte
	binary.BigEndian.PutUint32(h[0:], uint32(min(c.data, maxLength)))
	binary.BigEndian.PutUint32(h[4:], uint32(c.leases+1))
	if _, err := f.WriteAt(h[:], 4); err != nil {
		return err
	}
	return f.Sync()
}
