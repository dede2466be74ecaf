package webapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"tahoe-go/internal/format/caps"
)

// uri answers at /uri and /cap themselves.
func (h *Handler) uri(q *request) error {
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		return h.find(q)
	case http.MethodPut:
		switch q.t() {
		case "":
			return h.put(q)
		case "mkdir":
			return h.mkdirUnlinked(q, nil, false)
		}
		return errUnlinkedT
	case http.MethodPost:
		return h.postUnlinked(q)
	}
	return q.allow(http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost)
}

// find sends the browser to the page of the cap in uri=.
func (h *Handler) find(q *request) error {
	text := strings.TrimSpace(q.query.Get("uri"))
	if text == "" {
		return errorf(http.StatusBadRequest, "GET /%s needs the argument uri=CAP.", q.path[0])
	}
	if _, err := caps.Parse(text); err != nil {
		return err
	}
	args := q.query
	args.Del("uri")
	return q.redirect("/"+q.path[0]+"/"+quote(text), args)
}

// quote makes a cap fit to stand in any part of a URL.
func quote(cap string) string { return strings.ReplaceAll(url.QueryEscape(cap), "+", "%20") }

// cap answers at /uri/CAP and below.
func (h *Handler) cap(q *request, text string, below []string) error {
	names, err := childPath(below)
	if err != nil {
		return err
	}
	c := caps.Keep(text, caps.Anywhere)
	if err := h.supported(c); err != nil {
		return err
	}
	if u, ok := c.(caps.Unknown); ok && !errors.Is(u.Err(), caps.ErrUnknownKind) {
		return u.Err()
	}
	switch q.r.Method {
	case http.MethodPut:
		return h.putTree(q, c, names)
	case http.MethodPost:
		return h.postTree(q, c, names)
	case http.MethodDelete:
		return h.deleteTree(q, c, names)
	}
	return h.get(q, c, names)
}

var errImmutable = errorf(http.StatusMethodNotAllowed, "The file is immutable: it can be read, not changed and not deleted.")

// supported refuses the kinds of cap that this gateway was not given the means
// for.
func (h *Handler) supported(c caps.Cap) error {
	switch c.(type) {
	case caps.Dir, caps.SSK, caps.SSKRead, caps.SSKVerifier:
		if h.c.Store == nil || h.c.Directories == nil || h.c.Mutable == nil {
			return notYet("Directories and mutable files")
		}
	}
	return nil
}

// namedFile answers at /file/CAP/NAME, for programs that take a file's name from
// the end of its URL.
func (h *Handler) namedFile(q *request, rest []string) error {
	if len(rest) == 0 || rest[0] == "" {
		return errorf(http.StatusNotFound, "/%s must be followed by a cap of a file and a name.", q.path[0])
	}
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		return errorf(http.StatusBadRequest, "/%s can only be used with GET and HEAD.", q.path[0])
	}
	c, err := caps.Parse(rest[0])
	if err != nil {
		return err
	}
	if caps.IsDir(c) {
		return errorf(http.StatusBadRequest, "The cap is not that of a file.")
	}
	if err := h.supported(c); err != nil {
		return err
	}
	t := alone(c)
	if len(rest) > 1 {
		t.name = rest[len(rest)-1]
	}
	return h.file(q, t)
}
