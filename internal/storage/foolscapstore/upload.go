package foolscapstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// maxPadding is how many bytes a client may leave out when it closes a share.
// Clients before 1.19 ask for room for the largest URI extension block there
// can be, 1,000 bytes, and do not fill it.
const maxPadding = 64 << 10

// upload is RIBucketWriter: one share being received.
type upload struct {
	h      *Handler
	name   string
	size   int64
	w      storage.ShareWriter
	timer  *time.Timer // aborts it
	forget func() bool // the canary

	mu    sync.Mutex // guards below
	have  storage.Spans
	ended bool
}

var writerMethods = map[string]*foolscap.Method{
	"write": {
		Args:  []foolscap.Arg{{Name: "offset", Schema: banana.Size()}, {Name: "data", Schema: banana.Bytes(maxWrite)}},
		Limit: maxWrite + overhead, Do: bucketWrite,
	},
	"close": {Do: bucketClose},
	"abort": {Do: func(ctx context.Context, c *foolscap.Call) (any, error) {
		u := c.Self.(*upload)
		return nil, remote(u.abort(ctx), u.h.cfg.NodeID)
	}},
}

// begin takes over w, which lasts no longer than the connection of canary. A
// place was reserved for it.
func (h *Handler) begin(w storage.ShareWriter, name string, size int64, canary *foolscap.Ref) *upload {
	u := &upload{h: h, name: name, size: size, w: w}
	giveUp := func(why string) func() {
		return func() {
			if err := u.abort(context.Background()); err != nil {
				h.cfg.Log.Warn("aborting an upload failed", "share", u.name, "why", why, "err", err)
			}
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock() // both may happen at once
	u.timer = time.AfterFunc(h.cfg.UploadIdle, giveUp("nothing came for too long"))
	u.forget = canary.OnLost(giveUp("the client went away"))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uploads[u] = struct{}{}
	if h.closed { // Close did not see it
		u.timer.Reset(0)
	}
	return u
}

// end forgets it; u.mu is held.
func (u *upload) end() {
	u.ended = true
	u.timer.Stop()
	u.forget()
	u.h.mu.Lock()
	defer u.h.mu.Unlock()
	delete(u.h.uploads, u)
	u.h.open--
}

// abort discards what came. It does nothing once the upload has ended.
func (u *upload) abort(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil
	}
	if err := u.w.Abort(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("aborting %s: %w", u.name, err)
	}
	u.end()
	return nil
}

// bucketWrite is not done under mu: an abort need not wait for it.
func bucketWrite(ctx context.Context, c *foolscap.Call) (any, error) {
	u, off, data := c.Self.(*upload), c.Int(0), c.Bytes(1)
	u.timer.Reset(u.h.cfg.UploadIdle)
	err := u.w.WriteAt(ctx, data, off)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		u.timer.Stop() // Reset has started it again
	}
	if errors.Is(err, storage.ErrTooLarge) {
		return nil, &foolscap.RemoteError{Type: classTooLarge, Value: fmt.Sprintf("(%d, %d, %d)", u.size, off, len(data))}
	}
	if err != nil {
		return nil, remote(err, u.h.cfg.NodeID)
	}
	u.have.Add(storage.Span{Off: off, Len: int64(len(data))})
	return nil, nil
}

func bucketClose(ctx context.Context, c *foolscap.Call) (any, error) {
	u := c.Self.(*upload)
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.w.Close(ctx)
	if errors.Is(err, storage.ErrIncomplete) && u.size-u.have.Bytes() <= maxPadding {
		if err = u.pad(ctx); err == nil {
			err = u.w.Close(ctx)
		}
	}
	if err == nil {
		u.end()
	}
	return nil, remote(err, u.h.cfg.NodeID)
}

// pad writes zeros where nothing was written, which is what the reference's
// files hold there; u.mu is held.
func (u *upload) pad(ctx context.Context) error {
	for _, s := range u.have.Missing(u.size) {
		if err := u.w.WriteAt(ctx, make([]byte, s.Len), s.Off); err != nil {
			return err
		}
		u.have.Add(s)
	}
	return nil
}
