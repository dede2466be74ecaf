package mutable

import (
	"bytes"
	"cmp"
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
// end, and if it returns what it was given nothing is written. *NewerError when
// a version that was read or written here cannot be had, but an older one can:
// to build on that would undo what is in the newer one.
func (f *File) Modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	return f.retry(ctx, edit, func(out *outage) error { return f.modify(ctx, edit, out, tr) }, tr)
}

// retry calls attempt until no other writer comes between, with pauses that
// grow and are never alike, and until servers are there. edit is what attempt
// does to the contents. The turn is held.
func (f *File) retry(ctx context.Context, edit func([]byte) ([]byte, error), attempt func(*outage) error, tr *Trace) error {
	out := f.newOutage()
	for try := 1; ; {
		start := time.Now()
		err := attempt(out)
		e, clash := errors.AsType[*UncoordinatedError](err)
		switch {
		case clash:
			if settled, err := f.settle(ctx, e.ours, edit, out, tr); settled {
				return err
			}
		case overtaken(err): // nothing was written
		case out.pass(ctx, err):
			continue
		default:
			return err
		}
		if try++; try > tries {
			return err
		}
		f.c.c.Log.Info("another writer was met", "si", f.o.si.Short(), "try", try-1)
		base := max(f.c.c.Patience.Hedge, time.Since(start)) << min(try-2, 4)
		pause := time.NewTimer(base/4 + rand.N(base))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}

// overtaken reports whether a file could not be read because others wrote it
// each time.
func overtaken(err error) bool {
	e, ok := errors.AsType[*UnrecoverableError](err)
	return ok && slices.ContainsFunc(e.Reports, func(r ServerReport) bool { return r.Err == errChanged })
}

// settle looks, at once after a collision, whether this writer's version is
// the one that everybody reads now, before another builds on it and it can no
// longer be told. If the other's could be read by somebody too, its writer may
// have met nobody and be content: then the same is done to that version, and
// what comes of it put above both. With settled the error is how it ended.
func (f *File) settle(ctx context.Context, ours ssk.Version, edit func([]byte) ([]byte, error), out *outage, tr *Trace) (settled bool, err error) {
	for range 3 {
		s, err := f.surveyToWrite(ctx, out, tr)
		if err != nil || !s.isBest(ours) {
			return false, nil
		}
		rival, is := s.rival(ours)
		if !is {
			return true, nil
		}
		text, err := s.readVersion(ctx, rival)
		if err != nil {
			return false, nil
		}
		changed, failed := edit(text)
		if failed != nil { // it cannot be done after the other: undo it
			changed = text
		}
		err = f.overwrite(ctx, s.view(), changed, tr)
		e, clash := errors.AsType[*UncoordinatedError](err)
		if !clash {
			return true, cmp.Or(err, failed)
		}
		ours = e.ours
	}
	return false, nil
}

func (s *survey) isBest(v ssk.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, ok := s.best()
	return ok && best == v
}

// rival returns another version that is no older than v and could be read: of
// several the one with most shares, whose writer is likeliest to have met
// nobody.
func (s *survey) rival(v ssk.Version) (rival ssk.Version, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0
	for _, o := range s.versions() {
		if o.Version != v && o.Version.Seqnum >= v.Seqnum && o.Shares >= max(o.Version.K, most+1) {
			rival, is, most = o.Version, true, o.Shares
		}
	}
	return rival, is
}

// surveyToWrite asks every server, and again while most of them are lost.
func (f *File) surveyToWrite(ctx context.Context, out *outage, tr *Trace) (*survey, error) {
	for {
		s := f.newSurvey(true, f.c.c.Servers.ForRead(f.o.si), readHead, tr)
		if err := s.run(ctx); err != nil {
			return s, err
		}
		if again, err := out.again(ctx, s.peers, s.lost()); !again || err != nil {
			return s, err
		}
	}
}

func (f *File) modify(ctx context.Context, edit func(old []byte) ([]byte, error), out *outage, tr *Trace) error {
	s, err := f.surveyToWrite(ctx, out, tr)
	if err != nil {
		return err
	}
	return s.modify(ctx, edit)
}

// modify reads what the survey has found, edits it and publishes the result.
func (s *survey) modify(ctx context.Context, edit func(old []byte) ([]byte, error)) error {
	old, v, s, err := s.read(ctx)
	if err != nil {
		return err
	}
	if newest := s.f.o.newestSeen(); v.Compare(newest) < 0 {
		return &NewerError{v, newest}
	}
	text, err := edit(old)
	if err != nil || bytes.Equal(text, old) {
		return err
	}
	return s.f.overwrite(ctx, s.view(), text, s.tr)
}
