package gbs

import (
	"errors"
	"io"
	"net/http"

	"tahoe-go/internal/storage"
)

// readShare answers GET immutable/SI/NUM, and mutable/SI/NUM, where a large
// range may be of several versions.
func (c *call) readShare() error {
	if err := c.noSecrets(); err != nil {
		return err
	}
	if err := c.bodyEnds(); err != nil {
		return err
	}
	ranges := c.r.Header.Values("Range")
	var span storage.Span
	if len(ranges) > 0 {
		var ok bool
		if span, ok = parseRange(ranges[0]); !ok || len(ranges) > 1 {
			return errRange
		}
	}
	share, err := c.share()
	if err != nil {
		return err
	}
	if len(ranges) == 0 {
		return c.sendAll(share)
	}
	return c.sendRange(share, span)
}

// sendRange answers with the part of span that exists. How much that is must
// be known before the header goes out, and a storage.ShareReader does not say:
// a small range is read first, of a large one the end is looked for.
func (c *call) sendRange(share storage.ShareReader, span storage.Span) error {
	buf, put := c.h.buffers.get(span.Len)
	defer put()
	first := buf[:min(int64(len(buf)), span.Len)]
	n, err := readFull(c, share, first, span.Off)
	if err != nil {
		return err
	}
	if n == 0 {
		return errEmptyRange
	}
	if n < len(first) {
		span.Len = int64(n)
	} else if span, err = c.existing(share, span, int64(n)); err != nil {
		return err
	}
	hd := c.w.Header()
	hd.Set("Content-Type", bytesType)
	hd.Set("Content-Range", formatContentRange(span))
	c.header(codePartial, span.Len)
	for {
		if err := c.send(buf[:n]); err != nil {
			return err
		}
		span.Off, span.Len = span.Off+int64(n), span.Len-int64(n)
		if span.Len == 0 {
			return nil
		}
		want := buf[:min(int64(len(buf)), span.Len)]
		if n, err = readFull(c, share, want, span.Off); err != nil {
			return err
		}
		if n < len(want) {
			return errors.New("the share became shorter while it was read")
		}
	}
}

// existing cuts span to what the share holds; sure bytes are known to be
// there. It asks for single bytes, at most 63 times.
func (c *call) existing(share storage.ShareReader, span storage.Span, sure int64) (storage.Span, error) {
	lo, hi := sure, span.Len // the first lo bytes exist; the answer is at most hi
	for probe := hi; lo < hi; probe = lo + (hi-lo+1)/2 {
		n, err := readFull(c, share, make([]byte, 1), span.Off+probe-1)
		if err != nil {
			return span, err
		}
		if n == 1 {
			lo = probe
		} else {
			hi = probe - 1
		}
	}
	return storage.Span{Off: span.Off, Len: lo}, nil
}

// sendAll answers with the whole share, whatever its length.
func (c *call) sendAll(share storage.ShareReader) error {
	buf, put := c.h.buffers.get(chunk)
	defer put()
	for off := int64(0); ; {
		n, err := readFull(c, share, buf, off)
		if err != nil {
			return err
		}
		if !c.answered {
			c.w.Header().Set("Content-Type", bytesType)
			length := int64(-1)
			if n < len(buf) {
				length = int64(n)
			}
			c.header(codeOK, length)
		}
		if err := c.send(buf[:n]); err != nil || n < len(buf) {
			return err
		}
		off += int64(n)
	}
}

func (c *call) send(p []byte) error {
	c.allowWrite(int64(len(p)))
	if _, err := c.w.Write(p); err != nil {
		panic(http.ErrAbortHandler) // the client left; nobody to tell
	}
	return nil
}

// readFull is ReadAt, where the end of the share is no error.
func readFull(c *call, share storage.ShareReader, p []byte, off int64) (int, error) {
	n, err := share.ReadAt(c.r.Context(), p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
