package foolscapstore

import (
	"context"
	"fmt"
	"math"
	"slices"

	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// ReadSlot implements storage.Mutables.
func (c *Client) ReadSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	data, err := c.readSlot(ctx, si, nums, spans)
	if err != nil {
		return nil, fmt.Errorf("reading slot %s: %w", si.Short(), err)
	}
	return data, nil
}

func (c *Client) readSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	if err := storage.CheckSlotSpans(spans); err != nil {
		return nil, err
	}
	asked := banana.List{}
	for _, num := range nums {
		asked = append(asked, int64(num))
	}
	v, err := c.ask(ctx, worst(spans, max(1, len(nums))), "slot_readv", readAnswer(spans), si[:], asked, vectorOf(spans))
	if isContainer(err) {
		return nil, nil // immutable shares
	}
	if err != nil {
		return nil, err
	}
	wanted := func(num storage.ShareNum) bool { return len(nums) == 0 || slices.Contains(nums, num) }
	return dataOf(v.(banana.Dict), spans, wanted)
}

// vectorOf makes a ReadVector. No more than what is too much is asked for.
func vectorOf(spans []storage.Span) banana.List {
	list := banana.List{}
	for _, s := range spans {
		list = append(list, banana.Tuple{s.Off, min(s.Len, storage.MaxSlotAnswer+1)})
	}
	return list
}

func readAnswer(spans []storage.Span) *banana.Schema {
	return banana.DictOf(shareNum, banana.ListOf(banana.Bytes(storage.MaxSlotAnswer+1), len(spans)), maxShares)
}

// dataOf makes of an answer what was read.
func dataOf(d banana.Dict, spans []storage.Span, wanted func(storage.ShareNum) bool) (map[storage.ShareNum][][]byte, error) {
	var budget storage.SlotBudget
	out := make(map[storage.ShareNum][][]byte)
	for _, p := range d {
		num, list := storage.ShareNum(p.Key.(int64)), p.Value.(banana.List)
		if !wanted(num) {
			continue
		}
		if len(list) != len(spans) {
			return nil, fmt.Errorf("share %d: %d pieces were sent; %d were asked for", num, len(list), len(spans))
		}
		pieces := make([][]byte, len(list))
		for i, v := range list {
			pieces[i] = v.([]byte)
			if n := int64(len(pieces[i])); n > spans[i].Len {
				return nil, fmt.Errorf("share %d: %d bytes were sent; %d were asked for", num, n, spans[i].Len)
			} else if err := budget.Spend(n); err != nil {
				return nil, err
			}
		}
		out[num] = pieces
	}
	return out, nil
}

// TestAndWrite implements storage.Mutables. It goes out once: when the answer
// is lost, only the caller can tell whether to try again.
func (c *Client) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	result, err := c.testAndWrite(ctx, si, we, ls, writes, spans)
	if err != nil {
		return nil, fmt.Errorf("writing slot %s: %w", si.Short(), err)
	}
	return result, nil
}

func (c *Client) testAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	if err := storage.CheckSlotCall(we, writes, spans, math.MaxInt64); err != nil {
		return nil, err
	}
	vectors, bytes := banana.Dict{}, worst(spans, 1)
	for num, w := range writes {
		if len(w.Writes) > maxPatches {
			return nil, fmt.Errorf("%d writes to one share, more than %d: %w", len(w.Writes), maxPatches, storage.ErrTooLarge)
		}
		for _, p := range w.Writes {
			bytes += int64(len(p.Data))
		}
		vectors = append(vectors, banana.Pair{Key: int64(num), Value: vectorsOf(w)})
	}
	if bytes > maxSlotCall-overhead {
		return nil, fmt.Errorf("%d bytes in one call: %w", bytes, storage.ErrTooLarge)
	}
	enabler, _ := we.Reveal()
	secrets := banana.Tuple{enabler[:], []byte(ls.Renew.Reveal()), []byte(ls.Cancel.Reveal())}
	v, err := c.ask(ctx, bytes, "slot_testv_and_readv_and_writev", banana.TupleOf(banana.Bool(), readAnswer(spans)), si[:], secrets, vectors, vectorOf(spans))
	if err != nil {
		return nil, err
	}
	t := v.(banana.Tuple)
	data, err := dataOf(t[1].(banana.Dict), spans, func(storage.ShareNum) bool { return true })
	if err != nil {
		return nil, err
	}
	return &storage.SlotResult{Applied: t[0].(bool), Data: data}, nil
}

// vectorsOf makes the vectors of one share.
func vectorsOf(w storage.SlotWrite) banana.Tuple {
	tests, patches := banana.List{}, banana.List{}
	for _, t := range w.Tests {
		// One byte more than the specimen has tells as much as any number.
		n := min(t.Len, int64(len(t.Specimen))+1)
		tests = append(tests, banana.Tuple{t.Off, n, []byte(operator), t.Specimen})
	}
	for _, p := range w.Writes {
		patches = append(patches, banana.Tuple{p.Off, p.Data})
	}
	var length any
	if w.NewLength != nil {
		length = *w.NewLength
	}
	return banana.Tuple{tests, patches, length}
}

// ReportCorruptSlot implements storage.Mutables. A reason longer than 32,768
// bytes is cut. The protocol does not say whether the share is held, so that
// is asked first.
func (c *Client) ReportCorruptSlot(ctx context.Context, si storage.Index, num storage.ShareNum, reason string) error {
	held, err := c.readSlot(ctx, si, []storage.ShareNum{num}, nil)
	if err == nil && held[num] == nil {
		err = storage.ErrNotFound
	}
	if err == nil {
		_, err = c.ask(ctx, 0, "advise_corrupt_share", nil, []byte(mutable), si[:], int64(num), cutReason(reason))
	}
	if err != nil {
		return fmt.Errorf("reporting share %d of slot %s: %w", num, si.Short(), err)
	}
	return nil
}
