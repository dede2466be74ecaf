package webapi

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// Limits of a form around the file in it.
const (
	maxField  = 64 << 10 // bytes of one field
	maxFields = 100
)

var errNoFile = errorf(http.StatusBadRequest, "The form must be multipart/form-data and have the file in the field named file.")

// bodyKind is the media type of the body, "" if it is not a form.
func (q *request) bodyKind() string {
	kind, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err == nil && (kind == "multipart/form-data" || kind == "application/x-www-form-urlencoded") {
		return kind
	}
	return ""
}

// readForm reads the body of a POST, if it is a form: its fields go to
// q.fields, the field named file into what it returns, which is nil if there
// is none. The file may come before the fields. Close it.
func (h *Handler) readForm(q *request) (*received, error) {
	switch q.bodyKind() {
	case "multipart/form-data":
		return h.readParts(q)
	case "application/x-www-form-urlencoded":
		b, err := io.ReadAll(io.LimitReader(q.r.Body, maxField*maxFields))
		if err != nil {
			return nil, err
		}
		q.fields = parseQuery(string(b))
	}
	return nil, nil
}

// readArgs reads a form that should have no file in it.
func (h *Handler) readArgs(q *request) error {
	file, err := h.readForm(q)
	if file != nil {
		file.Close()
	}
	return err
}

func (h *Handler) readParts(q *request) (file *received, err error) {
	defer func() {
		if err != nil && file != nil {
			file.op.end(err)
			file.Close()
			file = nil
		}
	}()
	mr, err := q.r.MultipartReader()
	if err != nil {
		return nil, errNoFile
	}
	q.fields = url.Values{}
	for range maxFields {
		part, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			// What may follow the form must be read for the server to notice
			// when the client leaves.
			io.Copy(io.Discard, io.LimitReader(q.r.Body, maxField))
			return file, nil
		}
		if err != nil {
			return file, formError(err)
		}
		switch name := part.FormName(); {
		case name == "file" && file == nil:
			if file, err = h.receive(q, part, false); file != nil {
				file.name = part.FileName()
			}
		case name == "file":
			err = errorf(http.StatusBadRequest, "The form has more than one field named file.")
		default:
			err = q.addField(name, part)
		}
		if err != nil {
			return file, formError(err)
		}
	}
	return file, errorf(http.StatusBadRequest, "The form has more than %d fields.", maxFields)
}

func (q *request) addField(name string, part *multipart.Part) error {
	value, err := io.ReadAll(io.LimitReader(part, maxField+1))
	if err != nil {
		return err
	}
	if len(value) > maxField {
		return errorf(http.StatusRequestEntityTooLarge, "A field of the form is longer than %d bytes.", maxField)
	}
	q.fields.Add(name, string(value))
	return nil
}

// formError keeps the errors that translate knows, and says of others what
// they are about.
func formError(err error) error {
	if translate(err).status != http.StatusInternalServerError {
		return err
	}
	return errorf(http.StatusBadRequest, "The form is not well formed, or ended too early.")
}

// nextPage is where when_done= sends the browser, with %(uri)s replaced by the
// cap. Only pages of this gateway are allowed: anywhere else the cap would be
// given away.
func nextPage(whenDone, cap, host string) (string, error) {
	// Browsers do not see space around an address, so that // could follow it.
	next := strings.TrimSpace(strings.ReplaceAll(whenDone, "%(uri)s", quote(cap)))
	u, err := url.Parse(next)
	bad := err != nil || u.Opaque != "" || strings.ContainsAny(next, "\\\t\r\n") || strings.HasPrefix(next, "//")
	if !bad && (u.Scheme != "" || u.Host != "") {
		bad = !sameHost(next, host)
	}
	if bad {
		return "", errorf(http.StatusBadRequest, "when_done= must lead to a page of this gateway.")
	}
	return next, nil
}

// checkWhenDone refuses a when_done= that cannot be followed, before anything
// is done.
func (q *request) checkWhenDone() error {
	if next := q.arg("when_done"); next != "" {
		_, err := nextPage(next, "x", q.r.Host)
		return err
	}
	return nil
}

// done answers a change that went well: by sending the browser on where
// when_done= says, else with the status and words, mostly a cap.
func (q *request) done(status int, words string) error {
	if next := q.arg("when_done"); next != "" {
		next, err := nextPage(next, words, q.r.Host)
		if err != nil {
			return err
		}
		return q.redirect(next, nil)
	}
	return q.answer(status, words)
}
