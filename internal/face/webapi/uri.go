package webapi

import (
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
			return notYet("Directories")
		}
		return unlinkedKind("?")
	case http.MethodPost:
		return h.post(q)
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
	if len(below) == 1 && below[0] == "" {
		below = nil // a slash at the end
	}
	c := caps.Keep(text, caps.Anywhere)
	if err := supported(c); err != nil {
		return err
	}
	if u, ok := c.(caps.Unknown); ok {
		return h.unknown(q, u)
	}
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		if len(below) > 0 {
			return errorf(http.StatusBadRequest, "The cap is that of a file, and files have no children.")
		}
		return h.file(q, c, "")
	case http.MethodPost:
		switch q.t() {
		case "check":
			return notYet("Checks and repairs")
		case "upload":
			return errImmutable
		}
		return errorf(http.StatusBadRequest, "POST to a file needs t=check or t=upload.")
	case http.MethodPut:
		if len(below) > 0 {
			return errorf(http.StatusConflict, "The cap is that of a file, and files have no children.")
		}
	}
	q.Header().Set("Allow", "GET, HEAD, POST")
	return errImmutable
}

var errImmutable = errorf(http.StatusMethodNotAllowed, "The file is immutable: it can be read, not changed and not deleted.")

// supported refuses the kinds of cap that are for later.
func supported(c caps.Cap) error {
	switch c.(type) {
	case caps.Dir:
		return notYet("Directories")
	case caps.SSK, caps.SSKRead, caps.SSKVerifier:
		return notYet("Mutable files")
	}
	return nil
}

// named answers at /file/CAP/NAME, for programs that take a file's name from
// the end of its URL.
func (h *Handler) named(q *request, rest []string) error {
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
	if err := supported(c); err != nil {
		return err
	}
	name := ""
	if len(rest) > 1 {
		name = rest[len(rest)-1]
	}
	return h.file(q, c, name)
}
