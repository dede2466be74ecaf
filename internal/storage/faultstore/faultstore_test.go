package faultstore

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
	"tahoe-go/internal/storage/storagetest"
)

var si = storage.Index{1}

// TestContract runs the suite in bubbles, so that both stay possible.
func TestContract(t *testing.T) {
	for _, c := range storagetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, For(t, memstore.New(memstore.Config{}))) })
		})
	}
}

func upload(t *testing.T, s storage.Server, data string) error {
	t.Helper()
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{0}, int64(len(data)), storage.LeaseSecrets{})
	if err != nil || a.Writers[0] == nil {
		return errors.Join(err, errors.New("no writer"))
	}
	if err := a.Writers[0].WriteAt(t.Context(), []byte(data), 0); err != nil {
		return err
	}
	return a.Writers[0].Close(t.Context())
}

func read(t *testing.T, s storage.Server) (string, error) {
	t.Helper()
	shares, err := s.Shares(t.Context(), si)
	if err != nil {
		return "", err
	}
	p := make([]byte, 100)
	n, err := shares[0].ReadAt(t.Context(), p, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(p[:n]), err
}

func TestQueueThenAlways(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	one, two, rest := errors.New("one"), errors.New("two"), errors.New("rest")
	s.Next(Version, Fault{Err: one}, Fault{}, Fault{Err: two})
	s.Always(Version, Fault{Err: rest})
	for i, want := range []error{one, nil, two, rest, rest} {
		if _, err := s.Version(t.Context()); !errors.Is(err, want) {
			t.Errorf("call %d: %v; want %v", i, err, want)
		}
	}
	s.Always(Version, Fault{})
	if _, err := s.Version(t.Context()); err != nil {
		t.Errorf("after Always ended: %v", err)
	}
	if got := s.Calls(Version); got != 6 {
		t.Errorf("Calls = %d; want 6", got)
	}
}

func TestDelayAndHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := For(t, memstore.New(memstore.Config{}))
		start := time.Now()
		s.Next(Version, Fault{Delay: 9 * time.Second}, Fault{Hang: true}, Fault{Hang: true})
		if _, err := s.Version(t.Context()); err != nil || time.Since(start) != 9*time.Second {
			t.Errorf("delayed: %v after %v; want nil after 9s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Version(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 69*time.Second {
			t.Errorf("hanging: %v after %v; want the deadline after 69s", err, time.Since(start))
		}
		// One that nobody gives up waits for the cleanup, or the bubble
		// would never end.
		go func() {
			if _, err := s.Version(context.Background()); !errors.Is(err, ErrReleased) {
				t.Errorf("released: %v", err)
			}
		}()
		synctest.Wait()
	})
}

func TestRefuse(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	s.Next(Allocate, Fault{Refuse: true})
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{0}, 1, storage.LeaseSecrets{})
	if err != nil || len(a.Writers) != 0 {
		t.Errorf("Allocate = %v, %v; want no writers", a, err)
	}
	if err := upload(t, s, "x"); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
}

func TestCorrupt(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	if err := upload(t, s, "abcd"); err != nil {
		t.Fatal(err)
	}
	s.Next(ReadAt, Fault{Corrupt: FlipBit(2)}, Fault{Corrupt: FlipBit(9)})
	for _, want := range []string{"abbd", "abcd", "abcd"} {
		if got, err := read(t, s); err != nil || got != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
}

func TestCorruptWrite(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	s.Next(WriteAt, Fault{Corrupt: FlipBit(0)})
	if err := upload(t, s, "abcd"); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, s); err != nil || got != "`bcd" {
		t.Errorf("read %q, %v; want the flipped bit", got, err)
	}
}

func TestLate(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	lost := errors.New("connection reset")
	s.Next(Close, Fault{Late: true, Err: lost})
	if err := upload(t, s, "abcd"); !errors.Is(err, lost) {
		t.Errorf("Close = %v; want the lost answer", err)
	}
	if got, err := read(t, s); err != nil || got != "abcd" {
		t.Errorf("read %q, %v; the share should be there", got, err)
	}
}

func TestVanish(t *testing.T) {
	s := For(t, memstore.New(memstore.Config{}))
	if err := upload(t, s, "abcd"); err != nil {
		t.Fatal(err)
	}
	shares, err := s.Shares(t.Context(), si)
	if err != nil {
		t.Fatal(err)
	}
	s.Vanish()
	if _, err := shares[0].ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, ErrGone) {
		t.Errorf("ReadAt of a vanished server: %v", err)
	}
	if _, err := s.Version(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("Version of a vanished server: %v", err)
	}
	s.Return()
	if got, err := read(t, s); err != nil || got != "abcd" {
		t.Errorf("read %q, %v after Return", got, err)
	}
}
