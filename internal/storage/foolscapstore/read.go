package foolscapstore

import (
	"context"
	"io"

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
