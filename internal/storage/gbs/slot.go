package gbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"tahoe-go/internal/storage"
)

// smallBody is what a call may use without asking the budget.
const smallBody = 64 << 10

// testAndWrite answers POST mutable/SI/read-test-write. The whole message is
// in memory until it is done.
func (c *call) testAndWrite() error {
	sec, err := parseSecrets(c.r.Header, writeEnabler, renewSecret, cancelSecret)
	if err != nil {
		return err
	}
	if err := checkAccept(c.r.Header); err != nil {
		return err
	}
	body, release, err := c.readLarge(c.h.cfg.MaxSlotBody)
	defer release()
	if err != nil {
		return err
	}
	req, err := scanSlotRequest(body)
	if err != nil {
		return errSchema
	}
	answer := c.h.slotAnswers.new()
	defer answer.release()
	if !answer.grow(worstAnswer(req.spans)) {
		return errBusy
	}
	we := storage.NewWriteEnabler([32]byte([]byte(sec[writeEnabler].Reveal())))
	ls := storage.LeaseSecrets{Renew: sec[renewSecret], Cancel: sec[cancelSecret]}
	got, err := c.h.cfg.Server.TestAndWrite(c.r.Context(), c.path.si, we, ls, req.writes, req.spans)
	release()
	if errors.Is(err, storage.ErrTooLarge) {
		return errSlotTooLarge
	}
	if err != nil {
		return err
	}
	return c.sendLarge((&slotAnswer{SlotResult: *got}).encode())
}

// worstAnswer is how much all shares there can be may have at spans.
func worstAnswer(spans []storage.Span) int64 {
	var n int64
	for _, s := range spans {
		if n += min(s.Len, storage.MaxSlotAnswer) * maxSet; n >= storage.MaxSlotAnswer {
			return storage.MaxSlotAnswer
		}
	}
	return n
}

// readLarge reads a CBOR body of at most limit bytes. Memory is taken as bytes
// arrive, not as they are announced, beyond maxPooled. The body is good until
// release is called, which the caller does in any case, and may again.
func (c *call) readLarge(limit int64) (body []byte, release func(), err error) {
	room := c.h.slotBodies.new()
	if err := checkContentType(c.r.Header); err != nil {
		return nil, room.release, err
	}
	if c.r.ContentLength > limit {
		return nil, room.release, errBodyTooLarge
	}
	buf := make([]byte, 0, smallChunk)
	pooled := false
	release = func() {
		if pooled {
			c.h.bodies.put(buf)
			pooled = false
		}
		room.release()
	}
	for due := 0; ; {
		if len(buf) >= due {
			c.allowRead(chunk)
			due += chunk
		}
		if len(buf) == cap(buf) {
			size := bodySize(c.roomFor(len(buf), limit))
			if !room.grow(size + int64(len(buf))) { // both, while it is copied
				return nil, release, errBusy
			}
			grown := append(c.h.bodies.get(size), buf...)
			if pooled {
				c.h.bodies.put(buf)
			}
			buf, pooled = grown, true
		}
		n, err := c.r.Body.Read(buf[len(buf):min(cap(buf), due)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, release, errBodyTooLarge
		case err == io.EOF:
			c.bodyRead()
			return buf, release, nil
		case err != nil:
			return nil, release, errBodyCut
		}
	}
}

// roomFor returns the size of the next buffer for a body of which have bytes
// have come: a chunk, then all that was announced if that is not much, else
// double.
func (c *call) roomFor(have int, limit int64) int64 {
	all := limit + 1 // one more, to see the end
	if c.r.ContentLength >= int64(have) {
		all = c.r.ContentLength + 1
	}
	switch {
	case have < chunk:
		return min(all, chunk)
	case all <= maxPooled:
		return all
	}
	return min(2*int64(have), all)
}

// sendLarge sends a CBOR message in pieces that each have to move.
func (c *call) sendLarge(body []byte) error {
	c.w.Header().Set("Content-Type", cborType)
	c.header(codeOK, int64(len(body)))
	for len(body) > 0 {
		n := min(len(body), chunk)
		if err := c.send(body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// listSlot answers GET mutable/SI/shares.
func (c *call) listSlot() error {
	if err := c.noSecrets(); err != nil {
		return err
	}
	if err := checkAccept(c.r.Header); err != nil {
		return err
	}
	if err := c.bodyEnds(); err != nil {
		return err
	}
	held, err := c.h.cfg.Server.ReadSlot(c.r.Context(), c.path.si, nil, nil)
	if err != nil {
		return err
	}
	nums := make(numSet, 0, len(held))
	for num := range held {
		nums = append(nums, num)
	}
	return c.reply(codeOK, encode(nums))
}

// slotShare finds the mutable share that the path names.
func (c *call) slotShare() (storage.ShareReader, error) {
	held, err := c.h.cfg.Server.ReadSlot(c.r.Context(), c.path.si, []storage.ShareNum{c.path.num}, nil)
	if err != nil {
		return nil, err
	}
	if _, ok := held[c.path.num]; !ok {
		return nil, errNoShare
	}
	return slotReader{c.h.cfg.Server, c.path.si, c.path.num}, nil
}

// slotReader reads a mutable share as the immutable ones are read. Each
// ReadAt sees one version of the share.
type slotReader struct {
	server storage.Mutables
	si     storage.Index
	num    storage.ShareNum
}

// ReadAt implements storage.ShareReader.
func (r slotReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	got, err := r.server.ReadSlot(ctx, r.si, []storage.ShareNum{r.num}, []storage.Span{{Off: off, Len: int64(len(p))}})
	if err != nil {
		return 0, err
	}
	pieces, ok := got[r.num]
	if !ok || len(pieces) != 1 {
		return 0, fmt.Errorf("reading share %d of slot %s: %w", r.num, r.si.Short(), storage.ErrNotFound)
	}
	n := copy(p, pieces[0])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ReportCorrupt implements storage.ShareReader.
func (r slotReader) ReportCorrupt(ctx context.Context, reason string) error {
	return r.server.ReportCorruptSlot(ctx, r.si, r.num, reason)
}

// budget is memory that calls share. Nobody waits for it: a call that cannot
// have its part is refused, so that those who got theirs and are slow hold up
// no one else.
type budget struct {
	mu   sync.Mutex // guards below
	left int64
}

// part is what one call has of a budget.
type part struct {
	of  *budget
	has int64
}

func (b *budget) new() *part { return &part{of: b} }

// grow makes the part n bytes, if it has fewer. Small parts cost nothing.
func (p *part) grow(n int64) bool {
	if n <= smallBody || n <= p.has {
		return true
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if n-p.has > p.of.left {
		return false
	}
	p.of.left -= n - p.has
	p.has = n
	return true
}

// release gives the part back.
func (p *part) release() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.left += p.has
	p.has = 0
}
