package storage_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"tahoe-go/internal/kit/redact/redacttest"
	"tahoe-go/internal/storage"
)

func TestWriteEnablerNeverPrints(t *testing.T) {
	const secret = "a write enabler of 32 bytes, no."
	we := storage.NewWriteEnabler([32]byte([]byte(secret)))
	redacttest.Check(t, we, secret)
	redacttest.Check(t, struct{ we storage.WriteEnabler }{we}, secret)
	if b, ok := we.Reveal(); !ok || string(b[:]) != secret {
		t.Errorf("Reveal = %q, %v", b, ok)
	}
}

func TestWriteEnablerEqual(t *testing.T) {
	var zero storage.WriteEnabler
	a, b := storage.NewWriteEnabler([32]byte{1}), storage.NewWriteEnabler([32]byte{2})
	nulls := storage.NewWriteEnabler([32]byte{})
	if !a.Equal(storage.NewWriteEnabler([32]byte{1})) || a.Equal(b) || a.Equal(zero) {
		t.Error("Equal is not by value")
	}
	// Who has none opens nothing, least of all a slot with 32 null bytes.
	if zero.Equal(zero) || zero.Equal(nulls) {
		t.Error("the zero WriteEnabler equals something")
	}
	if _, ok := zero.Reveal(); ok {
		t.Error("the zero WriteEnabler reveals a secret")
	}
	if _, ok := nulls.Reveal(); !ok {
		t.Error("32 null bytes are a write enabler like others")
	}
}

func TestBadWriteEnablerError(t *testing.T) {
	err := error(&storage.BadWriteEnablerError{NodeID: [20]byte{0xf9, 0x62}})
	if !errors.Is(err, storage.ErrBadWriteEnabler) || !strings.Contains(err.Error(), "7fraaaaaaaaaaaaaaaaaaaaaaaaaaaaa") {
		t.Errorf("error %v; want the node's name", err)
	}
}

func TestClip(t *testing.T) {
	type span = storage.Span
	for _, tt := range []struct {
		in   span
		size int64
		want span
	}{
		{span{Off: 0, Len: 10}, 10, span{Off: 0, Len: 10}},
		{span{Off: 5, Len: 10}, 10, span{Off: 5, Len: 5}},
		{span{Off: 10, Len: 1}, 10, span{Off: 10, Len: 0}},
		{span{Off: 11, Len: 1}, 10, span{Off: 10, Len: 0}},
		{span{Off: 3, Len: 0}, 10, span{Off: 3, Len: 0}},
		{span{Off: 0, Len: 5}, 0, span{}},
		{span{Off: math.MaxInt64, Len: math.MaxInt64}, 10, span{Off: 10, Len: 0}},
		{span{Off: 9, Len: math.MaxInt64}, 10, span{Off: 9, Len: 1}},
	} {
		if got := storage.Clip(tt.in, tt.size); got != tt.want {
			t.Errorf("Clip(%v, %d) = %v; want %v", tt.in, tt.size, got, tt.want)
		}
	}
}

func TestSlotBudget(t *testing.T) {
	var b storage.SlotBudget
	if err := errors.Join(b.Spend(storage.MaxSlotAnswer-1), b.Spend(1), b.Spend(0)); err != nil {
		t.Errorf("up to the limit: %v", err)
	}
	for _, n := range []int64{1, math.MaxInt64, 1} {
		if err := b.Spend(n); !errors.Is(err, storage.ErrTooLarge) {
			t.Errorf("%d beyond the limit: %v", n, err)
		}
	}
}

func TestCheckSlotCallAtTheLimit(t *testing.T) {
	we := storage.NewWriteEnabler([32]byte{1})
	for _, tt := range []struct {
		off  int64
		n    int
		want error
	}{{90, 10, nil}, {100, 0, nil}, {91, 10, storage.ErrTooLarge}, {101, 0, storage.ErrTooLarge}, {0, 101, storage.ErrTooLarge}, {math.MaxInt64, 1, storage.ErrTooLarge}} {
		w := map[storage.ShareNum]storage.SlotWrite{0: {Writes: []storage.SlotPatch{{Off: tt.off, Data: make([]byte, tt.n)}}}}
		if err := storage.CheckSlotCall(we, w, nil, 100); !errors.Is(err, tt.want) {
			t.Errorf("%d bytes at %d of 100: %v; want %v", tt.n, tt.off, err, tt.want)
		}
	}
}
