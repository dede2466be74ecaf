// Package webclient talks to a node's gateway, and is how the command line
// does everything with files. docs/web-api.md has the interface it speaks.
//
// It reaches this machine only (netx.Loopback) unless another network is
// handed in, follows no redirect and tries nothing twice. It knows nothing of
// servers or shares. Start with New, Client.Put, Client.Get and Client.Look;
// Client.SetChildren and Client.Mkdir change directories.
package webclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tahoe-go/internal/network/netx"
)

// userAgent is the same on every machine and in every version.
const userAgent = "tahoe"

// Bounds on what a gateway may answer, in bytes. Files have none.
const (
	maxJSON  = 8 << 20
	maxError = 64 << 10
)

// Config says where the gateway is.
type Config struct {
	// URL is what node.url holds: http://127.0.0.1:3456/, or unix:PATH for a
	// gateway at a unix socket. https: needs Cert.
	URL string
	// Cert is the certificate, as DER, that a gateway by https has; no other
	// is trusted, whoever has signed it.
	Cert []byte
	// Network reaches it. nil: netx.Loopback, which refuses other machines.
	Network netx.Network
	// Poll is how often progress is asked for. 0: a third of a second.
	Poll time.Duration
}

// Client is a gateway as its clients see it. It may be used concurrently.
type Client struct {
	base string // without a slash at the end
	unix bool   // the gateway is at a unix socket
	poll time.Duration
	http *http.Client
}

// New checks the URL and returns a client. It talks to nobody yet.
func New(c Config) (*Client, error) {
	if c.Network == nil {
		c.Network = netx.Loopback{}
	}
	if c.Poll == 0 {
		c.Poll = time.Second / 3
	}
	addr, base, err := place(strings.TrimSpace(c.URL), c.Cert != nil)
	if err != nil {
		return nil, fmt.Errorf("the gateway's address (node.url): %w", err)
	}
	var conf *tls.Config
	if c.Cert != nil {
		conf = only(c.Cert)
	}
	return &Client{base: base, unix: addr.Kind == netx.Unix, poll: c.Poll, http: netx.HTTPClient(c.Network, addr, conf, netx.HTTPOptions{MaxConns: 16})}, nil
}

// only trusts one certificate.
func only(cert []byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // of names and authorities
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 || !bytes.Equal(cs.PeerCertificates[0].Raw, cert) {
				return errors.New("it shows another certificate than the one named in web.port")
			}
			return nil
		},
	}
}

// IsSecure reports whether a gateway's URL needs a Cert.
func IsSecure(url string) bool { return strings.HasPrefix(strings.TrimSpace(url), "https://") }

// place returns where to dial and what URLs begin with.
func place(text string, secure bool) (netx.Addr, string, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return netx.Addr{Kind: netx.Unix, Host: path}, "http://localhost", nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return netx.Addr{}, "", errors.New("not a URL")
	}
	if u.Scheme != "http" && (u.Scheme != "https" || !secure) || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
		return netx.Addr{}, "", fmt.Errorf("it must look like http://127.0.0.1:3456/")
	}
	port := 80
	if u.Scheme == "https" {
		port = 443
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return netx.Addr{}, "", errors.New("the port is not a number")
		}
	}
	addr := netx.Addr{Kind: netx.TCP, Host: u.Hostname(), Port: port}
	return addr, u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/"), nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an answer other than what was asked for.
type Error struct {
	Status   int
	Sentence string   // what is wrong, in plain words
	Details  []string // further lines, such as one for each server
}

// Error gives the sentence.
func (e *Error) Error() string { return e.Sentence }

// UnreachableError says that there was no answer from the gateway, or that it
// broke off.
type UnreachableError struct{ Err error }

// Error says what happened, without the URL, which may hold a cap.
func (e *UnreachableError) Error() string {
	return "no answer from the node's gateway: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// do sends a request and returns an answer of status 200, 201 or 206, whose body is
// to be closed. path has caps escaped already.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, size int64, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, errors.New("making a request to the gateway: the address does not fit in a URL")
	}
	if body != nil {
		req.ContentLength = size
		if size == 0 {
			req.Body = http.NoBody
		}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", userAgent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "text/plain")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusPartialContent:
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// unreachable drops the URL that net/http puts into its errors.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return &UnreachableError{err}
}

// readError reads the sentence and the further lines of an error.
func readError(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxError))
	for lines.Scan() {
		line := strings.TrimSpace(printable(lines.Text()))
		switch {
		case line == "":
		case e.Sentence == "":
			e.Sentence = line
		default:
			e.Details = append(e.Details, line)
		}
	}
	if e.Sentence == "" {
		e.Sentence = "The gateway answered with the status " + strconv.Itoa(e.Status) + "."
	}
	return e
}

// printable drops what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// getJSON fetches a page of the gateway into v.
func (c *Client) getJSON(ctx context.Context, path string, v any) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil, 0, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON))
	if err != nil {
		return unreachable(ctx, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return nil
}
