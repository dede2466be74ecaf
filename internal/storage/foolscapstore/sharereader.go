package foolscapstore

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// Shares implements storage.Immutables.
func (c *Client) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	held, err := c.buckets(ctx, si)
	if isContainer(err) {
		held, err = nil, nil // a slot
	}
	if err != nil {
		return nil, fmt.Errorf("listing shares of %s: %w", si.Short(), err)
	}
	out := make(map[storage.ShareNum]storage.ShareReader)
	for num, ref := range held {
		r := &shareReader{c: c, si: si, num: num}
		c.readers.put(r, ref)
		out[num] = r
	}
	return out, nil
}

var bucketsAnswer = banana.DictOf(shareNum, banana.Reference(), maxShares)

// buckets returns RIBucketReaders, for the caller to release.
func (c *Client) buckets(ctx context.Context, si storage.Index) (map[storage.ShareNum]*foolscap.Ref, error) {
	v, err := c.ask(ctx, 0, "get_buckets", bucketsAnswer, si[:])
	if err != nil {
		return nil, err
	}
	return bucketsOf(v.(banana.Dict), func(storage.ShareNum) bool { return true }), nil
}

// maxReaders is how many RIBucketReaders a Client keeps.
const maxReaders = 1024

// readers keeps the references of the readers that were used last. A
// connection holds only so many, and nobody says when a reader is not needed
// any more.
type readers struct {
	mu     sync.Mutex // guards below, and shareReader's ref and place
	recent list.List  // of *shareReader, the latest last
}

func (rs *readers) put(r *shareReader, ref *foolscap.Ref) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.drop(r)
	r.ref, r.place = ref, rs.recent.PushBack(r)
	for rs.recent.Len() > maxReaders {
		rs.drop(rs.recent.Front().Value.(*shareReader))
	}
}

// drop needs mu.
func (rs *readers) drop(r *shareReader) {
	if r.ref != nil {
		rs.recent.Remove(r.place)
		r.ref.Release()
		r.ref, r.place = nil, nil
	}
}

func (rs *readers) releaseAll() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for rs.recent.Len() > 0 {
		rs.drop(rs.recent.Front().Value.(*shareReader))
	}
}

// hold returns the reference of r, for the caller to release, or nil if it has
// none that is good.
func (rs *readers) hold(r *shareReader) *foolscap.Ref {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.ref == nil || r.ref.Conn().Err() != nil {
		rs.drop(r)
		return nil
	}
	rs.recent.MoveToBack(r.place)
	return r.ref.Hold()
}

// shareReader reads one share. Without a reference it asks for one anew.
type shareReader struct {
	c     *Client
	si    storage.Index
	num   storage.ShareNum
	ref   *foolscap.Ref
	place *list.Element
}

var _ storage.ShareReader = (*shareReader)(nil)

func (r *shareReader) bucket(ctx context.Context) (*foolscap.Ref, error) {
	if ref := r.c.readers.hold(r); ref != nil {
		return ref, nil
	}
	held, err := r.c.buckets(ctx, r.si)
	if err != nil {
		return nil, err
	}
	for num, ref := range held {
		if num != r.num {
			ref.Release()
		}
	}
	ref := held[r.num]
	if ref == nil {
		return nil, storage.ErrNotFound
	}
	mine := ref.Hold()
	r.c.readers.put(r, ref)
	return mine, nil
}

// ReadAt implements storage.ShareReader: a call for each megabyte, a few at a
// time.
func (r *shareReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading share %d of %s: negative offset %d", r.num, r.si.Short(), off)
	}
	n, err := r.readAt(ctx, p, off)
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("reading share %d of %s: %w", r.num, r.si.Short(), err)
	}
	return n, err
}

func (r *shareReader) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) <= batch {
		return r.read(ctx, p, off)
	}
	read := make([]int, (len(p)+batch-1)/batch)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(depth)
	for i := range read {
		at := i * batch
		if off+int64(at) < 0 { // no share reaches so far
			break
		}
		g.Go(func() (err error) {
			read[i], err = r.read(gctx, p[at:min(len(p), at+batch)], off+int64(at))
			if err == io.EOF {
				return nil
			}
			return err
		})
	}
	err := g.Wait()
	n := 0
	for _, m := range read {
		n += m
		if m < batch {
			break
		}
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// read makes one call.
func (r *shareReader) read(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = r.c.timed(ctx, int64(len(p)), func(ctx context.Context) error {
		ref, err := r.bucket(ctx)
		if err != nil {
			return err
		}
		defer ref.Release()
		got, err := ref.Call(ctx, "read", banana.Into(p), off, len(p))
		if err == nil {
			n = len(got.([]byte))
		}
		return err
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// ReportCorrupt implements storage.ShareReader. A reason longer than 32,768
// bytes is cut.
func (r *shareReader) ReportCorrupt(ctx context.Context, reason string) error {
	err := r.c.timed(ctx, 0, func(ctx context.Context) error {
		ref, err := r.bucket(ctx)
		if err != nil {
			return err
		}
		defer ref.Release()
		_, err = ref.Call(ctx, "advise_corrupt_share", nil, cutReason(reason))
		return err
	})
	if err != nil {
		return fmt.Errorf("reporting share %d of %s: %w", r.num, r.si.Short(), err)
	}
	return nil
}

// cutReason makes a reason short enough, and text.
func cutReason(s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return []byte(strings.ToValidUTF8(s[:min(len(s), maxReason)], ""))
}
