package mutable

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"time"
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

// surveyToWrite asks every server.
func (f *File) surveyToWrite(ctx context.Context, tr *Trace) (*survey, error) {
	s := f.newSurvey(true, f.c.c.Servers.ForUpload(f.o.si), readHead, tr)
	return s, s.run(ctx)
}

func (f *File) modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	s, err := f.surveyToWrite(ctx, tr)
	if err != nil {
		return err
	}
	return s.modify(ctx, edit)
}

// modify reads what the survey has found, edits it and publishes the result.
func (s *survey) modify(ctx context.Context, edit func(old []byte) ([]byte, error)) error {
	old, _, s, err := s.read(ctx)
	if err != nil {
		return err
	}
	text, err := edit(old)
	if err != nil || bytes.Equal(text, old) {
		return err
	}
	return s.f.overwrite(ctx, s.view(), text, s.tr)
}
