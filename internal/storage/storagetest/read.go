package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"testing"

	"tahoe-go/internal/storage"
)

func cancelled(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

var readCases = []Case{
	{"ReadRanges", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(100)
		put(t, s, si, 0, data)
		r := shares(t, s, si)[0]
		if r == nil {
			t.Fatal("share 0 is missing")
		}
		for _, tt := range []struct {
			n    int
			off  int64
			want []byte
			eof  bool
		}{
			{100, 0, data, false}, // up to the end exactly; io.EOF is allowed too
			{10, 0, data[:10], false},
			{1, 99, data[99:], false},
			{101, 0, data, true},
			{200, 50, data[50:], true},
			{1, 100, nil, true},
			{200, 100, nil, true}, // the first lease is just there
			{1, 101, nil, true},
			{4096, 172, nil, true},
			{1, math.MaxInt64, nil, true},
			{16, math.MaxInt64 - 8, nil, true},
		} {
			p := bytes.Repeat([]byte{0xA5}, tt.n)
			n, err := r.ReadAt(t.Context(), p, tt.off)
			if !bytes.Equal(p[:n], tt.want) {
				t.Errorf("ReadAt(%d bytes, %d): %d bytes; want %d, or they differ", tt.n, tt.off, n, len(tt.want))
			}
			if tt.eof && !errors.Is(err, io.EOF) || !tt.eof && err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("ReadAt(%d bytes, %d): error %v; want EOF %v", tt.n, tt.off, err, tt.eof)
			}
		}
		if n, err := r.ReadAt(t.Context(), make([]byte, 5), -1); err == nil || errors.Is(err, io.EOF) || n != 0 {
			t.Errorf("ReadAt(-1) = %d, %v; want an error", n, err)
		}
	}},
	{"ConcurrentReads", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(50_000)
		put(t, s, si, 0, data)
		r := shares(t, s, si)[0]
		if r == nil {
			t.Fatal("share 0 is missing")
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				p := make([]byte, 5000)
				off := int64(i * 5000)
				if _, err := r.ReadAt(t.Context(), p, off); err != nil {
					t.Errorf("ReadAt: %v", err)
				} else if !bytes.Equal(p, data[off:off+5000]) {
					t.Errorf("ReadAt(%d): bytes differ", off)
				}
			})
		}
		wg.Wait()
	}},
	{"ReadCancelled", func(t *testing.T, s storage.Server) {
		si := newIndex()
		put(t, s, si, 0, content(10))
		r := shares(t, s, si)[0]
		ctx, cancel := cancelled(t)
		defer cancel()
		if _, err := r.ReadAt(ctx, make([]byte, 5), 0); !errors.Is(err, context.Canceled) {
			t.Errorf("ReadAt with a cancelled context: %v", err)
		}
	}},
	{"ReportCorrupt", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(10)
		put(t, s, si, 0, data)
		for _, reason := range []string{"block 3: hash differs", "naïve ✗\nsecond line", "x"} {
			if err := shares(t, s, si)[0].ReportCorrupt(t.Context(), reason); err != nil {
				t.Errorf("ReportCorrupt(%q): %v", reason, err)
			}
		}
		wantData(t, s, si, 0, data) // a report changes nothing
	}},
}

var leaseCases = []Case{
	{"LeaseOnNothing", func(t *testing.T, s storage.Server) {
		si := newIndex()
		wantErr(t, "AddLease on an unknown index", s.AddLease(t.Context(), si, newSecrets()), storage.ErrNotFound)
		w := begin(t, s, si, 0, 10)
		wantErr(t, "AddLease on a share in progress", s.AddLease(t.Context(), si, newSecrets()), storage.ErrNotFound)
		abort(t, w)
		wantErr(t, "AddLease after Abort", s.AddLease(t.Context(), si, newSecrets()), storage.ErrNotFound)
	}},
	{"LeasesLeaveDataAlone", func(t *testing.T, s storage.Server) {
		si, one, two := newIndex(), content(1000), content(333)
		put(t, s, si, 0, one)
		put(t, s, si, 1, two)
		ls := newSecrets()
		for range 3 {
			if err := s.AddLease(t.Context(), si, ls); err != nil { // added, then renewed
				t.Errorf("AddLease: %v", err)
			}
			if err := s.AddLease(t.Context(), si, newSecrets()); err != nil {
				t.Errorf("AddLease: %v", err)
			}
			allocate(t, s, si, nums(0), 1000)
		}
		wantData(t, s, si, 0, one)
		wantData(t, s, si, 1, two)
	}},
	{"ConcurrentLeases", func(t *testing.T, s storage.Server) {
		si, data := newIndex(), content(1000)
		put(t, s, si, 0, data)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := s.AddLease(t.Context(), si, newSecrets()); err != nil {
					t.Errorf("AddLease: %v", err)
				}
			})
			wg.Go(func() {
				p := make([]byte, 2000)
				n, err := shares(t, s, si)[0].ReadAt(t.Context(), p, 0)
				if !errors.Is(err, io.EOF) || !bytes.Equal(p[:n], data) {
					t.Errorf("ReadAt beside leases: %d bytes, %v", n, err)
				}
			})
		}
		wg.Wait()
		wantData(t, s, si, 0, data)
	}},
}
