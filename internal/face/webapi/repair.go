package webapi

import (
	"context"
	"net/http"
	"strings"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
)

// repaired is the result of a check with repair, as JSON has it.
type repaired struct {
	SI         string   `json:"storage-index"`
	Attempted  bool     `json:"repair-attempted"`
	Successful *bool    `json:"repair-successful,omitempty"` // nil: the object is in its cap
	Before     *checked `json:"pre-repair-results,omitempty"`
	After      *checked `json:"post-repair-results,omitempty"`
}

// repair writes a mutable file or directory anew if a check has found it not
// to be healthy, and checks it again. An immutable one that is not healthy
// cannot be repaired yet; nor can what was given without its write cap.
func (h *Handler) repair(ctx context.Context, c caps.Cap, before *checked, o immutable.CheckOptions, op *operation) (*repaired, error) {
	r := &repaired{SI: before.SI}
	if before.SI == "" {
		return r, nil
	}
	good := before.Results.Healthy
	r.Before, r.After, r.Successful = before, before, &good
	if good {
		return r, nil
	}
	file := c
	if d, ok := c.(caps.Dir); ok {
		file = d.File()
	}
	if !caps.Mutable(c) {
		return nil, notYet("Repairs of immutable files and directories")
	}
	if !caps.Writable(c) {
		return nil, caps.ErrNotWritable
	}
	f, err := h.openMutable(file)
	if err != nil {
		return nil, err
	}
	r.Attempted = true
	op.enter(sending)
	if err := f.Repair(ctx, false, op.mutableTrace()); err != nil {
		return nil, err
	}
	op.enter(asking)
	if r.After, err = h.check(ctx, c, o, op); err != nil {
		return nil, err
	}
	good = r.After.Results.Healthy
	return r, nil
}

// showRepair answers with a repair's result, in the form that output= names.
func (h *Handler) showRepair(q *request, r *repaired) error {
	if strings.EqualFold(q.arg("output"), "json") {
		return q.json("text/plain", r)
	}
	if r.After == nil {
		return h.render(q, http.StatusOK, "check.html", checkPage{Words: "file", Healthy: true, Literal: true})
	}
	p := r.After.page()
	p.Repair, p.Repaired, p.Before = r.Attempted, *r.Successful, r.Before.Summary+"."
	return h.render(q, http.StatusOK, "check.html", p)
}

// newerError is the answer to a repair, or a change, that would give up a newer
// version.
func newerError(e *mutable.NewerError) *httpError {
	return errorf(http.StatusConflict, "Nothing was changed: only version %d can be read now, but a newer one, %d, exists, of which too few shares were found. "+
		"Try again when more servers are connected.", e.Version.Seqnum, e.Newer.Seqnum)
}
