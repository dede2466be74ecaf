package mutable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
)

// tries is how often Modify begins before it gives up.
const tries = 7

// Modify changes the contents: f is given them and returns the new ones, from
// which a new version is made. f must not change what it is given. When
// somebody else has written meanwhile, f is called again with what is there
// then, after a pause that differs for each writer. If f returns an error
// that is the end, and if it returns what it was given nothing is written.
func (f *File) Modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	return f.retry(ctx, func() error { return f.modify(ctx, edit, tr) })
}

// retry calls attempt until no other writer comes between, with pauses that
// grow and are never alike. The turn is held.
func (f *File) retry(ctx context.Context, attempt func() error) error {
	for try := 1; ; try++ {
		start := time.Now()
		err := attempt()
		if _, clash := errors.AsType[*UncoordinatedError](err); !clash || try == tries {
			return err
		}
		f.c.c.Log.Info("another writer was met", "si", f.o.si.Short(), "try", try)
		base := max(f.c.c.Patience.Hedge, time.Since(start)) << min(try-1, 4)
		pause := time.NewTimer(base/4 + rand.N(base))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}

func (f *File) modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	s := f.newSurvey(true, f.c.c.Servers.ForUpload(f.o.si), readHead, tr)
	if err := s.run(ctx); err != nil {
		return err
	}
	old, _, s, err := s.read(ctx)
	if err != nil {
		return err
	}
	text, err := edit(old)
	if err != nil || bytes.Equal(text, old) {
		return err
	}
	return f.overwrite(ctx, s.view(), text, tr)
}

// WriteAt puts p at off, as far past the end as need be: a gap is filled with
// zeros. Of an MDMF file only the segments that change are sent, if all of its
// shares are in place; otherwise the file is read and written whole. When
// somebody else has written meanwhile it begins again.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64, tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if off < 0 || off > ssk.MaxSize-int64(len(p)) {
		return fmt.Errorf("writing %d bytes at %d: out of range", len(p), off)
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	return f.retry(ctx, func() error {
		return f.modify(ctx, func(old []byte) ([]byte, error) { return splice(old, p, off), nil }, tr)
	})
}

// splice returns a copy of old with p at off.
func splice(old, p []byte, off int64) []byte {
	if len(p) == 0 {
		return old
	}
	text := slices.Grow([]byte(nil), int(max(int64(len(old)), off+int64(len(p)))))
	text = text[:max(int64(len(old)), off+int64(len(p)))]
	copy(text, old)
	copy(text[off:], p)
	return text
}
