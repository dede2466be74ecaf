package webclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"tahoe-go/internal/format/caps"
)

// Range is a part of a file. The zero Range is all of it.
type Range struct {
	Off int64 // first byte
	Len int64 // bytes; 0: to the end
}

// GetOptions tune a Get. The zero value is useful.
type GetOptions struct {
	Path     []string // from the cap to the file, if the cap is a directory's
	Range    Range
	Progress func(Progress) // called after each piece written, from the calling goroutine; nil: none
}

// ErrDirectory: what should have been a file is a directory.
var ErrDirectory = errors.New("it is a directory")

// Get writes the file that cap stands for, or leads to, to w and returns how
// many bytes it wrote. Errors are *Error, *UnreachableError (also when the
// file broke off), ErrDirectory, what writing to w said, or ctx's.
func (c *Client) Get(ctx context.Context, cap caps.Cap, w io.Writer, o GetOptions) (int64, error) {
	header := http.Header{"Accept": {"*/*"}}
	ranged := o.Range != Range{}
	if ranged {
		spec := fmt.Sprintf("bytes=%d-", o.Range.Off)
		if o.Range.Len > 0 {
			spec += fmt.Sprint(o.Range.Off + o.Range.Len - 1)
		}
		header.Set("Range", spec)
	}
	resp, err := c.do(ctx, http.MethodGet, Place{cap, o.Path}.url(), nil, 0, header)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Accept-Ranges") == "" && (len(o.Path) > 0 || caps.IsDir(cap)) {
		return 0, ErrDirectory // of all answers only files have ranges
	}
	if ranged && resp.StatusCode != http.StatusPartialContent {
		return 0, &Error{Status: http.StatusRequestedRangeNotSatisfiable, Sentence: "The file has no such range."}
	}
	out := &writer{w: w, total: resp.ContentLength, report: o.Progress}
	_, err = io.Copy(out, resp.Body)
	switch {
	case out.err != nil:
		return out.n, fmt.Errorf("writing the file: %w", out.err)
	case err != nil:
		if errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil {
			err = errors.New("it broke off; the node's log may say why")
		}
		return out.n, unreachable(ctx, err)
	}
	return out.n, nil
}

// writer counts, and tells its own errors from those of the network.
type writer struct {
	w        io.Writer
	n, total int64
	report   func(Progress)
	err      error
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
	if w.report != nil {
		w.report(Progress{"fetching", w.n, w.total})
	}
	return n, err
}
