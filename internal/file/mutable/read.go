package mutable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
)

// rereads is how often a reader begins again because the file was changed, or
// shares went bad, while it read.
const rereads = 3

// Version returns the newest version that can be read now.
func (f *File) Version(ctx context.Context, tr *Trace) (ssk.Version, error) {
	for out := f.newOutage(); ; {
		s, err := f.surveyToRead(ctx, tr)
		if err != nil {
			return ssk.Version{}, err
		}
		v, err := s.choose(tr)
		if !out.pass(ctx, err) {
			return v, err
		}
	}
}

// Read returns the contents of the newest version that can be read, and which
// version that is: one round trip for a small file. It ends with
// *UnrecoverableError or ctx.
func (f *File) Read(ctx context.Context, tr *Trace) ([]byte, ssk.Version, error) {
	for out := f.newOutage(); ; {
		s, err := f.surveyToRead(ctx, tr)
		if err != nil {
			return nil, ssk.Version{}, err
		}
		text, v, _, err := s.read(ctx)
		if !out.pass(ctx, err) {
			return text, v, err
		}
	}
}

// read fetches the best version whole, or the next best when that fails. It
// returns the survey too that the contents are from: s, or a later one.
func (s *survey) read(ctx context.Context) ([]byte, ssk.Version, *survey, error) {
	for try := 1; ; try++ {
		v, err := s.choose(s.tr)
		if err != nil {
			return nil, v, s, err
		}
		text, err := s.readVersion(ctx, v)
		if err == nil {
			s.f.o.noteNewest(v)
			return text, v, s, nil
		}
		if ctx.Err() != nil {
			return nil, v, s, context.Cause(ctx)
		}
		if _, ok := errors.AsType[*UnrecoverableError](err); !ok || try == rereads {
			return nil, v, s, err
		}
		if s, err = s.again(ctx); err != nil {
			return nil, v, s, err
		}
	}
}

// readVersion fetches the contents of v.
func (s *survey) readVersion(ctx context.Context, v ssk.Version) ([]byte, error) {
	r, err := s.retrieve(v)
	if err != nil {
		return nil, err
	}
	return r.whole(ctx)
}

// again makes a new survey of the kind of s.
func (s *survey) again(ctx context.Context) (*survey, error) {
	fresh := s.f.newSurvey(s.writing, s.peers, s.head, s.tr)
	return fresh, fresh.run(ctx)
}

// ReadRange writes n bytes from offset off of the newest version that can be
// read to w, in order, each proven before it is written; n < 0: all from off
// on. Of an MDMF file only the segments that hold them are fetched. A range
// that ends past the file ends with the file; one that begins there is empty.
func (f *File) ReadRange(ctx context.Context, w io.Writer, off, n int64, tr *Trace) error {
	return f.Stream(ctx, func(ssk.Version) (io.Writer, int64, int64, error) { return w, off, n, nil }, tr)
}

// Stream is ReadRange for those who must know first which version is read:
// begin is told, and says what range of it goes where. It is called again when
// that version proves to be unreadable before a byte of it was written. Its
// error ends the reading. When servers are lost later it goes on where it
// stopped, once enough of the same version is back.
func (f *File) Stream(ctx context.Context, begin func(ssk.Version) (w io.Writer, off, n int64, err error), tr *Trace) error {
	st, out := &stream{begin: begin}, f.newOutage()
	for try := 1; ; try++ {
		s, err := f.surveyToRead(ctx, tr)
		if err != nil {
			return err
		}
		before := st.n
		err = st.attempt(ctx, s)
		if err == nil {
			f.o.noteNewest(st.v)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if st.n > before {
			out.good = time.Now()
		}
		if _, ok := errors.AsType[*UnrecoverableError](err); ok && st.n == 0 && try < rereads {
			continue
		}
		if !out.pass(ctx, err) {
			return err
		}
	}
}

// stream is a Stream under way.
type stream struct {
	begin func(ssk.Version) (w io.Writer, off, n int64, err error)
	v     ssk.Version
	w     io.Writer
	n     int64 // bytes written
	off   int64 // where the next are
	end   int64
}

// Write passes on, and counts, what was read.
func (st *stream) Write(p []byte) (int, error) {
	n, err := st.w.Write(p)
	st.n, st.off = st.n+int64(n), st.off+int64(n)
	return n, err
}

// attempt reads what is left of the version that was begun with, or begins
// with the best one that s has found.
func (st *stream) attempt(ctx context.Context, s *survey) error {
	if st.n == 0 {
		if err := st.start(s); err != nil {
			return err
		}
	} else if !s.has(st.v) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.notEnough()
	}
	r, err := s.retrieve(st.v)
	if err == nil && st.off < st.end {
		err = r.copy(ctx, st, st.off, st.end)
	}
	return err
}

// start chooses the version, and asks what of it is wanted.
func (st *stream) start(s *survey) (err error) {
	if st.v, err = s.choose(s.tr); err != nil {
		return err
	}
	w, off, n, err := st.begin(st.v)
	if err != nil {
		return err
	}
	if off < 0 {
		return fmt.Errorf("reading at %d: negative", off)
	}
	st.w, st.off, st.end = w, off, st.v.Size
	if n >= 0 && n < st.v.Size-off {
		st.end = off + n
	}
	return nil
}

// has reports whether enough shares of v were found.
func (s *survey) has(v ssk.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.versions(), func(o Seen) bool { return o.Version == v && o.Shares >= v.K })
}

// choose picks the version to read, and says so if there is a newer one.
func (s *survey) choose(tr *Trace) (ssk.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.best()
	if !ok {
		return v, s.notEnough()
	}
	for _, seen := range s.versions() {
		if seen.Version.Compare(v) > 0 {
			tr.older(v, seen.Version, seen.Shares)
			s.f.c.c.Log.Warn("an older version is read: too few shares of a newer one were found", "si", s.f.o.si.Short(),
				"seqnum", v.Seqnum, "newer", seen.Version.Seqnum, "shares", seen.Shares, "needed", seen.Version.K)
			return v, nil
		}
	}
	if newest := s.f.o.newestSeen(); v.Compare(newest) < 0 {
		tr.older(v, newest, 0)
		s.f.c.c.Log.Warn("an older version is read: no share of a newer one, seen before, was found", "si", s.f.o.si.Short(),
			"seqnum", v.Seqnum, "newer", newest.Seqnum)
	}
	return v, nil
}
