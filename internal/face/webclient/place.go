package webclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
)

// Place is a cap and perhaps a path from there: names of children, one below
// the other. A Place of nothing, Place{}, is no place: what is made there is
// in no directory.
type Place struct {
	Cap  caps.Cap
	Path []string
}

// At is the place of a cap itself, or of what is below it.
func At(c caps.Cap, path ...string) Place { return Place{c, path} }

// Child is the place of a child.
func (p Place) Child(name string) Place {
	return Place{p.Cap, append(p.Path[:len(p.Path):len(p.Path)], name)}
}

// url is the path of the place's URL.
func (p Place) url() string {
	if p.Cap == nil {
		return "/uri"
	}
	var b strings.Builder
	b.WriteString("/uri/")
	b.WriteString(quote(p.Cap))
	for _, name := range p.Path {
		b.WriteByte('/')
		b.WriteString(quoteName(name))
	}
	return b.String()
}

// Page is the address of the place's page, for a browser, with t= if that is
// not empty. It holds the cap. A gateway at a unix socket has none.
func (c *Client) Page(p Place, t string) (redact.Secret, error) {
	if c.unix {
		return redact.Secret{}, errors.New("the node's gateway is a unix socket, which browsers do not open")
	}
	page := "/"
	if p.Cap != nil {
		page = p.url()
	}
	if t != "" {
		page += "?t=" + url.QueryEscape(t)
	}
	return redact.New(c.base + page), nil
}

// quote makes a cap fit for any part of a URL, quoteName any other text.
func quote(c caps.Cap) string { return quoteName(c.Reveal()) }

func quoteName(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E") // or a path is shortened on its way
	}
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// Replace says what becomes of a child that is there already.
type Replace string

// The values of Replace.
const (
	Always    Replace = ""           // it is replaced
	Never     Replace = "false"      // the answer is an *Error with status 409
	OnlyFiles Replace = "only-files" // so it is if the child is a directory
)

// args are the arguments of a request. Empty ones are left out.
type args []string

func (a args) with(name, value string) args {
	if value == "" {
		return a
	}
	return append(a, name+"="+quoteName(value))
}

func (a args) flag(name string, on bool) args {
	if on {
		return append(a, name+"=true")
	}
	return a
}

func (a args) after(path string) string {
	if len(a) == 0 {
		return path
	}
	return path + "?" + strings.Join(a, "&")
}

// capAnswer reads the cap that a gateway answers with.
func capAnswer(ctx context.Context, resp *http.Response) (caps.Cap, error) {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, caps.MaxLength+1))
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	cap := caps.Keep(strings.TrimSpace(string(text)), caps.Anywhere)
	if _, unknown := cap.(caps.Unknown); unknown {
		return nil, errors.New("the gateway answered with something that is not a cap")
	}
	return cap, nil
}

// discard reads an answer that says nothing.
func discard(resp *http.Response) {
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxError)) // so that the connection can be used again
	resp.Body.Close()
}

// maxListing bounds what is read of a directory: some 300,000 children.
const maxListing = 256 << 20

// readAll reads an answer of at most limit bytes.
func readAll(ctx context.Context, resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("the gateway's answer has more than %d bytes", limit)
	}
	return b, nil
}
