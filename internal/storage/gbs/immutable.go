package gbs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"

	"tahoe-go/internal/storage"
)

// allocate answers POST immutable/SI.
func (c *call) allocate() error {
	sec, err := parseSecrets(c.r.Header, renewSecret, cancelSecret, uploadSecret)
	if err != nil {
		return err
	}
	if err := checkAccept(c.r.Header); err != nil {
		return err
	}
	var req allocateRequest
	if err := c.readMessage(&req, maxAllocateBody); err != nil {
		return err
	}
	ctx, us := c.r.Context(), c.h.uploads
	unlock, err := us.lock(ctx, c.path.si)
	if err != nil {
		return err
	}
	defer unlock()

	nums, size, secret := *req.Numbers, req.Size.size(), hashSecret(sec[uploadSecret])
	if size == 0 {
		nums = nil // no range could ever be written to such a share
	}
	ask, allocated, err := us.room(c.path.si, nums, size, secret)
	if err != nil {
		return err
	}
	ls := storage.LeaseSecrets{Renew: sec[renewSecret], Cancel: sec[cancelSecret]}
	got, err := c.h.cfg.Server.Allocate(ctx, c.path.si, ask, size, ls)
	if err != nil {
		return err
	}
	for num, w := range got.Writers {
		id := shareID{c.path.si, num}
		if err := us.add(id, size, secret, w); err != nil {
			w.Abort(context.WithoutCancel(ctx))
			return err
		}
		allocated = append(allocated, num)
	}
	have, alloc := numSet(got.Have), numSet(allocated)
	return c.reply(codeOK, encode(&allocateAnswer{&have, &alloc}))
}

// writeShare answers PATCH immutable/SI/NUM. Bytes that arrived before an
// error stay written; the client learns from `required` where to resume.
func (c *call) writeShare() error {
	sec, err := parseSecrets(c.r.Header, uploadSecret)
	if err != nil {
		return err
	}
	span, total, ok := parseContentRange(c.r.Header.Get("Content-Range"))
	if !ok {
		return errRange
	}
	if err := checkAccept(c.r.Header); err != nil {
		return err
	}
	u, err := c.h.uploads.find(shareID{c.path.si, c.path.num}, hashSecret(sec[uploadSecret]))
	if err != nil {
		return err
	}
	switch {
	case total >= 0 && total != u.size:
		return errRange
	case span.End() > u.size:
		return errBeyondShare
	case c.r.ContentLength >= 0 && c.r.ContentLength != span.Len:
		return errBodyLength
	}
	u.enter()
	defer u.leave()
	if err := c.receive(u, span); err != nil {
		return err
	}
	missing, err := u.finish(c.r.Context())
	if err != nil {
		return err
	}
	code := codeOK
	if len(missing) == 0 {
		code = codeCreated
	}
	return c.reply(code, encode(newWriteAnswer(missing)))
}

// receive moves the body into u, a buffer at a time.
func (c *call) receive(u *upload, span storage.Span) error {
	buf, put := c.h.buffers.get(span.Len)
	defer put()
	for off := span.Off; off < span.End(); {
		p := buf[:min(int64(len(buf)), span.End()-off)]
		c.allowRead(int64(len(p)))
		if _, err := io.ReadFull(c.r.Body, p); err != nil {
			return errBodyCut
		}
		if off+int64(len(p)) == span.End() {
			// Only a chunked body can have more; reading its end also lets
			// net/http notice when the client leaves.
			if err := c.bodyEnds(); err != nil {
				return err
			}
		}
		err := u.write(c.r.Context(), p, off)
		if errors.Is(err, errComplete) {
			err = c.compare(p, off)
		}
		if err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// compare holds p against the finished share: a client that repeats a write
// whose answer was lost gets the same answer.
func (c *call) compare(p []byte, off int64) error {
	share, err := c.share()
	if err != nil {
		return err
	}
	buf, put := c.h.buffers.get(int64(len(p)))
	defer put()
	for len(p) > 0 {
		have := buf[:min(len(buf), len(p))]
		n, err := share.ReadAt(c.r.Context(), have, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(have[:n], p[:len(have)]) {
			return errConflict
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// abortUpload answers PUT immutable/SI/NUM/abort.
func (c *call) abortUpload() error {
	sec, err := parseSecrets(c.r.Header, uploadSecret)
	if err != nil {
		return err
	}
	if err := c.bodyEnds(); err != nil {
		return err
	}
	u, err := c.h.uploads.find(shareID{c.path.si, c.path.num}, hashSecret(sec[uploadSecret]))
	if err == nil {
		err = u.abort(c.r.Context())
	}
	if errors.Is(err, errNoUpload) {
		if _, shareErr := c.share(); shareErr == nil {
			return errComplete
		}
	}
	if err != nil {
		return err
	}
	c.header(codeOK, 0)
	return nil
}

// listShares answers GET immutable/SI/shares.
func (c *call) listShares() error {
	if err := c.noSecrets(); err != nil {
		return err
	}
	if err := checkAccept(c.r.Header); err != nil {
		return err
	}
	if err := c.bodyEnds(); err != nil {
		return err
	}
	shares, err := c.h.cfg.Server.Shares(c.r.Context(), c.path.si)
	if err != nil {
		return err
	}
	nums := make(numSet, 0, len(shares))
	for num := range shares {
		nums = append(nums, num)
	}
	return c.reply(codeOK, encode(nums))
}

// reportCorrupt answers POST immutable/SI/NUM/corrupt, and mutable.
func (c *call) reportCorrupt() error {
	if err := c.noSecrets(); err != nil {
		return err
	}
	var req corruptRequest
	if err := c.readMessage(&req, maxCorruptBody); err != nil {
		return err
	}
	share, err := c.share()
	if err != nil {
		return err
	}
	if err := share.ReportCorrupt(c.r.Context(), *req.Reason); err != nil {
		return err
	}
	c.header(codeOK, 0)
	return nil
}

// share finds the share that the path names: complete, if it is immutable.
func (c *call) share() (storage.ShareReader, error) {
	if c.path.res == resSlotShare || c.path.res == resSlotCorrupt {
		return c.slotShare()
	}
	shares, err := c.h.cfg.Server.Shares(c.r.Context(), c.path.si)
	if err != nil {
		return nil, err
	}
	if s, ok := shares[c.path.num]; ok {
		return s, nil
	}
	return nil, errNoShare
}

// noSecrets refuses secrets where none belong.
func (c *call) noSecrets() error {
	_, err := parseSecrets(c.r.Header)
	return err
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
