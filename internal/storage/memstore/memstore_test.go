package memstore

import (
	"testing"
	"time"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Server { return New(Config{}) })
}

func TestRefusing(t *testing.T) {
	for name, cfg := range map[string]Config{"read-only": {ReadOnly: true}, "full": {Capacity: 10}} {
		t.Run(name, func(t *testing.T) {
			storagetest.Refusing(t, New(cfg), 11)
		})
	}
}

func TestCapacityComesBack(t *testing.T) {
	s := New(Config{Capacity: 10})
	si := storage.Index{1}
	for range 2 {
		a, err := s.Allocate(t.Context(), si, []storage.ShareNum{0, 1}, 10, storage.LeaseSecrets{})
		if err != nil || len(a.Writers) != 1 {
			t.Fatalf("Allocate = %v writers, %v; want 1", a, err)
		}
		if err := a.Writers[0].Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeases(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := New(Config{Now: func() time.Time { return now }})
	si := storage.Index{1}
	ls := storage.LeaseSecrets{Renew: redact.New("renew"), Cancel: redact.New("cancel")}
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{3}, 1, ls)
	if err != nil {
		t.Fatal(err)
	}
	w := a.Writers[3]
	if err := w.WriteAt(t.Context(), []byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	for _, l := range []storage.LeaseSecrets{ls, {Renew: redact.New("other")}} {
		if err := s.AddLease(t.Context(), si, l); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(-2 * time.Hour) // a clock set back shortens no lease
	if err := s.AddLease(t.Context(), si, ls); err != nil {
		t.Fatal(err)
	}
	want := time.Unix(1_700_000_000, 0).Add(time.Hour + LeaseDuration)
	got := s.Leases(si, 3)
	if len(got) != 2 || !got[0].Expires.Equal(want) || !got[1].Expires.Equal(want) {
		t.Errorf("leases = %v; want two until %v", got, want)
	}
}
