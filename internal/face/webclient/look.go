package webclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tahoe-go/internal/format/caps"
)

// Types of a Node, as the web API names them.
const (
	Dir     = "dirnode"
	File    = "filenode"
	Unknown = "unknown" // made by a later version
)

// Node is what a gateway says of an object, or of a child in the listing of
// its directory.
type Node struct {
	Type        string
	Write, Read caps.Cap // nil: there is none. What no Parse knows is a caps.Unknown
	Verify      caps.Cap
	Mutable     bool
	Format      string // of a file: "CHK", "SDMF", "MDMF"
	Size        int64  // of a file, in bytes; -1: not known
	Metadata    json.RawMessage
	Children    map[string]Node // of a directory that was asked for; nil otherwise
}

// Cap is the most powerful cap there is.
func (n Node) Cap() caps.Cap {
	if n.Write != nil {
		return n.Write
	}
	return n.Read
}

// Child makes of a node what a directory can be given: the same object,
// without its metadata.
func (n Node) Child() Child { return Child{Cap: n.Cap(), Read: n.Read} }

// Times are when a child was linked, and linked last: what the directory
// says, or else what the metadata has of the file. Zero: not known.
func (n Node) Times() (created, modified time.Time) {
	var m struct {
		Ctime, Mtime float64
		Tahoe        struct{ Linkcrtime, Linkmotime float64 }
	}
	if json.Unmarshal(n.Metadata, &m) != nil {
		return created, modified
	}
	at := func(link, file float64) time.Time {
		if link == 0 {
			link = file
		}
		if link <= 0 || link > 1e11 {
			return time.Time{}
		}
		return time.UnixMilli(int64(link * 1000))
	}
	return at(m.Tahoe.Linkcrtime, m.Ctime), at(m.Tahoe.Linkmotime, m.Mtime)
}

// UnmarshalJSON reads ["filenode", {…}].
func (n *Node) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 {
		return errors.New("not a node's description")
	}
	var facts struct {
		RW       *string         `json:"rw_uri"`
		RO       *string         `json:"ro_uri"`
		Verify   *string         `json:"verify_uri"`
		Mutable  bool            `json:"mutable"`
		Format   string          `json:"format"`
		Size     json.RawMessage `json:"size"`
		Metadata json.RawMessage `json:"metadata"`
		Children map[string]Node `json:"children"`
	}
	if err := json.Unmarshal(pair[0], &n.Type); err != nil {
		return err
	}
	if err := json.Unmarshal(pair[1], &facts); err != nil {
		return err
	}
	n.Write, n.Read, n.Verify = keep(facts.RW), keep(facts.RO), keep(facts.Verify)
	n.Mutable, n.Format, n.Metadata, n.Children = facts.Mutable, facts.Format, facts.Metadata, facts.Children
	n.Size = -1
	if len(facts.Size) > 0 && json.Unmarshal(facts.Size, &n.Size) != nil || n.Size < 0 {
		n.Size = -1 // "?", or null
	}
	switch {
	case n.Type != Dir && n.Type != File:
		n.Type = Unknown
	case n.Write == nil && n.Read == nil:
		return errors.New("a node without a cap")
	}
	return nil
}

func keep(text *string) caps.Cap {
	if text == nil || *text == "" {
		return nil
	}
	return caps.Keep(*text, caps.Anywhere)
}

// Look asks what is at a place: of a directory, with its children. It is one
// request. Nothing there: *Error with status 404.
func (c *Client) Look(ctx context.Context, at Place) (Node, error) {
	var n Node
	b, err := c.LookJSON(ctx, at)
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return Node{}, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return n, nil
}

// LookJSON is Look's answer as the gateway gave it.
func (c *Client) LookJSON(ctx context.Context, at Place) ([]byte, error) {
	resp, err := c.do(ctx, http.MethodGet, at.url()+"?t=json", nil, 0, nil)
	if err != nil {
		return nil, inJSON(err)
	}
	b, err := readAll(ctx, resp, maxListing)
	return bytes.TrimSpace(b), err
}

// inJSON takes an error's sentence out of {"error": "…"}, the form it has
// where JSON was asked for.
func inJSON(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	var said struct{ Error string }
	if json.Unmarshal([]byte(e.Sentence), &said) == nil && said.Error != "" {
		e.Sentence = printable(said.Error)
	}
	return e
}
