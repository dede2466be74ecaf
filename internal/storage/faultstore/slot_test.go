package faultstore

import (
	"errors"
	"testing"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

var enabler = storage.NewWriteEnabler([32]byte{1})

func writeSlot(t *testing.T, s storage.Server, data string) error {
	t.Helper()
	w := map[storage.ShareNum]storage.SlotWrite{0: {Writes: []storage.SlotPatch{{Off: 2, Data: []byte(data)}}}}
	_, err := s.TestAndWrite(t.Context(), si, enabler, storage.LeaseSecrets{}, w, nil)
	if got := string(w[0].Writes[0].Data); got != data {
		t.Errorf("the caller's bytes have become %q", got)
	}
	return err
}

func readSlot(t *testing.T, s storage.Server) (string, error) {
	t.Helper()
	got, err := s.ReadSlot(t.Context(), si, nil, []storage.Span{{Off: 0, Len: 1}, {Off: 2, Len: 9}})
	if len(got[0]) < 2 {
		return "", err
	}
	return string(got[0][1]), err
}

func TestSlotCorrupt(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	s.Next(TestAndWrite, Fault{Corrupt: FlipBit(3)})
	if err := writeSlot(t, s, "abcd"); err != nil {
		t.Fatal(err)
	}
	s.Next(ReadSlot, Fault{}, Fault{Corrupt: FlipBit(4)})
	for _, want := range []string{"accd", "acbd", "accd"} {
		if got, err := readSlot(t, s); err != nil || got != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
}

func TestSlotLate(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	lost := errors.New("connection reset")
	s.Next(TestAndWrite, Fault{Late: true, Err: lost}, Fault{Err: lost})
	for _, data := range []string{"done", "lost"} {
		if err := writeSlot(t, s, data); !errors.Is(err, lost) {
			t.Errorf("TestAndWrite = %v; want the lost answer", err)
		}
	}
	if got, err := readSlot(t, s); err != nil || got != "done" {
		t.Errorf("read %q, %v; want what the first wrote", got, err)
	}
	s.Next(ReportCorruptSlot, Fault{Err: lost})
	if err := s.ReportCorruptSlot(t.Context(), si, 0, "x"); !errors.Is(err, lost) {
		t.Errorf("ReportCorruptSlot = %v", err)
	}
	s.Vanish()
	if _, err := readSlot(t, s); !errors.Is(err, ErrGone) {
		t.Errorf("ReadSlot of a vanished server: %v", err)
	}
}
