package webclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
)

// Child is what is to be linked in a directory.
type Child struct {
	Cap caps.Cap
	// Read is the cap that readers of the directory are to get. nil: it
	// follows from Cap, unless that is a caps.Unknown.
	Read     caps.Cap
	Metadata any // becomes a JSON object; nil: none
}

// MarshalJSON writes it as the web API has children. It holds the cap.
func (c Child) MarshalJSON() ([]byte, error) {
	if c.Cap == nil {
		return nil, errors.New("a child without a cap")
	}
	facts := map[string]any{}
	read, ok := caps.Read(c.Cap)
	if c.Read != nil {
		read, ok = c.Read, true
	}
	switch {
	case caps.Writable(c.Cap) || !ok || read != c.Cap:
		facts["rw_uri"] = c.Cap.Reveal()
		if ok {
			facts["ro_uri"] = read.Reveal()
		}
	default:
		facts["ro_uri"] = c.Cap.Reveal()
	}
	if c.Metadata != nil {
		facts["metadata"] = c.Metadata
	}
	kind := File
	if caps.IsDir(c.Cap) {
		kind = Dir
	} else if _, unknown := c.Cap.(caps.Unknown); unknown {
		kind = Unknown
	}
	return json.Marshal([]any{kind, facts})
}

// MkdirOptions tune a Mkdir. The zero value is useful.
type MkdirOptions struct {
	Format     string        // "SDMF", "MDMF"; empty: as the gateway has it
	PrivateKey redact.Secret // PKCS#8 as DER in base64: the RSA key to use; zero: a new one
	Immutable  bool          // it never changes, and is made at once with its Children
	Children   map[string]Child
}

// Mkdir makes a directory, and links it at a place unless that is Place{}.
// Directories that lead there are made too. An empty one that is there
// already is returned; with children that is an *Error with status 409.
func (c *Client) Mkdir(ctx context.Context, at Place, o MkdirOptions) (caps.Cap, error) {
	what := "mkdir"
	var body []byte
	if o.Immutable || len(o.Children) > 0 {
		what = "mkdir-with-children"
		if o.Immutable {
			what = "mkdir-immutable"
		}
		children, err := childrenJSON(o.Children)
		if err != nil {
			return nil, err
		}
		body = children
	}
	path := args{}.with("t", what).with("format", o.Format).with("private-key", o.PrivateKey.Reveal()).after(at.url())
	resp, err := c.post(ctx, path, body)
	if err != nil {
		return nil, err
	}
	return capAnswer(ctx, resp)
}

func childrenJSON(children map[string]Child) ([]byte, error) {
	if children == nil {
		children = map[string]Child{}
	}
	body, err := json.Marshal(children)
	if err != nil {
		return nil, fmt.Errorf("writing down the children of a directory: %w", err)
	}
	return body, nil
}

func (c *Client) post(ctx context.Context, path string, body []byte) (*http.Response, error) {
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(body), int64(len(body)), nil)
}

// SetChildren links many children in the directory at a place with one
// change of it.
func (c *Client) SetChildren(ctx context.Context, dir Place, children map[string]Child, replace Replace) error {
	body, err := childrenJSON(children)
	if err != nil {
		return err
	}
	resp, err := c.post(ctx, args{}.with("t", "set_children").with("replace", string(replace)).after(dir.url()), body)
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

// Link links a cap at a place. Directories that lead there are made.
func (c *Client) Link(ctx context.Context, at Place, child caps.Cap, replace Replace) error {
	body := child.Reveal()
	resp, err := c.do(ctx, http.MethodPut, args{}.with("t", "uri").with("replace", string(replace)).after(at.url()), strings.NewReader(body), int64(len(body)), nil)
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

// Unlink takes the child at a place out of its directory and returns what it
// was, or nil if the gateway does not say. Nothing there: *Error with status
// 404.
func (c *Client) Unlink(ctx context.Context, at Place) (caps.Cap, error) {
	resp, err := c.do(ctx, http.MethodDelete, at.url(), nil, 0, nil)
	if err != nil {
		return nil, err
	}
	b, err := readAll(ctx, resp, caps.MaxLength+1)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(b))
	return keep(&text), nil
}

// Relink moves the child from of a directory to another name, and to another
// directory unless that is Place{}.
func (c *Client) Relink(ctx context.Context, dir Place, from string, toDir Place, to string, replace Replace) error {
	a := args{}.with("t", "rename")
	if toDir.Cap != nil {
		where := strings.Join(append([]string{toDir.Cap.Reveal()}, toDir.Path...), "/")
		a = args{}.with("t", "relink").with("to_dir", where)
	}
	resp, err := c.post(ctx, a.with("from_name", from).with("to_name", to).with("replace", string(replace)).after(dir.url()), nil)
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}
