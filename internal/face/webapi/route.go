package webapi

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// request is one request and what has been read of it.
type request struct {
	*response
	r      *http.Request
	path   []string   // decoded segments, without the empty one before the first slash
	query  url.Values // of the URL
	fields url.Values // of a form in the body, once that was read
}

// arg returns an argument: of the URL, else of the form, else "".
func (q *request) arg(name string) string {
	if v, ok := q.query[name]; ok {
		return v[0]
	}
	return q.fields.Get(name)
}

// value is arg, and whether it was given at all.
func (q *request) value(name string) (string, bool) {
	_, inURL := q.query[name]
	_, inForm := q.fields[name]
	return q.arg(name), inURL || inForm
}

// t is the argument that says what is wanted.
func (q *request) t() string { return strings.TrimSpace(q.arg("t")) }

// flag reads a boolean argument as the Python gateway does.
func (q *request) flag(name string) (bool, error) {
	switch strings.ToLower(q.arg(name)) {
	case "true", "t", "1", "on":
		return true, nil
	case "", "false", "f", "0", "off":
		return false, nil
	}
	return false, errorf(http.StatusBadRequest, "The argument %s= must be true or false.", name)
}

// response notes what has been answered.
type response struct {
	http.ResponseWriter
	status int // 0: nothing yet
	sent   int64
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// unhurried bounds the silence of a client that sends a body.
type unhurried struct {
	io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration
}

func (b *unhurried) Read(p []byte) (int, error) {
	b.rc.SetReadDeadline(time.Now().Add(b.idle))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// resume lets the client be silent for as long as it wants, until it is asked
// for more.
func (q *request) resume() { http.NewResponseController(q).SetReadDeadline(time.Time{}) }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Done()
	q := &request{response: &response{ResponseWriter: w}, r: r}
	start := time.Now()
	defer func() {
		cut := recover()
		if cut != nil && cut != http.ErrAbortHandler {
			h.c.Log.Error("answering a request panicked", "panic", fmt.Sprintf("%T", cut), "stack", string(debug.Stack()))
			if q.status == 0 {
				cut = nil
				h.fail(q, errFault)
			}
		}
		h.logAccess(q, time.Since(start))
		if cut != nil {
			panic(http.ErrAbortHandler) // the client must not take what it has for the whole
		}
	}()
	setHeaders(w.Header())
	if err := h.guard(r); err != nil {
		h.fail(q, err)
		return
	}
	if err := q.split(); err != nil {
		h.fail(q, err)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &unhurried{r.Body, http.NewResponseController(q), h.c.Idle}
	}
	if err := h.route(q); err != nil {
		h.fail(q, err)
	}
}

// split takes the URL apart. A slash that was sent as %2F does not separate.
func (q *request) split() error {
	escaped := strings.TrimPrefix(q.r.URL.EscapedPath(), "/")
	for segment := range strings.SplitSeq(escaped, "/") {
		s, err := url.PathUnescape(segment)
		if err != nil {
			return errorf(http.StatusBadRequest, "The path of the URL is not well formed.")
		}
		q.path = append(q.path, s)
	}
	q.query = parseQuery(q.r.URL.RawQuery)
	return nil
}

// parseQuery takes a percent sign that begins no escape as it stands: the
// templates of when_done= (%(uri)s) and file names are often sent so.
func parseQuery(raw string) url.Values {
	var b strings.Builder
	for i := range len(raw) {
		b.WriteByte(raw[i])
		if raw[i] != '%' {
			continue
		}
		if _, err := url.QueryUnescape(raw[i:min(i+3, len(raw))]); err != nil {
			b.WriteString("25")
		}
	}
	v, _ := url.ParseQuery(b.String()) // as far as it is well formed
	return v
}

var errNoPage = errorf(http.StatusNotFound, "There is no such page here.")

// route finds the function for a path. A method that a page has no use for
// gets the page anyway at / only.
func (h *Handler) route(q *request) error {
	switch q.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		return errorf(http.StatusNotImplemented, "The method %s is not supported.", clean(q.r.Method))
	}
	if h.introducer != nil {
		return h.introducerPage(q)
	}
	switch first, rest := q.path[0], q.path[1:]; first {
	case "":
		if len(rest) > 0 {
			return errNoPage
		}
		return h.welcome(q)
	case "uri", "cap":
		if len(rest) == 0 {
			return h.uri(q)
		}
		if len(rest) == 1 && rest[0] == "" {
			return q.redirect("/"+first, q.query)
		}
		return h.cap(q, rest[0], rest[1:])
	case "file", "named":
		return h.namedFile(q, rest)
	case "status":
		return h.page(q, rest, h.status)
	case "statistics":
		return h.page(q, rest, h.statistics)
	case "operations":
		return h.operation(q, rest)
	case "static":
		return h.static(q, rest)
	}
	return errNoPage
}

// page shows something that is only read, and has nothing below it.
func (h *Handler) page(q *request, rest []string, show func(*request) error) error {
	if len(rest) > 1 || len(rest) == 1 && rest[0] != "" {
		return errNoPage
	}
	return show(q)
}

// redirect sends the client to another path of this gateway.
func (q *request) redirect(path string, args url.Values) error {
	if len(args) > 0 {
		path += "?" + args.Encode()
	}
	q.Header().Set("Location", path)
	q.Header().Set("Cache-Control", "no-store")
	q.WriteHeader(http.StatusFound)
	return nil
}

// allow refuses methods that an object has no use for.
func (q *request) allow(methods ...string) error {
	if slices.Contains(methods, q.r.Method) {
		return nil
	}
	q.Header().Set("Allow", strings.Join(methods, ", "))
	return errorf(http.StatusMethodNotAllowed, "%s cannot be used here, only %s.", q.r.Method, strings.Join(methods, " and "))
}

// text answers with a short plain text.
func (q *request) text(s string) error { return q.answer(http.StatusOK, s) }

// answer is text with another status.
func (q *request) answer(status int, s string) error {
	q.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q.Header().Set("Cache-Control", "no-store")
	q.WriteHeader(status)
	_, err := io.WriteString(q, s)
	return gone(err)
}
