package webapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// maxMutable bounds what is written into a mutable file at once: it is held in
// memory.
const maxMutable = 1 << 30

// mutableTrace lets an operation on a mutable file or a directory tell how it
// goes.
func (op *operation) mutableTrace() *mutable.Trace {
	if op == nil {
		return nil
	}
	tr := op.wayTrace()
	tr.Found = func(server string, nums []storage.ShareNum) {
		for _, num := range nums {
			op.share(server, num, 0, nil)
		}
	}
	tr.Block = func(server string, num storage.ShareNum, _ int64, bytes int, _ time.Duration) {
		op.share(server, num, bytes, nil)
	}
	return tr
}

// wayTrace names the servers that are asked for directories on the way to what
// an operation is about, and not their shares.
func (op *operation) wayTrace() *mutable.Trace {
	if op == nil {
		return nil
	}
	note := func(server string, err error) {
		op.mu.Lock()
		defer op.mu.Unlock()
		if p := op.at(server); err != nil {
			p.err = clean(err.Error())
		}
	}
	return &mutable.Trace{
		Asked:   func(server string, err error, _ time.Duration) { note(server, err) },
		Wrote:   func(server string, _ int, err error, _ time.Duration) { note(server, err) },
		Dropped: func(server string, num storage.ShareNum, why error) { op.share(server, num, 0, why) },
	}
}

// contents returns a received file as bytes, which are good until it is
// closed.
func (r *received) contents() ([]byte, error) {
	if r.Size() > maxMutable {
		return nil, errorf(http.StatusRequestEntityTooLarge, "At most %d bytes can be written into a mutable file at once. "+
			"Larger ones can be written piece by piece, with offset=.", maxMutable)
	}
	if data, ok := r.Bytes(); ok {
		return data, nil
	}
	data := make([]byte, r.Size())
	_, err := io.ReadFull(r.Spool, data)
	return data, err
}

// createMutable stores a received file as a new mutable one.
func (h *Handler) createMutable(ctx context.Context, body *received, n newFile) (caps.Cap, error) {
	op := body.op
	op.become(publish)
	op.size(body.Size())
	if n.format == sdmfFormat && body.Size() > ssk.MaxSegment {
		return nil, errSDMF
	}
	data, err := body.contents()
	if err != nil {
		return nil, err
	}
	op.enter(waiting)
	h.waitToStore(ctx, op)
	op.enter(sending)
	c, err := h.c.Mutable.Create(ctx, mutable.CreateOptions{MDMF: n.format == mdmfFormat, Key: n.key},
		func(caps.SSK) ([]byte, error) { return data, nil }, op.mutableTrace())
	if err != nil {
		return nil, keyTaken(n.key, err)
	}
	op.object(c)
	h.published(body.Size())
	return c, nil
}

// keyTaken says of a collision with an object that was made just now that
// there was one with its key, if that was given.
func keyTaken(key *ssk.PrivateKey, err error) error {
	if _, met := errors.AsType[*mutable.UncoordinatedError](err); met && key != nil {
		return errorf(http.StatusConflict, "There is a mutable file or a directory with this key already. Use its cap to change it, or another key.")
	}
	return err
}

// published counts a mutable file that was written.
func (h *Handler) published(size int64) {
	h.stats.filesPublished.Add(1)
	h.stats.bytesPublished.Add(size)
}

// overwrite writes a received file into a mutable one: all of it, or from an
// offset on.
func (h *Handler) overwrite(ctx context.Context, body *received, c caps.Cap, offset int64) error {
	op := body.op
	op.become(publish)
	op.size(body.Size())
	data, err := body.contents()
	if err != nil {
		return err
	}
	f, err := h.openMutable(c)
	if err != nil {
		return err
	}
	op.enter(waiting)
	h.waitToStore(ctx, op)
	op.enter(sending)
	if offset >= 0 {
		err = f.WriteAt(ctx, data, offset, op.mutableTrace())
	} else {
		err = f.Overwrite(ctx, data, op.mutableTrace())
	}
	if err == nil {
		h.published(body.Size())
	}
	return err
}

// version asks servers for the best version of a mutable file.
func (h *Handler) version(q *request, c caps.Cap) (v ssk.Version, err error) {
	f, err := h.openMutable(c)
	if err != nil {
		return v, err
	}
	err = h.look(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		v, err = f.Version(ctx, op.mutableTrace())
		return err
	})
	return v, err
}

// mutableContent sends a mutable file's bytes, or the range asked for.
func (h *Handler) mutableContent(q *request, c caps.Cap, name string) error {
	f, err := h.openMutable(c)
	if err != nil {
		return err
	}
	var sent int64
	err = h.look(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		return f.Stream(ctx, func(v ssk.Version) (io.Writer, int64, int64, error) {
			q.Header().Del("Content-Range") // of a version that could not be read
			out, off, n, err := h.beginContent(q, name, v.Size)
			if err != nil || out == nil {
				return nil, 0, 0, err
			}
			op.size(n)
			out.op, sent = op, n
			return out, off, n, nil
		}, op.mutableTrace())
	})
	if err == nil {
		h.stats.filesRetrieved.Add(1)
		h.stats.bytesRetrieved.Add(sent)
	}
	return err
}

// infoVersion adds to a page what servers say of a mutable file.
func (h *Handler) infoVersion(q *request, c caps.Cap, p *infoPage) {
	read, ok := caps.Read(c)
	if !ok {
		return
	}
	v, err := h.version(q, read)
	if err != nil {
		p.Problem = unreadable(err)
		return
	}
	p.Size, p.K, p.N = v.Size, v.K, v.N
	p.Version = number(float64(v.Seqnum))
}
