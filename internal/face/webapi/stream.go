package webapi

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// streamManifest answers with a line of JSON for each object in a directory
// and below, as they are found, and one of figures at the end. A failure is a
// line that begins with ERROR, as the status has been sent by then.
func (h *Handler) streamManifest(q *request, c caps.Dir) error {
	q.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q.Header().Set("Cache-Control", "no-store")
	out := h.patient(q)
	w := bufio.NewWriterSize(out, 32<<10)
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	var stats filestore.Stats
	err := h.look(q, func(ctx context.Context, op *operation) error {
		op.object(c)
		if q.status != 0 {
			return errBegun // some of it has been sent
		}
		stats = filestore.Stats{}
		w.Reset(out)
		return h.walk(ctx, c, filestore.Visitor{
			Visit: func(it filestore.Item) error {
				stats.Add(it)
				if err := lines.Encode(it.RevealLine()); err != nil {
					return gone(err)
				}
				if it.Type() == dirtable.Directory && len(it.Path) > 0 { // what is below it may take a while
					return gone(w.Flush())
				}
				return nil
			},
			Listed: func(_ filestore.Item, size int64, children int) error {
				stats.AddListed(size, children)
				return nil
			},
		})
	})
	if err != nil {
		if q.status == 0 { // nothing has been sent
			return err
		}
		io.WriteString(w, "ERROR: "+clean(translate(err).text)+"\n")
		return gone(w.Flush())
	}
	lines.Encode(map[string]any{"type": "stats", "stats": &stats})
	return gone(w.Flush())
}

// errBegun ends what cannot be begun again.
var errBegun = errorf(http.StatusGone, "A directory below cannot be read now: too few shares were found.")
