package memstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"tahoe-go/internal/storage"
)

// maxSlotSize bounds a share in a slot: what lies between its end and a far
// write costs memory here.
const maxSlotSize = 64 << 20

var _ storage.Mutables = (*Store)(nil)

// slot is one mutable share. Its bytes are replaced, never changed.
type slot struct {
	share
	enabler storage.WriteEnabler
}

// ReadSlot implements storage.Mutables.
func (s *Store) ReadSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := s.readSlot(si, nums, spans)
	if err != nil {
		return nil, fmt.Errorf("reading slot %s: %w", si.Short(), err)
	}
	return data, nil
}

// readSlot reads spans of nums, or of all shares; s.mu is held.
func (s *Store) readSlot(si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	if err := storage.CheckSlotSpans(spans); err != nil {
		return nil, err
	}
	var budget storage.SlotBudget
	out := make(map[storage.ShareNum][][]byte)
	for k, sl := range s.slots {
		if k.si != si || len(nums) > 0 && !slices.Contains(nums, k.num) {
			continue
		}
		pieces := make([][]byte, len(spans))
		for i, span := range spans {
			at := storage.Clip(span, int64(len(sl.data)))
			if err := budget.Spend(at.Len); err != nil {
				return nil, err
			}
			pieces[i] = bytes.Clone(sl.data[at.Off:at.End()])
		}
		out[k.num] = pieces
	}
	return out, nil
}

// TestAndWrite implements storage.Mutables.
func (s *Store) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result, err := s.testAndWrite(si, we, ls, writes, spans)
	if err != nil {
		return nil, fmt.Errorf("writing slot %s: %w", si.Short(), err)
	}
	return result, nil
}

// testAndWrite does it all; s.mu is held.
func (s *Store) testAndWrite(si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	if err := storage.CheckSlotCall(we, writes, spans, maxSlotSize); err != nil {
		return nil, err
	}
	for k, sl := range s.slots {
		if k.si == si && !sl.enabler.Equal(we) {
			return nil, &storage.BadWriteEnablerError{}
		}
	}
	result := &storage.SlotResult{Applied: true}
	var err error
	if result.Data, err = s.readSlot(si, nil, spans); err != nil {
		return nil, err
	}
	for num, w := range writes {
		k := key{si, num}
		if s.shares[k] != nil {
			return nil, fmt.Errorf("share %d is immutable", num)
		}
		result.Applied = result.Applied && pass(s.slots[k], w.Tests)
	}
	if !result.Applied {
		return result, nil
	}
	for num, w := range writes {
		k := key{si, num}
		sl := s.slots[k]
		if sl != nil {
			s.used -= int64(len(sl.data))
		}
		if w.Deletes() {
			delete(s.slots, k)
			continue
		}
		if sl == nil {
			sl = &slot{enabler: we}
			s.slots[k] = sl
		}
		sl.data = change(sl.data, w)
		s.used += int64(len(sl.data))
		s.renewShare(&sl.share, ls)
	}
	return result, nil
}

// pass runs the tests of one share; nil is one that is not held.
func pass(sl *slot, tests []storage.SlotTest) bool {
	var data []byte
	if sl != nil {
		data = sl.data
	}
	for _, t := range tests {
		at := storage.Clip(storage.Span{Off: t.Off, Len: t.Len}, int64(len(data)))
		if !bytes.Equal(data[at.Off:at.End()], t.Specimen) {
			return false
		}
	}
	return true
}

// change returns what w makes of data, in new memory.
func change(data []byte, w storage.SlotWrite) []byte {
	size := len(data)
	for _, p := range w.Writes {
		size = max(size, int(p.Off)+len(p.Data))
	}
	out := make([]byte, size)
	copy(out, data)
	for _, p := range w.Writes {
		copy(out[p.Off:], p.Data)
	}
	if w.NewLength != nil {
		out = out[:min(int64(size), *w.NewLength)]
	}
	return out
}

// ReportCorruptSlot implements storage.Mutables.
func (s *Store) ReportCorruptSlot(ctx context.Context, si storage.Index, num storage.ShareNum, reason string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots[key{si, num}] == nil {
		return fmt.Errorf("reporting share %d of slot %s: %w", num, si.Short(), storage.ErrNotFound)
	}
	s.reports = append(s.reports, Report{si, num, reason})
	return nil
}
