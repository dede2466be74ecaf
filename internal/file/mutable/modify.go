package mutable

import (
	"bytes"
	"context"
	"errors"
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
// then, after a pause that differs for each writer: that may hold the change
// already if the other one has built on it. If f returns an error that is the
// end, and if it returns what it was given nothing is written.
func (f *File) Modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	return f.retry(ctx, func() error { return f.modify(ctx, edit, tr) }, tr)
}

// retry calls attempt until no other writer comes between, with pauses that
// grow and are never alike. The turn is held.
func (f *File) retry(ctx context.Context, attempt func() error, tr *Trace) error {
	for try := 1; ; try++ {
		start := time.Now()
		err := attempt()
		e, clash := errors.AsType[*UncoordinatedError](err)
		if !clash || f.prevailed(ctx, e.ours, tr) {
			return nilIf(clash, err)
		}
		if try == tries {
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

// nilIf drops err if what it says has proven harmless.
func nilIf(harmless bool, err error) error {
	if harmless {
		return nil
	}
	return err
}

// prevailed looks, at once after a collision, whether this writer's version
// is the one that everybody reads now, before another builds on it and it can
// no longer be told. If the other's could be read by somebody too, a further
// version with the same contents settles it.
func (f *File) prevailed(ctx context.Context, ours ssk.Version, tr *Trace) bool {
	for range 3 {
		s, err := f.surveyToWrite(ctx, tr)
		if err != nil || !s.isBest(ours) {
			return false
		}
		if !s.rivalled(ours) {
			return true
		}
		text, v, s, err := s.read(ctx)
		if err != nil || v != ours {
			return false
		}
		err = f.overwrite(ctx, s.view(), text, tr)
		e, clash := errors.AsType[*UncoordinatedError](err)
		if !clash {
			return err == nil
		}
		ours = e.ours
	}
	return false
}

func (s *survey) isBest(v ssk.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, ok := s.best()
	return ok && best == v
}

// rivalled reports whether another version that is no older could be read.
func (s *survey) rivalled(v ssk.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.versions(), func(o Seen) bool {
		return o.Version != v && o.Version.Seqnum >= v.Seqnum && o.Shares >= o.Version.K
	})
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
