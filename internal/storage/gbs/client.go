package gbs

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/storage"
)

// userAgent is the same for everybody: a version would tell nodes apart.
const userAgent = "tahoe-go"

// maxBody is the most share data in one request; larger calls are split. More
// would gain no speed and cost a slow path its deadline.
const maxBody = 1 << 20

// Errors of a connection that leads to somebody else.
var (
	// ErrPin is for a server whose key is not the one in its NURL.
	ErrPin = errors.New("the server's key is not the one in its NURL")
	// ErrTubID is for one whose certificate is not that of Config.TubID.
	ErrTubID = errors.New("the server's certificate is not the one in its fURL: it may pose as another server")
)

// Config says which server, and how to reach it. Zero fields take the value
// named.
type Config struct {
	Network netx.Network // needed; carries every connection
	NURL    furl.NURL    // needed
	// TubID is whose secrets the server is shown: lease secrets and write
	// enablers are derived from it, so a server under another's name could
	// destroy what the other holds. Its certificate must be that of the TubID.
	// "": whoever has the key of the NURL is trusted.
	TubID string
	// Isolation keeps this client's connections off the Tor circuits of
	// others; see netx.Addr.
	Isolation string
	MaxConns  int // connections at once, kept alive between calls; 0: 10
	Timeouts  Timeouts
}

// Timeouts of a Client. A zero field follows the network's hints.
type Timeouts struct {
	Dial time.Duration // connecting, and again the TLS handshake; 0: the hint
	// Call is for one request from start to end, with up to 1 MiB of share
	// data and a new connection if need be; each further MiB, in the one call
	// that may have more, TestAndWrite, adds as much. 0: the hint for dialling and
	// twice that for stalling, and no less than a minute.
	Call time.Duration
}

// Client is a storage server reached over HTTPS. It connects when first
// used. It may be used concurrently; call Close when done.
type Client struct {
	cfg  Config
	base string // https://host:port
	auth string // the Authorization header
	http *http.Client
}

var _ storage.Server = (*Client)(nil)

// NewClient returns a client; it does not connect.
func NewClient(cfg Config) *Client {
	addr := netx.Addr{Kind: netx.TCP, Host: cfg.NURL.Host, Port: cfg.NURL.Port, Isolation: cfg.Isolation}
	if cfg.NURL.Tor {
		addr.Kind = netx.Tor
	}
	hints := netx.HintsFor(cfg.Network, addr)
	setDefault(&cfg.MaxConns, 10)
	setDefault(&cfg.Timeouts.Dial, hints.Dial)
	setDefault(&cfg.Timeouts.Call, max(time.Minute, hints.Dial+2*hints.Stall))
	return &Client{
		cfg:  cfg,
		base: "https://" + net.JoinHostPort(addr.Host, strconv.Itoa(addr.Port)),
		auth: authorization(cfg.NURL.Swissnum),
		http: netx.HTTPClient(cfg.Network, addr, pinned(cfg.NURL.SPKI, cfg.TubID), netx.HTTPOptions{
			MaxConns:    cfg.MaxConns,
			DialTimeout: cfg.Timeouts.Dial,
		}),
	}
}

// pinned trusts one key, in the certificate of tubID if there is one, and
// nothing else: no authority, name or date.
func pinned(spki [32]byte, tubID string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// An address instead of a name: no server name is sent in the clear.
		ServerName:         "127.0.0.1",
		InsecureSkipVerify: true,
		// Unlike VerifyPeerCertificate this runs on resumed sessions too.
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return ErrPin
			}
			for _, cert := range cs.PeerCertificates { // as the reference: every one it shows
				got := tubcert.SPKI(cert)
				if subtle.ConstantTimeCompare(got[:], spki[:]) != 1 {
					return ErrPin
				}
			}
			if tubID != "" && tubcert.TubID(cs.PeerCertificates[0]) != tubID {
				return ErrTubID
			}
			return nil
		},
		DynamicRecordSizingDisabled: true, // whole records from the start
	}
}

