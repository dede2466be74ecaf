package gbs

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// shareID names one share of a server.
type shareID struct {
	si  storage.Index
	num storage.ShareNum
}

// secretHash is how upload secrets are kept and compared.
type secretHash [sha256.Size]byte

func hashSecret(s redact.Secret) secretHash { return sha256.Sum256([]byte(s.Reveal())) }

func (a secretHash) equal(b secretHash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// uploads are the shares being received, and the last ones received, so that
// a client that lost an answer may ask again.
type uploads struct {
	log  *slog.Logger
	idle time.Duration // after this long without a write an upload is given up
	most int           // uploads in progress; as many finished ones are remembered

	// allocating serialises calls for one index, so that a repeated Allocate
	// finds what the first one made. One slot of the channel is the lock.
	allocating [64]chan struct{}

	mu       sync.Mutex // guards below
	byShare  map[shareID]*upload
	open     int
	finished []*upload // oldest first
	closed   bool
}

func newUploads(log *slog.Logger, idle time.Duration, most int) *uploads {
	us := &uploads{log: log, idle: idle, most: most, byShare: make(map[shareID]*upload)}
	for i := range us.allocating {
		us.allocating[i] = make(chan struct{}, 1)
	}
	return us
}

// lock waits for other allocations under si. The caller calls unlock.
func (us *uploads) lock(ctx context.Context, si storage.Index) (unlock func(), err error) {
	c := us.allocating[si[0]%byte(len(us.allocating))]
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// room says which of nums to ask the store for, and which belong to an upload
// in progress under the same secret and size already.
func (us *uploads) room(si storage.Index, nums []storage.ShareNum, size int64, secret secretHash) (ask, again []storage.ShareNum, err error) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if us.closed {
		return nil, nil, errShuttingDown
	}
	free := us.most - us.open
	for _, num := range nums {
		u := us.byShare[shareID{si, num}]
		switch {
		case u != nil && !u.isFinished() && u.size == size && u.secret.equal(secret):
			again = append(again, num)
		case u != nil && !u.isFinished():
			// Somebody else's: in neither set.
		case len(ask) < free:
			ask = append(ask, num)
		}
	}
	return ask, again, nil
}

// add takes over w.
func (us *uploads) add(id shareID, size int64, secret secretHash, w storage.ShareWriter) error {
	u := &upload{all: us, id: id, size: size, secret: secret, w: w, ending: semaphore.NewWeighted(whole)}
	us.mu.Lock()
	defer us.mu.Unlock()
	if us.closed {
		return errShuttingDown
	}
	us.byShare[id] = u
	us.open++
	u.timer = time.AfterFunc(us.idle, u.giveUp)
	return nil
}

// find returns the upload that secret opens.
func (us *uploads) find(id shareID, secret secretHash) (*upload, error) {
	us.mu.Lock()
	u := us.byShare[id]
	us.mu.Unlock()
	if u == nil {
		return nil, errNoUpload
	}
	if !u.secret.equal(secret) {
		return nil, errUploadSecret
	}
	return u, nil
}

// ended takes u off the list of uploads in progress, and remembers it for a
// while when it was finished.
func (us *uploads) ended(u *upload, finished bool) {
	us.mu.Lock()
	defer us.mu.Unlock()
	u.timer.Stop()
	us.open--
	if !finished {
		delete(us.byShare, u.id)
		return
	}
	us.finished = append(us.finished, u)
	if len(us.finished) <= us.most {
		return
	}
	oldest := us.finished[0]
	us.finished = us.finished[1:]
	if us.byShare[oldest.id] == oldest { // else somebody uploads that share anew
		delete(us.byShare, oldest.id)
	}
}

// close aborts what is in progress and refuses more.
func (us *uploads) close(ctx context.Context) error {
	us.mu.Lock()
	us.closed = true
	var open []*upload
	for _, u := range us.byShare {
		if !u.isFinished() {
			open = append(open, u)
		}
	}
	us.mu.Unlock()
	var errs []error
	for _, u := range open {
		if err := u.abort(ctx); err != nil && !errors.Is(err, errNoUpload) && !errors.Is(err, errComplete) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// state of an upload; it only grows.
type state int

const (
	receiving state = iota
	finished        // every byte is in and the store has confirmed the share
	gone            // aborted, given up, or lost by the store
)

// whole is all of upload.ending: more than there can be requests.
const whole = 1 << 30

// upload is one share being received.
type upload struct {
	all    *uploads
	id     shareID
	size   int64
	secret secretHash
	w      storage.ShareWriter
	timer  *time.Timer

	// ending is held in part during writes and as a whole while the share is
	// closed or aborted. A mutex would stop the clock of a synctest bubble
	// while a store is slow.
	ending *semaphore.Weighted

	mu      sync.Mutex // guards below
	state   state
	got     storage.Spans
	clients int // requests writing to it now
}

func (u *upload) isFinished() bool { return u.now() == finished }

func (u *upload) now() state {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

// enter and leave bracket a request that writes: an upload with one is not
// idle, however slow.
func (u *upload) enter() { u.count(1) }
func (u *upload) leave() { u.count(-1) }

func (u *upload) count(d int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clients += d
	if u.state == receiving {
		u.timer.Reset(u.all.idle)
	}
}

// write stores p at off. errComplete says that the share is finished already
// and the caller should compare instead.
func (u *upload) write(ctx context.Context, p []byte, off int64) error {
	if err := u.ending.Acquire(ctx, 1); err != nil {
		return err
	}
	defer u.ending.Release(1)
	switch u.now() {
	case finished:
		return errComplete
	case gone:
		return errNoUpload
	}
	span := storage.Span{Off: off, Len: int64(len(p))}
	u.mu.Lock()
	full := u.got.Pieces() >= storage.MaxPieces && !u.got.Touches(span)
	u.mu.Unlock()
	if full {
		return errFragmented
	}
	if err := u.w.WriteAt(ctx, p, off); err != nil {
		return err
	}
	u.mu.Lock()
	u.got.Add(span)
	u.mu.Unlock()
	return nil
}

// finish closes the share if every byte is in, and says what is missing. The
// share is durable when it returns nothing missing and no error.
func (u *upload) finish(ctx context.Context) ([]storage.Span, error) {
	if missing := u.missing(); len(missing) > 0 {
		return missing, nil
	}
	// The bytes are all here: a client that leaves now does not undo that.
	ctx = context.WithoutCancel(ctx)
	if err := u.ending.Acquire(ctx, whole); err != nil {
		return nil, err
	}
	defer u.ending.Release(whole)
	switch u.now() {
	case finished:
		return nil, nil
	case gone:
		return nil, errNoUpload
	}
	if err := u.w.Close(ctx); err != nil {
		u.w.Abort(ctx)
		u.end(gone)
		return nil, err
	}
	u.end(finished)
	return nil, nil
}

// missing is nil once the share is finished, whatever was written.
func (u *upload) missing() []storage.Span {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state == finished {
		return nil
	}
	return u.got.Missing(u.size)
}

// abort discards the share, unless it is finished.
func (u *upload) abort(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := u.ending.Acquire(ctx, whole); err != nil {
		return err
	}
	defer u.ending.Release(whole)
	switch u.now() {
	case finished:
		return errComplete
	case gone:
		return errNoUpload
	}
	err := u.w.Abort(ctx)
	u.end(gone)
	return err
}

// giveUp runs when nobody has written for a while.
func (u *upload) giveUp() {
	u.mu.Lock()
	busy := u.clients > 0
	if busy && u.state == receiving {
		u.timer.Reset(u.all.idle)
	}
	u.mu.Unlock()
	if busy {
		return
	}
	if err := u.abort(context.Background()); errors.Is(err, errComplete) || errors.Is(err, errNoUpload) {
		return
	}
	u.all.log.Info("upload given up", "si", u.id.si.Short(), "shnum", u.id.num, "idle", u.all.idle)
}

// end needs the whole of ending.
func (u *upload) end(s state) {
	u.mu.Lock()
	u.state = s
	u.w = nil
	u.got = storage.Spans{}
	u.mu.Unlock()
	u.all.ended(u, s == finished)
}
