package diskstore

import (
	"errors"
	"fmt"
	"io/fs"

	"tahoe-go/internal/storage"
)

// changeKind is how a share changes. Each way is all or nothing by itself.
type changeKind int

const (
	updates  changeKind = iota // in place, after a redo file
	replaces                   // of an update that leaves little: like creates
	creates                    // written aside, then renamed
	deletes                    // unlinked
)

// change is what happens to one share.
type change struct {
	key     key
	kind    changeKind
	write   storage.SlotWrite
	patches []patch // of an update, once it is planned
	idle    bool    // there is nothing to do but to be sure
}

// newPath is where a share is written that does not exist yet.
func (k key) newPath() string { return k.incomingPath() + ".slot" }

// commit does the changes: first everything that may fail for want of space,
// with nothing changed if it does; then each share becomes new. When it
// returns nil all is on disk. The caller holds the stripe.
func (s *Store) commit(si storage.Index, changes []*change, we storage.WriteEnabler, ls storage.LeaseSecrets) error {
	if len(changes) == 0 {
		return nil
	}
	for i, ch := range changes {
		if err := s.prepare(ch, we, ls); err != nil {
			return errors.Join(fmt.Errorf("share %d: %w", ch.key.num, err), s.undo(changes[:i+1]))
		}
	}
	err := s.promise(si, changes)
	if err != nil {
		return errors.Join(err, s.undo(changes))
	}
	gone := false
	for _, ch := range changes {
		switch {
		case ch.kind == creates || ch.kind == replaces:
			err = s.shares.Rename(ch.key.newPath(), ch.key.path())
		case ch.kind == deletes && !ch.idle:
			err, gone = s.shares.Remove(ch.key.path()), true
		}
		if err != nil {
			return errors.Join(fmt.Errorf("share %d: %w", ch.key.num, err), s.undo(changes))
		}
	}
	// Also for what an earlier process renamed or removed without living to
	// sync. No directory: there never was one, or it was synced empty.
	if err := s.shares.SyncDir(indexDir(si)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, ch := range changes {
		if ch.kind != updates || ch.idle {
			continue
		}
		if err := s.applyNow(ch.key, ch.patches); err != nil {
			return fmt.Errorf("share %d: %w", ch.key.num, err)
		}
	}
	if gone {
		s.removeIfEmpty(si)
	}
	return nil
}

// prepare writes what a change needs to become true.
func (s *Store) prepare(ch *change, we storage.WriteEnabler, ls storage.LeaseSecrets) error {
	switch ch.kind {
	case creates:
		return s.prepareNew(ch, we, ls)
	case updates:
		return s.prepareUpdate(ch, ls)
	}
	return nil
}

// prepareNew writes a whole container aside.
func (s *Store) prepareNew(ch *change, we storage.WriteEnabler, ls storage.LeaseSecrets) error {
	enabler, _ := we.Reveal()
	c, head := newSlot(s.cfg.NodeID, enabler)
	lease, err := newSlotLease(c.version, ls, s.cfg.Now().Add(LeaseDuration), s.cfg.NodeID)
	if err != nil {
		return err
	}
	patches, err := c.plan(nil, int64(len(head)), ch.write, lease, true)
	if err != nil {
		return err
	}
	if err := s.fits(growth(0, patches)); err != nil {
		return err
	}
	return writeAside(s.shares, ch.key.newPath(), func(f file) error {
		if _, err := f.WriteAt(head, 0); err != nil {
			return err
		}
		for _, p := range patches {
			if err := p.put(f); err != nil {
				return err
			}
		}
		return f.Sync()
	})
}

// prepareUpdate writes a redo file under its temporary name.
func (s *Store) prepareUpdate(ch *change, ls storage.LeaseSecrets) error {
	f, err := s.shares.Open(ch.key.path(), true)
	if err != nil {
		return err
	}
	return errors.Join(s.planUpdate(ch, f, ls), f.Close())
}

func (s *Store) planUpdate(ch *change, f file, ls storage.LeaseSecrets) error {
	c, err := readSlot(f)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	lease, err := newSlotLease(c.version, ls, s.cfg.Now().Add(LeaseDuration), s.cfg.NodeID)
	if err != nil {
		return err
	}
	patches, err := c.plan(f, size, ch.write, lease, s.available() >= slotLeaseSize)
	if err != nil {
		return err
	}
	if len(patches) == 0 {
		ch.idle = true
		return nil
	}
	if end := size + growth(size, patches); covers(patches, end) && s.fits(end) == nil {
		ch.kind = replaces
		return writeAside(s.shares, ch.key.newPath(), func(to file) error {
			if err := copyAround(to, f, patches, size); err != nil {
				return err
			}
			return putAll(to, patches)
		})
	}
	if err := s.fits(growth(size, patches)); err != nil {
		return err
	}
	before, err := readBefore(f)
	if err != nil {
		return err
	}
	if err := makeRoom(f, size, patches); err != nil {
		return err
	}
	ch.patches = patches
	return writeAside(s.redo, ch.key.redoTemp(), func(redo file) error { return writeRedo(redo, before, patches) })
}

// fits refuses growth that the disk has no room for, before much of it is
// written: a gap costs its sender nothing.
func (s *Store) fits(n int64) error {
	if n == 0 {
		return nil
	}
	free, err := s.shares.Free()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err == nil && n > free {
		return fmt.Errorf("%w: growing by %d bytes with %d free", storage.ErrNoSpace, n, free)
	}
	return nil
}

// writeAside makes a file, in place of one that could not be removed before.
func writeAside(fsys filesystem, name string, write func(file) error) error {
	f, err := fsys.Create(name)
	if errors.Is(err, fs.ErrExist) {
		if err = fsys.Remove(name); err == nil {
			f, err = fsys.Create(name)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// promise is the point of no return for updates, and readies the directories
// for the rest.
func (s *Store) promise(si storage.Index, changes []*change) error {
	var updated, created bool
	for _, ch := range changes {
		switch {
		case ch.kind == creates:
			created = true
		case ch.kind == updates && !ch.idle:
			updated = true
		}
	}
	if created {
		if err := s.mkdirs(si); err != nil {
			return err
		}
		if err := s.syncParents(si); err != nil {
			return err
		}
	}
	if !updated {
		return s.syncRedo()
	}
	for _, ch := range changes {
		if ch.kind != updates || ch.idle {
			continue
		}
		s.setPending(ch.key, true)
		if err := s.redo.Rename(ch.key.redoTemp(), ch.key.redoName()); err != nil {
			return err
		}
	}
	return s.redo.SyncDir(".")
}

// undo removes what prepare and promise made. A redo file that stays is done
// when the share is next looked at.
func (s *Store) undo(changes []*change) error {
	var errs []error
	remove := func(fsys filesystem, name string) bool {
		err := fsys.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		errs = append(errs, err)
		return err == nil
	}
	for _, ch := range changes {
		switch {
		case ch.kind == creates || ch.kind == replaces:
			remove(s.shares, ch.key.newPath())
		case ch.kind == updates && !ch.idle:
			remove(s.redo, ch.key.redoTemp())
			if s.isPending(ch.key.si) && remove(s.redo, ch.key.redoName()) {
				s.redoDirty.Store(true)
				s.setPending(ch.key, false)
			}
		}
	}
	return errors.Join(errs...)
}

// removeIfEmpty removes the directory of an index that holds nothing, as the
// reference does. It may fail: an empty directory harms nobody.
func (s *Store) removeIfEmpty(si storage.Index) {
	names, err := s.shares.ReadDir(indexDir(si))
	if err != nil || len(names) > 0 || s.isUploading(si) {
		return
	}
	if err := s.shares.Remove(indexDir(si)); err != nil {
		s.cfg.Log.Debug("removing an empty directory", "si", si.Short(), "err", err)
	}
}

// isUploading reports whether an upload counts on the directory of si.
func (s *Store) isUploading(si storage.Index) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.incoming {
		if k.si == si {
			return true
		}
	}
	return false
}
