package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"tahoe-go/internal/storage"
)

var allocateCases = []Case{
	{"Version", func(t *testing.T, s storage.Server) {
		v, err := s.Version(t.Context())
		if err != nil {
			t.Fatalf("Version: %v", err)
		}
		if v.MaxImmutableShareSize < 1<<20 || v.AvailableSpace < 1<<20 || v.Application == "" {
			t.Errorf("Version = %+v; want room for the suite and a name", v)
		}
	}},
	{"UnknownIndex", func(t *testing.T, s storage.Server) {
		wantShares(t, s, newIndex())
	}},
	{"HaveAndWriters", func(t *testing.T, s storage.Server) {
		si := newIndex()
		put(t, s, si, 7, content(20))
		put(t, s, si, 2, content(20))
		// Share 2 is held but was not asked for: it is listed all the same.
		a := allocate(t, s, si, nums(255, 7, 0, 7), 20)
		if !slices.Equal(a.Have, nums(2, 7)) {
			t.Errorf("Have = %v; want [2 7]", a.Have)
		}
		if len(a.Writers) != 2 || a.Writers[0] == nil || a.Writers[255] == nil {
			t.Errorf("Writers = %v; want those of 0 and 255", a.Writers)
		}
		for _, w := range a.Writers {
			abort(t, w)
		}
	}},
	{"NothingAsked", func(t *testing.T, s storage.Server) {
		si := newIndex()
		put(t, s, si, 1, content(5))
		a := allocate(t, s, si, nil, 5)
		if !slices.Equal(a.Have, nums(1)) || len(a.Writers) != 0 {
			t.Errorf("Allocate of nothing: have %v, %d writers; want [1] and none", a.Have, len(a.Writers))
		}
	}},
	{"NegativeSize", func(t *testing.T, s storage.Server) {
		si := newIndex()
		if a, err := s.Allocate(t.Context(), si, nums(0), -1, newSecrets()); err == nil && len(a.Writers) > 0 {
			t.Error("Allocate of -1 bytes gave a writer")
		}
		put(t, s, si, 0, content(5))
	}},
	{"SecondWhileFirstInProgress", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 100)
		write(t, w, data[:50], 0)
		// The second is refused; HTTP may also answer with an error, as it
		// cannot name one share in a refusal of secrets.
		a, err := s.Allocate(t.Context(), si, nums(0), 100, newSecrets())
		if err == nil && (a.Writers[0] != nil || len(a.Have) != 0) {
			t.Errorf("second Allocate: writer %v, have %v; want neither", a.Writers[0], a.Have)
		}
		write(t, w, data[50:], 50)
		finish(t, w)
		wantData(t, s, si, 0, data)
	}},
	{"OtherShareWhileFirstInProgress", func(t *testing.T, s storage.Server) {
		si, one, two := newIndex(), content(100), content(70)
		w := begin(t, s, si, 0, 100)
		write(t, w, one[:99], 0) // over HTTP the last byte completes a share
		put(t, s, si, 1, two)
		wantShares(t, s, si, 1)
		write(t, w, one[99:], 99)
		finish(t, w)
		wantData(t, s, si, 0, one)
		wantData(t, s, si, 1, two)
	}},
	{"AgainAfterAbort", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		w := begin(t, s, si, 0, 50)
		write(t, w, content(49), 0) // a byte short, as HTTP completes a share by itself
		abort(t, w)
		wantShares(t, s, si)
		put(t, s, si, 0, data)
		wantData(t, s, si, 0, data)
	}},
	{"TooLargeForAnyone", func(t *testing.T, s storage.Server) {
		v, err := s.Version(t.Context())
		if err != nil {
			t.Fatalf("Version: %v", err)
		}
		if v.MaxImmutableShareSize >= 1<<62 {
			return // this server knows no limit
		}
		si := newIndex()
		a, err := s.Allocate(t.Context(), si, nums(0), 1<<62, newSecrets())
		if err == nil && len(a.Writers) != 0 {
			t.Error("a share of 2^62 bytes was accepted")
		}
		wantShares(t, s, si)
		put(t, s, si, 0, content(5))
	}},
	{"CancelledBefore", func(t *testing.T, s storage.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		si := newIndex()
		if _, err := s.Allocate(ctx, si, nums(0), 5, newSecrets()); !errors.Is(err, context.Canceled) {
			t.Errorf("Allocate with a cancelled context: %v", err)
		}
		if _, err := s.Shares(ctx, si); !errors.Is(err, context.Canceled) {
			t.Errorf("Shares with a cancelled context: %v", err)
		}
		if _, err := s.Version(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Version with a cancelled context: %v", err)
		}
		put(t, s, si, 0, content(5))
	}},
}
