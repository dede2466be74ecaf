package webapi

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"

	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// streamManifest answers with a line of JSON for each object in a directory
// and below.
func (h *Handler) streamManifest(q *request, c caps.Dir) error {
	return h.stream(q, c, func(ctx context.Context, s *streaming) error {
		return h.walk(ctx, c, filestore.Visitor{
			Visit: func(it filestore.Item) error {
				s.stats.Add(it)
				return s.line(it, it.RevealLine())
			},
			Listed: func(_ filestore.Item, size int64, children int) error {
				s.stats.AddListed(size, children)
				return nil
			},
		})
	})
}

// streamCheck does so with the result of a check, or of a check and repair.
func (h *Handler) streamCheck(q *request, c caps.Dir, how treeCheck) error {
	return h.stream(q, c, func(ctx context.Context, s *streaming) error {
		return h.checkTree(ctx, c, how, &s.stats, &s.mu, func(it filestore.Item, r *repaired) error {
			if how.repair {
				return s.line(it, repairLine{it.RevealLine(), r})
			}
			return s.line(it, checkLine{it.RevealLine(), r.Before})
		})
	})
}

// stream answers with the lines that write makes, as they are made, and one of
// figures at the end. A failure is a line that begins with ERROR, as the
// status has been sent by then.
func (h *Handler) stream(q *request, c caps.Dir, write func(context.Context, *streaming) error) error {
	q.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q.Header().Set("Cache-Control", "no-store")
	s := &streaming{q: q, out: h.patient(q)}
	err := h.look(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		if q.status != 0 {
			return errBegun // some of it has been sent
		}
		s.begin()
		return write(ctx, s)
	})
	switch {
	case err != nil && q.status == 0: // nothing has been sent
		return err
	case err != nil:
		io.WriteString(s.w, "ERROR: "+clean(translate(err).text)+"\n")
	default:
		s.json.Encode(map[string]any{"type": "stats", "stats": &s.stats})
	}
	return gone(s.w.Flush())
}

// errBegun ends what cannot be begun again.
var errBegun = errorf(http.StatusGone, "A directory below cannot be read now: too few shares were found.")

type checkLine struct {
	filestore.Line
	Results *checked `json:"check-results"`
}

type repairLine struct {
	filestore.Line
	Results *repaired `json:"check-and-repair-results"`
}

// streaming is an answer of lines.
type streaming struct {
	q    *request
	out  io.Writer
	w    *bufio.Writer
	json *json.Encoder

	mu    sync.Mutex // while objects are checked; guards below
	stats filestore.Stats
}

// begin forgets what was written and not sent.
func (s *streaming) begin() {
	s.w = bufio.NewWriterSize(s.out, 32<<10)
	s.json = json.NewEncoder(asciiJSON{s.w})
	s.json.SetEscapeHTML(false)
	s.stats = filestore.Stats{}
}

func (s *streaming) line(it filestore.Item, v any) error {
	if err := s.json.Encode(v); err != nil {
		return gone(err)
	}
	if it.Type() == dirtable.Directory && len(it.Path) > 0 { // what is below it may take a while
		return gone(s.w.Flush())
	}
	return nil
}
