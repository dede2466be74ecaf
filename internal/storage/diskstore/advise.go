package diskstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"tahoe-go/internal/storage"
)

// Anyone who can reach the server can report shares, so both the number of
// advisories and the length of each are bounded.
const (
	maxAdvisories = 1000
	maxReason     = 4096 // bytes
)

// ReportCorrupt implements storage.ShareReader: it leaves an advisory for the
// operator if the share is held and there is space. A report that is dropped
// for want of space is logged and no error, as in the reference.
func (r reader) ReportCorrupt(ctx context.Context, reason string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.store.report(r.key, "immutable", reason)
}

// ReportCorruptSlot implements storage.Mutables, as ReportCorrupt does.
func (s *Store) ReportCorruptSlot(ctx context.Context, si storage.Index, num storage.ShareNum, reason string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.report(key{si, num}, "mutable", reason)
}

// report leaves an advisory about a share of this kind, if it is held.
func (s *Store) report(k key, kind, reason string) error {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	held, err := s.shares.Exists(k.path())
	if err == nil && !held {
		err = storage.ErrNotFound
	}
	if err == nil {
		err = s.advise(k, kind, reason)
	}
	if err != nil {
		return fmt.Errorf("reporting share %d of %s: %w", k.num, k.si.Short(), noSpace(err))
	}
	return nil
}

// advise writes one advisory file.
func (s *Store) advise(k key, kind, reason string) error {
	log := s.cfg.Log.With("si", k.si.Short(), "shnum", k.num)
	text := fmt.Sprintf("report: Share Corruption\ntype: %s\nstorage_index: %s\nshare_number: %d\n\n%s\n\n",
		kind, k.si, k.num, printable(reason))
	s.advising.Lock()
	defer s.advising.Unlock()
	if s.advised >= maxAdvisories || int64(len(text)) > s.available() {
		log.Warn("dropping a corruption report", "advisories", s.advised)
		return nil
	}
	log.Warn("share reported corrupt", "reason", reason)
	now := s.cfg.Now().UTC()
	for range 10 {
		name := now.Format("2006-01-02T150405.000000") + fmt.Sprintf("--%s-%d", k.si, k.num)
		f, err := s.advisories.Create(name)
		if errors.Is(err, fs.ErrExist) { // two within a microsecond
			now = now.Add(time.Microsecond)
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(text), 0)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(err, s.advisories.Remove(name))
		}
		s.advised++
		return nil
	}
	return errors.New("too many reports at once")
}

// printable makes a stranger's text safe to show on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
}
