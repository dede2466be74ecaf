package mutable

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// The wait for servers has an end, a no is taken for one, and a caller who
// leaves is not kept. (That they are waited for at all: see gridtest.)
func TestOutageEnds(t *testing.T) {
	ops := map[string]func(context.Context, *File) error{
		"read":      func(ctx context.Context, f *File) error { _, _, err := f.Read(ctx, nil); return err },
		"version":   func(ctx context.Context, f *File) error { _, err := f.Version(ctx, nil); return err },
		"stream":    func(ctx context.Context, f *File) error { return f.ReadRange(ctx, &bytes.Buffer{}, 0, 10, nil) },
		"overwrite": func(ctx context.Context, f *File) error { return f.Overwrite(ctx, content(7), nil) },
		"edit": func(ctx context.Context, f *File) error {
			return f.Modify(ctx, func([]byte) ([]byte, error) { return content(7), nil }, nil)
		},
		"repair": func(ctx context.Context, f *File) error { return f.Repair(ctx, false, nil) },
	}
	for _, tt := range []struct {
		name        string
		outage      time.Duration
		fault       faultstore.Fault
		leaves      time.Duration // the caller; 0: never
		fresh       bool          // servers were heard a moment ago
		least, most time.Duration
	}{
		{"not asked for", 0, faultstore.Fault{Err: faultstore.ErrGone}, 0, false, 0, time.Second},
		{"for good", 5 * time.Minute, faultstore.Fault{Err: faultstore.ErrGone}, 0, false, 5 * time.Minute, 6 * time.Minute},
		{"for good, heard before", 5 * time.Minute, faultstore.Fault{Err: faultstore.ErrGone}, 0, true, 5 * time.Minute, 6 * time.Minute},
		{"refused", 5 * time.Minute, faultstore.Fault{Err: fmt.Errorf("no: %w", storage.ErrRefused)}, 0, true, 0, time.Second},
		{"the caller leaves", time.Hour, faultstore.Fault{Err: faultstore.ErrGone}, 10 * time.Second, true, 10 * time.Second, 15 * time.Second},
	} {
		for op, do := range ops {
			t.Run(tt.name+"/"+op, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newGrid(t, 5)
					f := mustCreate(t, newClient(t, g, 3, 5), false, content(5))
					f.c.c.Patience.Outage = tt.outage
					if !tt.fresh {
						time.Sleep(time.Minute)
					}
					for _, s := range g.faults {
						s.Always(faultstore.TestAndWrite, tt.fault)
						s.Always(faultstore.ReadSlot, tt.fault)
					}
					ctx, start := t.Context(), time.Now()
					if tt.leaves > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, tt.leaves)
						defer cancel()
					}
					if err := do(ctx, f); err == nil {
						t.Error("it succeeded")
					}
					if took := time.Since(start); took < tt.least || took > tt.most {
						t.Errorf("it took %v, want %v to %v", took, tt.least, tt.most)
					}
					for _, s := range g.faults { // and afterwards all is as ever
						s.Always(faultstore.TestAndWrite, faultstore.Fault{})
						s.Always(faultstore.ReadSlot, faultstore.Fault{})
					}
					if err := f.Overwrite(t.Context(), content(9), nil); err != nil {
						t.Error(err)
					}
					mustRead(t, f, content(9))
				})
			})
		}
	}
}