// Close closes connections not in use.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Version implements storage.Server.
func (c *Client) Version(ctx context.Context) (storage.Version, error) {
	var v versionAnswer
	_, err := c.exchange(ctx, request{method: "GET", path: path{res: resVersion}}, &v, codeOK)
	if err != nil {
		return storage.Version{}, fmt.Errorf("asking a server for its version: %w", err)
	}
	return v.Version, nil
}

// AddLease implements storage.Server.
func (c *Client) AddLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	req := request{method: "PUT", path: path{res: resLease, si: si}, secrets: leaseSecrets(ls)}
	if _, err := c.exchange(ctx, req, nil, codeEmpty); err != nil {
		return fmt.Errorf("adding a lease to %s: %w", si.Short(), err)
	}
	return nil
}

// Allocate implements storage.Immutables. Each call has an upload secret of
// its own. Size must be above 0: HTTP cannot complete an empty share.
func (c *Client) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	if size <= 0 {
		return nil, fmt.Errorf("allocating shares of %d bytes: the size must be above 0", size)
	}
	asked := numSet(slices.Compact(slices.Sorted(slices.Values(nums))))
	secret := newUploadSecret()
	length := number(size)
	req := request{
		method:  "POST",
		path:    path{res: resIndex, si: si},
		secrets: append(leaseSecrets(ls), secretValue{uploadSecret, secret}),
		message: [][]byte{encode(&allocateRequest{&asked, &length})},
	}
	var got allocateAnswer
	a := &storage.Allocation{Writers: make(map[storage.ShareNum]storage.ShareWriter)}
	_, err := c.exchange(ctx, req, &got, codeOK)
	if e, ok := errors.AsType[*StatusError](err); ok && refusedAllocation(e.Code) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("allocating shares of %s: %w", si.Short(), err)
	}
	a.Have = *got.Have
	for _, num := range *got.Allocated {
		if !slices.Contains(asked, num) || slices.Contains(a.Have, num) {
			return nil, fmt.Errorf("allocating shares of %s: the server took share %d, which is held or was not asked for", si.Short(), num)
		}
		a.Writers[num] = &shareWriter{c: c, path: path{res: resShare, si: si, num: num}, secret: secret, size: size}
	}
	return a, nil
}

// newUploadSecret makes 20 random bytes, as the reference does.
func newUploadSecret() redact.Secret {
	var b [20]byte
	rand.Read(b[:])
	return redact.New(string(b[:]))
}

// Shares implements storage.Immutables.
func (c *Client) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	var got sharesAnswer
	if _, err := c.exchange(ctx, request{method: "GET", path: path{res: resShares, si: si}}, &got, codeOK); err != nil {
		return nil, fmt.Errorf("listing shares of %s: %w", si.Short(), err)
	}
	out := make(map[storage.ShareNum]storage.ShareReader, len(got.nums))
	for _, num := range got.nums {
		out[num] = shareReader{c, path{res: resShare, si: si, num: num}}
	}
	return out, nil
}

// ShareAt implements storage.Guesser.
func (c *Client) ShareAt(si storage.Index, num storage.ShareNum) (storage.ShareReader, bool) {
	return shareReader{c, path{res: resShare, si: si, num: num}}, true
}

// request is one call in the protocol's words.
type request struct {
	method  string
	path    path
	secrets []secretValue
	header  map[string]string
	message [][]byte // CBOR body, in pieces
	data    []byte   // share data as body, instead
	answer  int64    // the most bytes of a message in answer; 0: maxAnswer
	once    bool     // the server must not get it twice
}

// timeout is for the whole of a call: Call for each megabyte either way.
func (c *Client) timeout(req request) time.Duration {
	bytes := (&loan{p: req.message}).size() + max(0, req.answer-maxAnswer)
	return c.cfg.Timeouts.Call * time.Duration(1+bytes/maxBody)
}

