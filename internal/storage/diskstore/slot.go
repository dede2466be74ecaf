package diskstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/storage"
)

var _ storage.Mutables = (*Store)(nil)

// ReadSlot implements storage.Mutables. All it reads is of one instant.
func (s *Store) ReadSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := s.readShares(si, nums, spans)
	if err != nil {
		return nil, fmt.Errorf("reading slot %s: %w", si.Short(), err)
	}
	return data, nil
}

func (s *Store) readShares(si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	if err := storage.CheckSlotSpans(spans); err != nil {
		return nil, err
	}
	unlock, err := s.lockForReading(si)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if len(nums) == 0 {
		if nums, err = s.list(si); err != nil {
			return nil, err
		}
	}
	var budget storage.SlotBudget
	out := make(map[storage.ShareNum][][]byte)
	for _, num := range nums {
		err := s.inSlot(key{si, num}, func(f file, c slotContainer) (err error) {
			out[num], err = c.read(f, spans, &budget)
			return err
		})
		if err != nil && !errors.Is(err, errNotSlot) && !errors.Is(err, storage.ErrNotFound) {
			return nil, fmt.Errorf("share %d: %w", num, err)
		}
	}
	return out, nil
}

// inSlot opens a mutable share for do. The caller holds the stripe.
func (s *Store) inSlot(k key, do func(file, slotContainer) error) error {
	f, err := s.shares.Open(k.path(), false)
	if errors.Is(err, fs.ErrNotExist) {
		return storage.ErrNotFound
	}
	if err != nil {
		return err
	}
	c, err := readSlot(f)
	if err == nil {
		err = do(f, c)
	}
	return errors.Join(err, f.Close())
}

// read returns what the spans hold.
func (c slotContainer) read(f file, spans []storage.Span, budget *storage.SlotBudget) ([][]byte, error) {
	pieces := make([][]byte, len(spans))
	for i, span := range spans {
		at := storage.Clip(span, c.data)
		if err := budget.Spend(at.Len); err != nil {
			return nil, err
		}
		pieces[i] = make([]byte, at.Len)
		if at.Len == 0 {
			continue
		}
		if _, err := f.ReadAt(pieces[i], slotDataOff+at.Off); err != nil {
			return nil, err
		}
	}
	return pieces, nil
}

// pass runs the tests of a share.
func (c slotContainer) pass(f file, tests []storage.SlotTest) (bool, error) {
	for _, t := range tests {
		at := storage.Clip(storage.Span{Off: t.Off, Len: t.Len}, c.data)
		if at.Len != int64(len(t.Specimen)) {
			return false, nil
		}
		if at.Len == 0 {
			continue
		}
		have := make([]byte, at.Len)
		if _, err := f.ReadAt(have, slotDataOff+at.Off); err != nil {
			return false, err
		}
		if !bytes.Equal(have, t.Specimen) {
			return false, nil
		}
	}
	return true, nil
}

// passEmpty runs the tests of a share that is not held.
func passEmpty(tests []storage.SlotTest) bool {
	return !slices.ContainsFunc(tests, func(t storage.SlotTest) bool { return len(t.Specimen) > 0 })
}

// TestAndWrite implements storage.Mutables. Neither a read-only server nor
// the reserve limits it, as in the reference: who has a slot may change it.
func (s *Store) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	result, err := s.testAndWrite(si, we, ls, writes, spans)
	if e, ok := errors.AsType[*storage.BadWriteEnablerError](err); ok {
		s.cfg.Log.Warn("bad write enabler", "si", si.Short(), "recordedby", base32.Encode(e.NodeID[:]))
	}
	if err != nil {
		return nil, fmt.Errorf("writing slot %s: %w", si.Short(), noSpace(err))
	}
	return result, nil
}

func (s *Store) testAndWrite(si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	if err := storage.CheckSlotCall(we, writes, spans, maxMutableShareSize); err != nil {
		return nil, err
	}
	if _, err := newLease(2, ownerAdded, ls, s.cfg.Now()); err != nil {
		return nil, err
	}
	stripe := s.stripe(si)
	stripe.Lock()
	defer stripe.Unlock()
	if err := s.rollForward(si); err != nil {
		return nil, err
	}
	nums, err := s.list(si)
	if err != nil {
		return nil, err
	}
	result, err := s.test(si, nums, we, writes, spans)
	if err != nil || !result.Applied {
		return result, err
	}
	var changes []*change
	for _, num := range slices.Sorted(maps.Keys(writes)) {
		_, held := result.Data[num]
		ch := &change{key: key{si, num}, write: writes[num]}
		switch {
		case !held && slices.Contains(nums, num):
			return nil, fmt.Errorf("share %d: %w", num, errNotSlot)
		case ch.write.Deletes(): // also what is gone, but perhaps not on disk
			ch.kind, ch.idle = deletes, !held
		case !held:
			ch.kind = creates
		}
		changes = append(changes, ch)
	}
	return result, s.commit(si, changes, we, ls)
}

// test checks the write enabler of every share, runs the tests and reads. The
// caller holds the stripe.
func (s *Store) test(si storage.Index, nums []storage.ShareNum, we storage.WriteEnabler, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	result := &storage.SlotResult{Applied: true, Data: make(map[storage.ShareNum][][]byte)}
	var budget storage.SlotBudget
	for _, num := range nums {
		err := s.inSlot(key{si, num}, func(f file, c slotContainer) (err error) {
			if !c.permits(we) {
				return &storage.BadWriteEnablerError{NodeID: c.nodeID}
			}
			if result.Applied {
				if result.Applied, err = c.pass(f, writes[num].Tests); err != nil {
					return err
				}
			}
			result.Data[num], err = c.read(f, spans, &budget)
			return err
		})
		if err != nil && !errors.Is(err, errNotSlot) {
			return nil, fmt.Errorf("share %d: %w", num, err)
		}
	}
	for num, w := range writes {
		if _, held := result.Data[num]; !held && !passEmpty(w.Tests) {
			result.Applied = false
		}
	}
	return result, nil
}
