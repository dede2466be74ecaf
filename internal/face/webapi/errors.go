package webapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/kit/spool"
	"tahoe-go/internal/storage"
)

// httpError is an answer that is not what was asked for.
type httpError struct {
	status  int
	text    string   // one or two plain sentences
	details []string // further lines, one for each server

	contentRange string // the header of that name, for 416
}

func (e *httpError) Error() string { return e.text }

func errorf(status int, format string, args ...any) *httpError {
	return &httpError{status: status, text: fmt.Sprintf(format, args...)}
}

// notYet is the answer to what the web API has and this program does not.
func notYet(what string) error {
	return errorf(http.StatusNotImplemented, "%s are not supported yet.", what)
}

// errGone: the client has left, and there is nobody to answer.
var errGone = errors.New("the client left")

func gone(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// translate turns an error into an answer. This is the one place where that
// is decided. The statuses are those of the Python gateway where it chose.
func translate(err error) *httpError {
	e := translateBare(err)
	if at := placeOf(err); at != "" && e.status == http.StatusGone {
		about := *e
		about.text += fmt.Sprintf(" This is about %q.", clean(at))
		return &about
	}
	return e
}

func translateBare(err error) *httpError {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*immutable.UnhappyError](err); ok {
		return &httpError{status: http.StatusInternalServerError, text: fmt.Sprintf(
			"The file was not stored: %d of the servers would hold enough different shares, and at least %d must (any %d of %d shares rebuild it).",
			e.Happy, e.Want, e.K, e.N), details: reports(e.Servers)}
	}
	if e, ok := errors.AsType[*immutable.NotEnoughSharesError](err); ok {
		text := fmt.Sprintf("The file cannot be read now: %d of the %d shares needed were found.", e.Have, e.Need)
		if e.Corrupt > 0 {
			text += fmt.Sprintf(" %d more are damaged.", e.Corrupt)
		}
		if len(e.Servers) == 0 {
			text += " No storage server is connected."
		}
		return &httpError{status: http.StatusGone, text: text, details: reports(e.Servers)}
	}
	if e := translateProhibited(err); e != nil {
		return e
	}
	if e := translateTree(err); e != nil {
		return e
	}
	switch {
	case errors.Is(err, immutable.ErrNoServers):
		return errorf(http.StatusInternalServerError, "The file was not stored: no storage server is connected. The start page shows why.")
	case errors.Is(err, spool.ErrTooLarge):
		return errorf(http.StatusRequestEntityTooLarge, "The file is larger than this gateway takes.")
	case errors.Is(err, caps.ErrSyntax), errors.Is(err, caps.ErrUnknownKind):
		return errorf(http.StatusBadRequest, "This is not a valid cap.")
	case errors.Is(err, caps.ErrWritable), errors.Is(err, caps.ErrMutable):
		return errorf(http.StatusBadRequest, "The cap grants more than its prefix (ro. or imm.) says.")
	case errors.Is(err, caps.ErrNotWritable):
		return errorf(http.StatusMethodNotAllowed, "The cap does not grant writing.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errorf(http.StatusRequestTimeout, "No byte of the request has come for too long.")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errorf(http.StatusBadRequest, "The body of the request ended too early.")
	case errors.Is(err, context.Canceled):
		return errorf(http.StatusServiceUnavailable, "The node is stopping.")
	case errors.Is(err, chk.ErrSourceSize):
		return errorf(http.StatusInternalServerError, "What was received changed while it was read.")
	}
	return errorf(http.StatusInternalServerError, "It did not work: %v.", err)
}

func reports(servers []storage.ServerReport) []string {
	var lines []string
	for _, s := range servers {
		lines = append(lines, s.String())
	}
	return lines
}

// fail answers with an error: as a page if the client prefers HTML, else as
// text whose first line is the sentence. Once an answer has begun it can
// only be cut off.
func (h *Handler) fail(q *request, err error) {
	if errors.Is(err, errGone) || q.status != 0 {
		h.c.Log.Debug("an answer was cut off", "err", err)
		panic(http.ErrAbortHandler)
	}
	h.logProhibited(err)
	e := translate(err)
	text, details := clean(e.text), make([]string, len(e.details))
	for i, d := range e.details {
		details[i] = clean(d)
	}
	hdr := q.Header()
	for _, name := range []string{"Content-Length", "Content-Range", "Content-Disposition", "Etag", "Accept-Ranges"} {
		hdr.Del(name)
	}
	if e.contentRange != "" {
		hdr.Set("Content-Range", e.contentRange)
	}
	hdr.Set("Cache-Control", "no-store")
	if prefersHTML(q.r) {
		h.render(q, e.status, "error.html", errorPage{Status: e.status, Title: title(e.status), Text: text, Details: details})
		return
	}
	hdr.Set("Content-Type", "text/plain; charset=utf-8")
	q.WriteHeader(e.status)
	var b strings.Builder
	for _, line := range append([]string{text}, details...) {
		b.WriteString(line + "\n")
	}
	io.WriteString(q, b.String())
}

// title is the heading of an error's page. What HTTP calls gone may well come
// back, with its servers.
func title(status int) string {
	if status == http.StatusGone {
		return "Not available now"
	}
	return http.StatusText(status)
}

// unreadable says why something cannot be read, behind the words that it
// cannot.
func unreadable(err error) string {
	text := translate(err).text
	for _, known := range []string{"It cannot be read now: ", "The file cannot be read now: "} {
		if rest, ok := strings.CutPrefix(text, known); ok {
			return clean(strings.ToUpper(rest[:1]) + rest[1:])
		}
	}
	return clean(text)
}

type errorPage struct {
	Status      int
	Title, Text string
	Details     []string
}

// maxLine bounds a line of somebody else's words, in bytes.
const maxLine = 2000

// clean makes words that came from elsewhere fit to be shown in a terminal:
// no control characters, nothing that turns the direction of writing.
func clean(s string) string {
	if len(s) > maxLine {
		s = s[:maxLine] + "…"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// prefersHTML reports whether the client names HTML among what it takes, as
// browsers do.
func prefersHTML(r *http.Request) bool { return accepts(r, "text/html") }

// takesHTML reports whether HTML is not ruled out.
func takesHTML(r *http.Request) bool {
	return r.Header.Get("Accept") == "" || accepts(r, "*/*", "text/*", "text/html")
}

func accepts(r *http.Request, kinds ...string) bool {
	for _, v := range r.Header["Accept"] {
		for kind := range strings.SplitSeq(v, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			for _, k := range kinds {
				if strings.EqualFold(strings.TrimSpace(kind), k) {
					return true
				}
			}
		}
	}
	return false
}