type secretValue struct {
	kind  kind
	value redact.Secret
}

func leaseSecrets(ls storage.LeaseSecrets) []secretValue {
	return []secretValue{{renewSecret, ls.Renew}, {cancelSecret, ls.Cancel}}
}

// exchange does a call whose answer is a message (nil: has no body) under one
// of the codes ok, which it returns. Every other code is a *StatusError.
func (c *Client) exchange(ctx context.Context, req request, m message, ok ...int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout(req))
	defer cancel()
	resp, done, err := c.do(ctx, req)
	if err != nil {
		return 0, err
	}
	defer done()
	if !slices.Contains(ok, resp.StatusCode) {
		return 0, statusError(resp)
	}
	if m == nil {
		io.CopyN(io.Discard, resp.Body, maxErrorBody)
		return resp.StatusCode, nil
	}
	if t := resp.Header.Get("Content-Type"); t == "" || checkContentType(resp.Header) != nil {
		return 0, errors.New("the server's answer is not application/cbor")
	}
	most := max(req.answer, maxAnswer)
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return 0, c.explain(ctx, err)
	}
	if int64(len(body)) > most {
		return 0, fmt.Errorf("the server's answer is longer than %d bytes", most)
	}
	return resp.StatusCode, decode(body, m)
}

// do sends req and returns the answer's header. The caller calls done, after
// which neither the body nor req.data is touched. ctx has the deadline.
func (c *Client) do(ctx context.Context, req request) (resp *http.Response, done func(), err error) {
	body := &loan{p: [][]byte{req.data}}
	if req.message != nil {
		body.p = req.message
	}
	hr, err := http.NewRequestWithContext(ctx, req.method, c.base+req.path.String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("making a request: %w", err)
	}
	if size := body.size(); size > 0 {
		hr.Body, hr.ContentLength = body.reader(), size
		hr.GetBody = func() (io.ReadCloser, error) { return body.reader(), nil }
	}
	hr.Header = http.Header{
		authHeader:   {c.auth},
		"Accept":     {cborType},
		"User-Agent": {userAgent},
	}
	if !req.once {
		// Never sent; tells net/http that the call may go out once more when
		// a kept-alive connection turns out to be dead. Nearly every call of
		// the protocol may be repeated.
		hr.Header["Idempotency-Key"] = []string{}
	}
	if req.message != nil {
		hr.Header.Set("Content-Type", cborType)
	}
	for k, v := range req.header {
		hr.Header.Set(k, v)
	}
	for _, s := range req.secrets {
		addSecret(hr.Header, s.kind, s.value)
	}
	resp, err = c.http.Do(hr)
	if err != nil {
		body.end()
		return nil, nil, c.explain(ctx, err)
	}
	return resp, func() { resp.Body.Close(); body.end() }, nil
}

// explain drops the URL that net/http puts before its errors and says how long
// was waited.
func (c *Client) explain(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("no answer in time (a call may take %v): %w", c.cfg.Timeouts.Call, err)
	}
	return err
}

// statusError reads an answer that is of no use.
func statusError(resp *http.Response) error {
	e := &StatusError{Code: resp.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if bytes.HasPrefix([]byte(resp.Header.Get("Content-Type")), []byte("text/plain")) {
		e.Excerpt = excerpt(body)
	}
	return e
}

// excerpt is the printable beginning of text, with every long word blotted
// out: servers have been known to quote the secrets they were sent.
func excerpt(text []byte) string {
	const most, longWord = 200, 16
	var out []byte
	for _, word := range bytes.Fields(text[:min(len(text), 4*most)]) {
		if len(word) >= longWord || bytes.ContainsFunc(word, func(r rune) bool { return r < ' ' || r > '~' }) {
			word = []byte("...")
		}
		out = append(append(out, word...), ' ')
		if len(out) > most {
			break
		}
	}
	return string(bytes.TrimSpace(out[:min(len(out), most)]))
}
