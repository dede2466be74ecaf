package foolscapstore

import (
	"context"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// bucket is RIBucketReader.
type bucket struct {
	h *Handler
	r storage.ShareReader
}

var readerMethods = map[string]*foolscap.Method{
	"read": {
		Args:       []foolscap.Arg{{Name: "offset", Schema: banana.Size()}, {Name: "length", Schema: banana.Int(0, maxSize)}},
		Concurrent: true, Do: bucketRead,
	},
	"advise_corrupt_share": {
		Args:       []foolscap.Arg{{Name: "reason", Schema: banana.Bytes(maxReason)}},
		Concurrent: true,
		Do: func(ctx context.Context, c *foolscap.Call) (any, error) {
			b := c.Self.(*bucket)
			return nil, remote(b.r.ReportCorrupt(ctx, reasonOf(c.Bytes(0))), b.h.cfg.NodeID)
		},
	},
}

func getBuckets(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	out := banana.Dict{}
	si, ok := index(c, 0)
	if !ok {
		return out, nil
	}
	held, err := h.cfg.Server.Shares(ctx, si)
	if err != nil {
		return nil, remote(err, h.cfg.NodeID)
	}
	for num, r := range held {
		out = append(out, banana.Pair{Key: int64(num), Value: &foolscap.Object{Iface: readerIface, Methods: readerMethods, Self: &bucket{h, r}}})
	}
	return out, nil
}

func bucketRead(ctx context.Context, c *foolscap.Call) (any, error) {
	b, off, length := c.Self.(*bucket), c.Int(0), c.Int(1)
	size := min(length, maxRead)
	if err := b.h.answers.enter(ctx, c, size); err != nil {
		return nil, err
	}
	buf := banana.GetBuffer(int(size))
	c.Done(func() { banana.PutBuffer(buf) })
	p := buf[:size]
	n, err := b.r.ReadAt(ctx, p, off)
	if err != nil && err != io.EOF {
		return nil, remote(err, b.h.cfg.NodeID)
	}
	if length > maxRead && err == nil { // an answer that is short means the end
		if more, _ := b.r.ReadAt(ctx, make([]byte, 1), off+maxRead); more > 0 {
			return nil, &foolscap.RemoteError{Type: classValue, Value: "one read returns at most 33554432 bytes"}
		}
	}
	return p[:n], nil
}

// answers bounds the share data in answers that are not encoded yet: of one
// connection, so that a peer that does not read its answers holds up nobody
// else, and of all.
type answers struct {
	all *semaphore.Weighted
	max int64

	mu   sync.Mutex // guards below
	each map[*foolscap.Conn]*peerAnswers
}

type peerAnswers struct {
	*semaphore.Weighted
	users int // guarded by answers.mu
}

func newAnswers(max int64) *answers {
	return &answers{all: semaphore.NewWeighted(max), max: max, each: make(map[*foolscap.Conn]*peerAnswers)}
}

// enter waits for room for n bytes, which is given back when the call c has
// been answered.
func (a *answers) enter(ctx context.Context, c *foolscap.Call, n int64) error {
	n = min(n, maxRead, a.max)
	each := a.of(c.Conn)
	c.Done(func() { a.leave(c.Conn) })
	if err := each.Acquire(ctx, n); err != nil {
		return err
	}
	if err := a.all.Acquire(ctx, n); err != nil {
		each.Release(n)
		return err
	}
	c.Done(func() {
		a.all.Release(n)
		each.Release(n)
	})
	return nil
}

func (a *answers) of(conn *foolscap.Conn) *peerAnswers {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.each[conn]
	if p == nil {
		p = &peerAnswers{Weighted: semaphore.NewWeighted(maxRead)}
		a.each[conn] = p
	}
	p.users++
	return p
}

func (a *answers) leave(conn *foolscap.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.each[conn]; p != nil {
		if p.users--; p.users == 0 {
			delete(a.each, conn)
		}
	}
}
