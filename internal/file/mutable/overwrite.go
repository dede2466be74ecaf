package mutable

import (
	"context"
	"errors"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// Overwrite replaces the contents, whatever they are. If the servers were
// looked at lately it takes one round trip, otherwise two.
//
// Errors: ErrNotWritable, *UnrecoverableError when no share with
// the file's key is found, *NotEnoughServersError, *UncoordinatedError.
func (f *File) Overwrite(ctx context.Context, src []byte, tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	for out := f.newOutage(); ; {
		err := f.overwriteSeen(ctx, src, out, tr)
		if !out.pass(ctx, err) {
			return err
		}
	}
}

// overwriteSeen looks what there is, and overwrites it.
func (f *File) overwriteSeen(ctx context.Context, src []byte, out *outage, tr *Trace) error {
	m, remembered, err := f.look(ctx, true, out, tr)
	if err != nil {
		return err
	}
	err = f.overwrite(ctx, m, src, tr)
	if _, clash := errors.AsType[*UncoordinatedError](err); clash && remembered {
		// Nobody interfered with this write: what was remembered was out of date.
		if m, _, err = f.look(ctx, false, out, tr); err != nil {
			return err
		}
		err = f.overwrite(ctx, m, src, tr)
	}
	if e, clash := errors.AsType[*UncoordinatedError](err); clash && f.stands(ctx, e.ours, out, tr) {
		return nil
	}
	return err
}

// stands looks whether everybody reads this writer's version in spite of a
// collision: the other has given up, or there was none, and a server lies.
func (f *File) stands(ctx context.Context, ours ssk.Version, out *outage, tr *Trace) bool {
	s, err := f.surveyToWrite(ctx, out, tr)
	if err != nil || !s.isBest(ours) {
		return false
	}
	_, rivalled := s.rival(ours)
	return !rivalled
}

func (f *File) overwrite(ctx context.Context, m *view, src []byte, tr *Trace) error {
	like, seqnum, _ := m.next()
	key, err := f.key(ctx, tr)
	if err != nil {
		return err
	}
	seqnum = max(seqnum, f.o.newestSeen().Seqnum+1) // servers that are away may hold that
	what := ssk.Config{Key: key, MDMF: like.MDMF, K: like.K, N: like.N, Seqnum: seqnum, Random: f.c.c.Random}
	return f.publishWhole(ctx, m, what, src, tr)
}

func (o *object) hasKey() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.key != nil
}

// key returns the file's key, from a share if it is not known yet. Nothing
// signs it there, so a share that is good otherwise may have a wrong one.
func (f *File) key(ctx context.Context, tr *Trace) (*ssk.PrivateKey, error) {
	f.o.mu.Lock()
	key, samples := f.o.key, slices.Clone(f.o.samples)
	f.o.mu.Unlock()
	if key != nil {
		return key, nil
	}
	err := errNoKey
	for _, h := range samples {
		key, failed := f.keyFrom(ctx, h)
		if failed == nil {
			f.o.learnKey(key)
			return key, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f.drop(h, failed, tr)
		if failed == errChanged {
			err = &UncoordinatedError{}
		} else if err == errNoKey && lost(failed) {
			err = errKeyAway
		}
	}
	return nil, err
}

func (f *File) keyFrom(ctx context.Context, h *holding) (*ssk.PrivateKey, error) {
	ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
	defer cancel()
	key, err := h.share.PrivateKey(ctx, *f.write)
	if err != nil {
		return nil, explain(ctx, f, h, err)
	}
	return key, nil
}

var (
	errNoKey   = errors.New("no share with the file's key was found")
	errKeyAway = errors.New("the file's key could not be fetched: servers that have it did not answer")
)

// look returns what all servers hold, relying on memory if it may. It asks
// those that memory does not tell of, and again while most are lost.
func (f *File) look(ctx context.Context, remember bool, out *outage, tr *Trace) (m *view, remembered bool, err error) {
	for {
		peers := f.c.c.Servers.ForRead(f.o.si) // what is held is kept up to date everywhere
		since := time.Now()
		unknown := peers
		if remember {
			since = since.Add(-f.c.c.Patience.Fresh)
			have := f.o.knownSince(since)
			unknown = slices.DeleteFunc(slices.Clone(peers), func(p storage.Peer) bool { return have[p.ID] != nil })
			remembered = len(unknown) < len(peers)
		}
		s := f.surveyOfUnknown(unknown, tr)
		if len(unknown) > 0 || !remembered {
			s.known, s.joins, s.since = len(peers)-len(unknown), remember, since
			if err := s.run(ctx); err != nil {
				return nil, false, err
			}
			remembered = remembered || s.joined.Load()
		}
		if again, err := out.again(ctx, peers, s.lost()); err != nil {
			return nil, false, err
		} else if again {
			continue
		}
		m = newView(peers, f.o.knownSince(since))
		if _, _, ok := m.next(); ok {
			return m, remembered, nil
		}
		if !remembered {
			s.mu.Lock()
			defer s.mu.Unlock()
			return nil, false, s.notEnough()
		}
		remember, remembered = false, false
	}
}

// surveyOfUnknown prepares to ask servers, for the file's key too if need be.
func (f *File) surveyOfUnknown(unknown []storage.Peer, tr *Trace) *survey {
	head := int64(readHead) // the key comes with it
	if f.o.hasKey() {
		head = ssk.HeadSize
	}
	return f.newSurvey(true, unknown, head, tr)
}
