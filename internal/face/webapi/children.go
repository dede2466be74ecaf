package webapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// maxChildren bounds the JSON of a directory's children, in bytes: some
// 200,000 of them.
const maxChildren = 128 << 20

// given is a child that a request names.
type given struct {
	name     string
	child    dirtable.Child
	metadata *dirtable.Metadata // nil: none was given
}

// children reads the body of mkdir-with-children and its like:
//
//	{"name": ["filenode", {"rw_uri": …, "ro_uri": …, "metadata": {…}}], …}
//
// which is also what t=json shows of a directory. Of two alike the last
// counts. immutable: for a directory that can never change.
func (q *request) children(immutable bool) ([]given, error) {
	text, err := io.ReadAll(io.LimitReader(q.r.Body, maxChildren+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxChildren {
		return nil, errorf(http.StatusRequestEntityTooLarge, "The children are more than %d bytes of JSON.", maxChildren)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	return parseChildren(text, immutable)
}

var errChildren = errorf(http.StatusBadRequest,
	`The body must be JSON: {"NAME": ["filenode" or "dirnode", {"ro_uri": "CAP", "rw_uri": "CAP", "metadata": {}}], …}.`)

func parseChildren(text []byte, immutable bool) ([]given, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errChildren
	}
	var list []given
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errChildren
		}
		g, err := parseChild(d, immutable)
		if err != nil {
			return nil, aboutChild(name, err)
		}
		g.name = name
		list = append(list, g)
	}
	if _, err := d.Token(); err != nil {
		return nil, errChildren
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errChildren
	}
	return list, nil
}

// parseChild reads ["filenode", {…}]. The type follows from the caps.
func parseChild(d *json.Decoder, immutable bool) (g given, err error) {
	var pair []json.RawMessage
	var facts struct {
		RW       *string         `json:"rw_uri"`
		RO       *string         `json:"ro_uri"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := d.Decode(&pair); err != nil || len(pair) < 2 || json.Unmarshal(pair[1], &facts) != nil {
		return g, errChildren
	}
	if g.child, err = dirtable.NewChild(said(facts.RW), said(facts.RO), immutable); err != nil {
		return g, err
	}
	if g.child.Cap() == nil {
		return g, errorf(http.StatusBadRequest, "It has neither ro_uri nor rw_uri.")
	}
	if len(facts.Metadata) > 0 && string(facts.Metadata) != "null" {
		m, err := dirtable.ParseMetadata(facts.Metadata)
		if err != nil {
			return g, errorf(http.StatusBadRequest, "Its metadata must be a JSON object.")
		}
		g.metadata = &m
	}
	return g, nil
}

func said(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// aboutChild says of which child an error speaks.
func aboutChild(name string, err error) error {
	if err == error(errChildren) {
		return err
	}
	e := translate(err)
	return errorf(e.status, "About the child %q: %s", clean(name), e.text)
}

// givenCap makes a child of one cap, as uri= and bodies of t=uri have it.
func givenCap(text []byte) (dirtable.Child, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return dirtable.Child{}, errorf(http.StatusBadRequest, "A cap is needed: the child's.")
	}
	c, err := dirtable.NewChild(string(text), "", false)
	if err == nil && c.Read == nil {
		return c, caps.ErrSyntax
	}
	return c, err
}
