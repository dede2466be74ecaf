package webapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
)

// repaired is the result of a check with repair, as JSON has it.
type repaired struct {
	SI         string   `json:"storage-index"`
	Attempted  bool     `json:"repair-attempted"`
	Successful *bool    `json:"repair-successful,omitempty"` // nil: the object is in its cap
	Failure    string   `json:"repair-failure,omitempty"`    // a sentence: why it is not healthy now
	Before     *checked `json:"pre-repair-results,omitempty"`
	After      *checked `json:"post-repair-results,omitempty"`

	err error // why an attempt came to nothing
}

// repair checks an object and makes good what is missing of it, if enough is
// left. What was given without the cap that takes is left as it is. op may be
// nil.
func (h *Handler) repair(ctx context.Context, c caps.Cap, o immutable.CheckOptions, op *operation) (*repaired, error) {
	if file, ok := immutableFile(c); ok && h.c.Blacklist.Check(c) == nil {
		return h.repairFile(ctx, c, file, o, op)
	}
	before, err := h.check(ctx, c, o, op)
	if err != nil {
		return nil, err
	}
	r := &repaired{SI: before.SI}
	if before.SI == "" {
		return r, nil
	}
	r.is(before, before)
	switch {
	case *r.Successful:
	case !caps.Writable(c):
		r.Failure = "To repair it takes the cap that grants writing."
	default:
		return r, h.repairMutable(ctx, c, r, o, op)
	}
	return r, nil
}

// immutableFile is the verifier of an immutable file, or of that in which an
// immutable directory is kept.
func immutableFile(c caps.Cap) (caps.CHKVerifier, bool) {
	if typeOf(c) == unknownType {
		return caps.CHKVerifier{}, false
	}
	v, _ := caps.Verifier(c)
	if d, ok := v.(caps.Dir); ok {
		v = d.File()
	}
	file, ok := v.(caps.CHKVerifier)
	return file, ok
}

func (r *repaired) is(before, after *checked) {
	r.Before, r.After, r.Successful = before, after, &after.Results.Healthy
}

// repairFile makes the lost shares of an immutable file again.
func (h *Handler) repairFile(ctx context.Context, c caps.Cap, file caps.CHKVerifier, o immutable.CheckOptions, op *operation) (*repaired, error) {
	files, can := h.c.Files.(checker)
	if !can {
		return nil, notYet("Repairs of such objects")
	}
	tr := op.trace()
	if tr != nil {
		var begun sync.Once
		encoded := tr.Encoded
		tr.Encoded = func(done, total int64) {
			begun.Do(func() { op.enter(sending); op.size(total) })
			encoded(done, total)
		}
	}
	res, err := files.Repair(ctx, file, o, tr)
	if err != nil {
		return nil, err
	}
	before, after := &checked{words: kindWords(c)}, &checked{words: kindWords(c)}
	r := &repaired{SI: file.Index.String(), Attempted: res.Attempted, err: res.Err}
	r.is(before.ofFile(res.Before), after.ofFile(res.After))
	switch missing := file.N - res.After.Good(); {
	case res.Successful():
	case !res.Attempted:
		r.Failure = fmt.Sprintf("Of the %d shares that it takes to repair it %d were found.", file.K, res.Before.Good())
	case res.Err != nil:
		r.Failure = clean(translate(res.Err).text)
	default:
		r.Failure = fmt.Sprintf("No server took the shares that are missing, %d of %d.", missing, file.N)
	}
	return r, nil
}

// repairMutable writes a mutable file or directory anew, and checks it again.
func (h *Handler) repairMutable(ctx context.Context, c caps.Cap, r *repaired, o immutable.CheckOptions, op *operation) error {
	file := c
	if d, ok := c.(caps.Dir); ok {
		file = d.File()
	}
	f, err := h.openMutable(file)
	if err != nil {
		return err
	}
	r.Attempted = true
	op.enter(sending)
	if r.err = f.Repair(ctx, false, op.mutableTrace()); r.err != nil {
		if ctx.Err() != nil {
			return r.err
		}
		r.Failure = clean(translate(r.err).text)
		return nil
	}
	op.enter(asking)
	after, err := h.check(ctx, c, o, op)
	if err != nil {
		return err
	}
	r.is(r.Before, after)
	if !*r.Successful {
		r.Failure = "It was written anew, and is not healthy all the same."
	}
	return nil
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
	p.Repaired, p.Failure = r.Attempted && *r.Successful, r.Failure
	if r.Attempted {
		p.Before = r.Before.Summary + "."
	}
	if r.Failure != "" {
		p.Troubles = r.After.troubles
	}
	return h.render(q, http.StatusOK, "check.html", p)
}

// newerError is the answer to a repair, or a change, that would give up a newer
// version.
func newerError(e *mutable.NewerError) *httpError {
	return errorf(http.StatusConflict, "Nothing was changed: only version %d can be read now, but a newer one, %d, exists, of which too few shares were found. "+
		"Try again when more servers are connected.", e.Version.Seqnum, e.Newer.Seqnum)
}
