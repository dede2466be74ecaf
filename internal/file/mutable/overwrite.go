package mutable

import (
	"context"
	"errors"
	"fmt"
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
	m, remembered, err := f.look(ctx, true, tr)
	if err != nil {
		return err
	}
	err = f.overwrite(ctx, m, src, tr)
	if _, clash := errors.AsType[*UncoordinatedError](err); clash && remembered {
		// Nobody interfered with this write: what was remembered was out of date.
		if m, _, err = f.look(ctx, false, tr); err != nil {
			return err
		}
		err = f.overwrite(ctx, m, src, tr)
	}
	return err
}

func (f *File) overwrite(ctx context.Context, m *view, src []byte, tr *Trace) error {
	like, seqnum, _ := m.next()
	key, err := f.key(ctx)
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

// key returns the file's key, from a share if it is not known yet.
func (f *File) key(ctx context.Context) (*ssk.PrivateKey, error) {
	f.o.mu.Lock()
	key, sample := f.o.key, f.o.sample
	f.o.mu.Unlock()
	if key != nil {
		return key, nil
	}
	if sample == nil {
		return nil, errNoKey
	}
	ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
	defer cancel()
	key, err := sample.PrivateKey(ctx, *f.write)
	if err != nil {
		return nil, fmt.Errorf("getting the file's key: %w", err)
	}
	f.o.learnKey(key)
	return key, nil
}

var errNoKey = errors.New("no share with the file's key was found")

// look returns what all servers hold, relying on memory if it may. It asks
// those that memory does not tell of.
func (f *File) look(ctx context.Context, remember bool, tr *Trace) (m *view, remembered bool, err error) {
	peers := f.c.c.Servers.ForUpload(f.o.si)
	since := time.Now()
	if remember {
		since = since.Add(-f.c.c.Patience.Fresh)
	}
	unknown := peers
	if remember {
		have := f.o.knownSince(since)
		unknown = slices.DeleteFunc(slices.Clone(peers), func(p storage.Peer) bool { return have[p.ID] != nil })
		remembered = len(unknown) < len(peers)
	}
	var s *survey
	if len(unknown) > 0 || !remembered {
		head := int64(readHead) // the key comes with it
		if f.o.hasKey() {
			head = ssk.HeadSize
		}
		s = f.newSurvey(true, unknown, head, tr)
		s.known, s.joins, s.since = len(peers)-len(unknown), remember, since
		if err := s.run(ctx); err != nil {
			return nil, false, err
		}
		remembered = remembered || s.joined.Load()
	}
	m = newView(peers, f.o.knownSince(since))
	if _, _, ok := m.next(); !ok {
		if remembered {
			return f.look(ctx, false, tr)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, false, s.notEnough()
	}
	return m, remembered, nil
}
