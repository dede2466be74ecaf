// Package diskstore is a storage server that keeps each share in a file, in
// the directory layout and containers of the reference program, so that
// either may serve what the other left.
//
//	DIR/shares/XX/SI/N          complete shares; XX is the start of SI
//	DIR/shares/incoming/SI.N    shares under upload; wiped by Open
//	DIR/redo/SI.N               changes of mutable shares; done, then removed
//	DIR/corruption-advisories/  reports of damaged shares, as text
//
// It does not speak to a network and knows no caps. One process at a time may
// use a directory: the caller sees to that. Start with Open; a share's way
// from Allocate to its place is in upload.go, its format in container.go. For
// mutable shares slot.go, slotwrite.go, redo.go and slotcontainer.go.
package diskstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/storage"
)

// LeaseDuration is how long a lease lasts from its last renewal.
const LeaseDuration = 31 * 24 * time.Hour

// maxMutableShareSize is what the reference announces: 69,105 TB.
const maxMutableShareSize = 69_105 * 1_000_000_000_000

// Config says where shares are kept and which are taken.
type Config struct {
	Dir           string // made when missing
	ReservedSpace int64  // bytes of the file system to leave free
	ReadOnly      bool   // refuse every new immutable share, and leases that need more room
	Discard       bool   // accept uploads and throw the bytes away, for measurements

	NodeID [20]byte // tub id: who took leases and write enablers of mutable shares

	Application string           // program and version, for Version; "" means "tahoe-go"
	Now         func() time.Time // clock of leases and advisories; nil means time.Now
	Log         *slog.Logger     // nil discards
}

// Store is a storage.Server over a directory.
type Store struct {
	cfg        Config
	shares     filesystem
	redo       filesystem
	advisories filesystem

	// stripes order the operations on one storage index. Held for writing
	// while its set of shares or a lease changes, for reading while a
	// container's header is read against its file size.
	stripes [256]sync.RWMutex
	seed    maphash.Seed

	handles chan struct{} // one token for each file kept open by a writer

	mu       sync.Mutex // guards below; no other lock is taken under it
	closed   bool
	incoming map[key]*writer
	reserved int64            // bytes promised to incoming
	synced   map[string]bool  // prefix directories whose entry is on disk
	fresh    map[string]bool  // index directories made but perhaps not on disk
	checked  map[key]struct{} // files seen to be immutable containers; bounded
	pending  map[key]struct{} // shares with a redo file; changed with the stripe held

	redoSyncing sync.Mutex  // held while syncRedo syncs
	redoDirty   atomic.Bool // a redo file was removed, and may come back

	advising sync.Mutex // guards below
	advised  int        // advisories in the directory
}

var _ storage.Server = (*Store)(nil)

// maxHandles bounds the files that uploads keep open; uploads beyond it open
// their file for each write.
const maxHandles = 256

// Open readies the directory: makes what is missing, throws away what an
// earlier process left in incoming, puts the directories it found on disk and
// finishes changes of mutable shares that were begun.
func Open(cfg Config) (*Store, error) {
	_, missing := os.Stat(cfg.Dir)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the share store: %w", err)
	}
	var dirs []filesystem
	for _, name := range []string{"shares", "redo", "corruption-advisories"} {
		path := filepath.Join(cfg.Dir, name)
		err := os.MkdirAll(path, 0o700)
		if err == nil {
			var d filesystem
			if d, err = openDir(path); err == nil {
				dirs = append(dirs, d)
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening the share store: %w", err), closeAll(dirs...))
		}
	}
	err := syncPath(cfg.Dir)
	if err == nil && missing != nil {
		err = syncPath(filepath.Dir(cfg.Dir))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the share store: %w", err), closeAll(dirs...))
	}
	return open(cfg, dirs[0], dirs[1], dirs[2])
}

func closeAll(dirs ...filesystem) error {
	var errs []error
	for _, d := range dirs {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// open is Open over any file system. It owns all three.
func open(cfg Config, shares, redo, advisories filesystem) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Application == "" {
		cfg.Application = "tahoe-go"
	}
	s := &Store{
		cfg:        cfg,
		shares:     shares,
		redo:       redo,
		advisories: advisories,
		seed:       maphash.MakeSeed(),
		handles:    make(chan struct{}, maxHandles),
		incoming:   make(map[key]*writer),
		synced:     make(map[string]bool),
		fresh:      make(map[string]bool),
		checked:    make(map[key]struct{}),
		pending:    make(map[key]struct{}),
	}
	if err := s.settle(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the share store: %w", err), closeAll(shares, redo, advisories))
	}
	return s, nil
}

// settle wipes incoming and syncs the directories an earlier process may
// have made without living to sync them.
func (s *Store) settle() error {
	if err := s.shares.RemoveAll(incomingDir); err != nil {
		return err
	}
	if err := s.shares.Mkdir(incomingDir); err != nil {
		return err
	}
	names, err := s.shares.ReadDir(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if len(name) != 2 {
			continue
		}
		if err := s.shares.SyncDir(name); err != nil {
			return err
		}
		s.synced[name] = true
	}
	if err := s.shares.SyncDir("."); err != nil {
		return err
	}
	if err := s.openRedo(); err != nil {
		return err
	}
	advised, err := s.advisories.ReadDir(".")
	s.advised = len(advised)
	return err
}

// Close discards every upload in progress and lets go of the directory.
// Calls after it fail.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	var writers []*writer
	for _, w := range s.incoming {
		writers = append(writers, w)
	}
	s.mu.Unlock()
	var errs []error
	for _, w := range writers {
		errs = append(errs, w.Abort(context.Background()))
	}
	return errors.Join(append(errs, closeAll(s.shares, s.redo, s.advisories))...)
}

// stripe returns the lock of a storage index.
func (s *Store) stripe(si storage.Index) *sync.RWMutex {
	return &s.stripes[maphash.Comparable(s.seed, si)%uint64(len(s.stripes))]
}

// Version implements storage.Server. Both sizes are the free space beyond the
// reserve, uploads in progress not taken off, as the reference counts them.
func (s *Store) Version(ctx context.Context) (storage.Version, error) {
	if err := ctx.Err(); err != nil {
		return storage.Version{}, err
	}
	avail := s.available()
	return storage.Version{
		MaxImmutableShareSize: avail,
		MaxMutableShareSize:   maxMutableShareSize,
		AvailableSpace:        avail,
		Application:           s.cfg.Application,
	}, nil
}

// available returns the bytes that may still be used: free ones beyond the
// reserve, 0 when read-only. Where the system cannot say, space has no limit.
func (s *Store) available() int64 {
	if s.cfg.ReadOnly {
		return 0
	}
	free, err := s.shares.Free()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return math.MaxInt64
	case err != nil:
		s.cfg.Log.Warn("asking for free space", "err", err)
		return 0
	}
	return max(0, free-s.cfg.ReservedSpace)
}
