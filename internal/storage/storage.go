// Package storage is the shared vocabulary of everything that keeps shares or
// talks to something that does. It holds no implementation: see memstore,
// diskstore, gbs (over HTTPS) and faultstore, and the contract suite in
// storagetest which all of them pass.
//
// A server knows storage indexes, share numbers, bytes and lease secrets. It
// never sees a cap; no package on this floor may import one.
package storage

import (
	"context"
	"errors"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/kit/redact"
)

// Aliases of the words in ids, so that callers need one import.
type (
	Index    = ids.Index
	ShareNum = ids.ShareNum
	Span     = ids.Span
)

// Errors a caller may branch on. Implementations wrap them.
var (
	ErrNotFound   = errors.New("no such share")
	ErrConflict   = errors.New("bytes differ from those already written")
	ErrTooLarge   = errors.New("beyond the allocated size")
	ErrClosed     = errors.New("share writer is closed")
	ErrIncomplete = errors.New("share has bytes missing")
	ErrNoSpace    = errors.New("no space left")            // the disk or the reserve is full
	ErrFragmented = errors.New("too many separate pieces") // more than MaxPieces
	ErrRefused    = errors.New("refused")                  // any other considered no of a server far away: asking again is of no use
)

// LeaseSecrets are the 32-byte secrets a lease is recorded under. A server
// stores them hashed.
type LeaseSecrets struct {
	Renew, Cancel redact.Secret
}

// Version is what a server says of itself. Sizes are in bytes.
type Version struct {
	MaxImmutableShareSize int64
	MaxMutableShareSize   int64
	AvailableSpace        int64
	Application           string // program and version, free text
}

// Server is a storage server, near or far. All methods may be called
// concurrently.
type Server interface {
	Immutables
	Mutables
	// Version asks the server about itself.
	Version(ctx context.Context) (Version, error)
	// AddLease adds or renews a lease on every share held under si, of
	// either kind.
	// ErrNotFound when none is held.
	AddLease(ctx context.Context, si Index, ls LeaseSecrets) error
}

// Immutables is the write-once half of a server.
type Immutables interface {
	// Allocate asks the server to take shares of exactly size bytes. All
	// shares it holds under si, asked for or not, get their lease added or
	// renewed and are listed in Have. A number in neither set was refused:
	// the server is full or read-only, the share is too large, or somebody
	// else is writing it. Doubles in nums count once. ErrNoSpace when a lease
	// on a share that is held would not fit.
	Allocate(ctx context.Context, si Index, nums []ShareNum, size int64, ls LeaseSecrets) (*Allocation, error)
	// Shares returns a reader for each complete share held under si; an
	// empty map when there is none. Readers hold no resources.
	Shares(ctx context.Context, si Index) (map[ShareNum]ShareReader, error)
}

// Guesser is a Server that can be asked for a share before it has said that
// it holds it.
type Guesser interface {
	// ShareAt returns a reader that gives ErrNotFound if the share is not
	// held; false when the protocol has no such question.
	ShareAt(si Index, num ShareNum) (ShareReader, bool)
}

// ShareAt is s.ShareAt if s is a Guesser.
func ShareAt(s Server, si Index, num ShareNum) (ShareReader, bool) {
	if g, ok := s.(Guesser); ok {
		return g.ShareAt(si, num)
	}
	return nil, false
}

// Allocation is the answer to Allocate.
type Allocation struct {
	Have    []ShareNum               // held already, ascending
	Writers map[ShareNum]ShareWriter // accepted; each must be closed or aborted
}

// ShareWriter receives one share. The share becomes readable, durably, once
// every byte was written and Close has returned nil.
//
// WriteAt may be called in any order and concurrently; p is not retained.
// Writing a byte twice is fine when it is the same byte, else ErrConflict.
// Past the allocated size or before the start: ErrTooLarge. Close on a share
// with bytes missing is ErrIncomplete, leaves nothing visible and the writer
// open; after any other error of Close the share may be gone, and is to be
// aborted. Abort discards, and after a successful Close or another Abort does
// nothing; one that failed may be repeated. A writer that has ended answers
// WriteAt and Close with ErrClosed.
type ShareWriter interface {
	WriteAt(ctx context.Context, p []byte, off int64) error
	Close(ctx context.Context) error
	Abort(ctx context.Context) error
}

// ShareReader reads one share. It may be used concurrently.
//
// ReadAt fills p from offset off as io.ReaderAt does: fewer bytes than len(p)
// come with io.EOF at the end of the share's data. It never returns bytes of
// leases. A negative offset is an error; ErrNotFound when the share has gone
// since.
type ShareReader interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// ReportCorrupt tells the server's operator that the share is damaged.
	ReportCorrupt(ctx context.Context, reason string) error
}

// Peer is a server as a grid knows it.
type Peer struct {
	ID        string   // stable public name: "v0-" and base32 of the announcement key
	Name      string   // nickname for people; may be empty, is not trusted
	Seed      []byte   // permutation seed
	LeaseSeed [20]byte // tub id: lease secrets are derived per server from it
	// NoNewShares says that it is given no share that it does not hold already:
	// no grid manager vouches for it.
	NoNewShares bool
	Server      Server
}
