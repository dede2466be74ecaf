package foolscapstore

import (
	"context"
	"fmt"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// slotVectors is TestAndWriteVectorsForShares.
var slotVectors = banana.DictOf(shareNum, banana.TupleOf(
	banana.ListOf(banana.TupleOf(banana.Size(), banana.Int(0, maxSize), banana.Bytes(2), banana.Bytes(maxSlotCall)), storage.MaxSlotVectors),
	banana.ListOf(banana.TupleOf(banana.Size(), banana.Bytes(maxSlotCall)), maxPatches),
	banana.Choice(banana.None(), banana.Size()),
), maxShares)

// spansOf makes spans of a ReadVector.
func spansOf(readv banana.List) []storage.Span {
	var spans []storage.Span
	for _, v := range readv {
		t := v.(banana.Tuple)
		spans = append(spans, storage.Span{Off: t[0].(int64), Len: t[1].(int64)})
	}
	return spans
}

// worst is how much shares can have at spans.
func worst(spans []storage.Span, shares int) int64 {
	var n int64
	for _, s := range spans {
		if n += min(s.Len, storage.MaxSlotAnswer) * int64(shares); n >= storage.MaxSlotAnswer {
			return storage.MaxSlotAnswer
		}
	}
	return n
}

// readData makes a dict of share numbers and pieces.
func readData(data map[storage.ShareNum][][]byte) banana.Dict {
	out := banana.Dict{}
	for num, pieces := range data {
		list := banana.List{}
		for _, p := range pieces {
			if p == nil {
				p = []byte{}
			}
			list = append(list, p)
		}
		out = append(out, banana.Pair{Key: int64(num), Value: list})
	}
	return out
}

func slotRead(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	si, ok := index(c, 0)
	var nums []storage.ShareNum
	for _, v := range c.List(1) {
		if num := v.(int64); num < maxShares {
			nums = append(nums, storage.ShareNum(num))
		}
	}
	if !ok || len(nums) == 0 && len(c.List(1)) > 0 {
		return banana.Dict{}, nil
	}
	spans, shares := spansOf(c.List(2)), len(nums)
	if shares == 0 {
		shares = maxShares
	}
	if err := h.answers.enter(ctx, c, worst(spans, shares)); err != nil {
		return nil, err
	}
	data, err := h.cfg.Server.ReadSlot(ctx, si, nums, spans)
	if err != nil {
		return nil, remote(err, h.cfg.NodeID)
	}
	return readData(data), nil
}

func slotWrite(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	si, ok := index(c, 0)
	if !ok {
		return nil, errIndex
	}
	var sec [3][32]byte
	for i, v := range c.Tuple(1) {
		sec[i] = [32]byte(v.([]byte))
	}
	writes := make(map[storage.ShareNum]storage.SlotWrite)
	for _, p := range c.Dict(2) {
		w, err := slotWriteOf(p.Value.(banana.Tuple))
		if err != nil {
			return nil, err
		}
		writes[storage.ShareNum(p.Key.(int64))] = w
	}
	spans := spansOf(c.List(3))
	we, ls := storage.NewWriteEnabler(sec[0]), storage.LeaseSecrets{Renew: redact.New(string(sec[1][:])), Cancel: redact.New(string(sec[2][:]))}
	if err := storage.CheckSlotCall(we, nil, spans, 0); err != nil {
		return nil, violation("%v", err)
	}
	if err := h.answers.enter(ctx, c, worst(spans, maxShares)); err != nil {
		return nil, err
	}
	got, err := h.cfg.Server.TestAndWrite(ctx, si, we, ls, writes, spans)
	if err != nil {
		return nil, remote(err, h.cfg.NodeID)
	}
	return banana.Tuple{got.Applied, readData(got.Data)}, nil
}

// slotWriteOf makes what is to be done to one share of its vectors.
func slotWriteOf(t banana.Tuple) (w storage.SlotWrite, err error) {
	for _, v := range t[0].(banana.List) {
		test := v.(banana.Tuple)
		if op := test[2].([]byte); string(op) != operator {
			return w, &foolscap.RemoteError{Type: classAssertion, Value: fmt.Sprintf("the operator of a test is %q", operator)}
		}
		w.Tests = append(w.Tests, storage.SlotTest{Off: test[0].(int64), Len: test[1].(int64), Specimen: test[3].([]byte)})
	}
	for _, v := range t[1].(banana.List) {
		patch := v.(banana.Tuple)
		w.Writes = append(w.Writes, storage.SlotPatch{Off: patch[0].(int64), Data: patch[1].([]byte)})
	}
	if n, ok := t[2].(int64); ok {
		w.NewLength = &n
	}
	return w, nil
}
