package gbs

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// testSwissnum opens every server of these tests.
const testSwissnum = "7wfvm37lrvrakffe2qge55ty6vwhb5w6"

// testCert takes a while to make; one is enough.
var testCert = sync.OnceValue(func() tubcert.Cert {
	pem, err := tubcert.Generate(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) // long expired: dates do not matter
	if err != nil {
		panic(err)
	}
	c, err := tubcert.Parse(pem)
	if err != nil {
		panic(err)
	}
	return c
})

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	testCert() // draws on the whole process, so not from inside
	synctest.Test(t, f)
}

// rig is one served store.
type rig struct {
	net     *memnet.Net // nil over loopback
	client  netx.Network
	store   storage.Server
	handler *Handler
	addr    netx.Addr
	log     *logBuffer
	stop    func() // ends serving and waits for it
}

// newRig serves store on memnet host "server"; its client host is "client".
// In a bubble, everything of it ends with the test.
func newRig(t testing.TB, store storage.Server, cfg HandlerConfig) *rig {
	n := memnet.New(t)
	l, err := n.Host("server").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Port: 443})
	if err != nil {
		t.Fatal(err)
	}
	r := serveRig(t, l, store, cfg)
	r.net, r.client = n, n.Host("client")
	return r
}

// newLoopbackRig is newRig over real sockets.
func newLoopbackRig(t testing.TB, store storage.Server, cfg HandlerConfig) *rig {
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := serveRig(t, l, store, cfg)
	r.client = netx.Loopback{}
	return r
}

func serveRig(t testing.TB, l net.Listener, store storage.Server, cfg HandlerConfig) *rig {
	if store == nil {
		store = memstore.New(memstore.Config{})
	}
	addr, err := netx.AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: store, addr: addr, log: new(logBuffer)}
	cfg.Server, cfg.Swissnum = store, redact.New(testSwissnum)
	cfg.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.handler = NewHandler(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	cert := testCert()
	go func() { served <- Serve(ctx, l, cert, r.handler) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := r.handler.Close(context.Background()); err != nil {
			t.Errorf("Handler.Close: %v", err)
		}
		// net/http lingers for half a second on a connection it ended early.
		if r.net != nil {
			time.Sleep(time.Second)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) nurl() furl.NURL {
	return furl.NURL{SPKI: testCert().SPKI(), Host: r.addr.Host, Port: r.addr.Port, Swissnum: redact.New(testSwissnum)}
}

// newClient returns a client of r that is closed with the test.
func (r *rig) newClient(t testing.TB, cfg Config) *Client {
	if cfg.Network == nil {
		cfg.Network = r.client
	}
	if cfg.NURL == (furl.NURL{}) {
		cfg.NURL = r.nurl()
	}
	c := NewClient(cfg)
	t.Cleanup(func() { c.Close() })
	return c
}

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex // guards below
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) has(s string) bool { return strings.Contains(l.String(), s) }

// dialTLS opens a connection for bytes that no proper client would send.
func (r *rig) dialTLS(t testing.TB) *tls.Conn {
	t.Helper()
	c, err := r.client.Dial(t.Context(), r.addr)
	if err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(c, pinned(testCert().SPKI(), ""))
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return tc
}

// ask is one raw HTTP request.
type ask struct {
	method, path string
	header       http.Header
	body         string
	noAuth       bool
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// ask sends a request as it is, over a connection of its own.
func (r *rig) ask(t testing.TB, a ask) answer {
	t.Helper()
	if a.header == nil {
		a.header = http.Header{}
	}
	if !a.noAuth && a.header.Get(authHeader) == "" {
		a.header.Set(authHeader, authorization(redact.New(testSwissnum)))
	}
	req, err := http.NewRequestWithContext(t.Context(), a.method, "https://server"+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = a.header
	hc := netx.HTTPClient(r.client, r.addr, pinned(testCert().SPKI(), ""), netx.HTTPOptions{})
	defer hc.CloseIdleConnections()
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", a.method, a.path, err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// Secrets of tests, as headers.
var (
	renewLine   = secretLine(renewSecret, strings.Repeat("r", 32))
	cancelLine  = secretLine(cancelSecret, strings.Repeat("c", 32))
	uploadLine  = secretLine(uploadSecret, "the upload secret of a")
	upload2Line = secretLine(uploadSecret, "the upload secret of b")
	enablerLine = secretLine(writeEnabler, strings.Repeat("w", 32))
)

func secretLine(k kind, value string) string {
	h := http.Header{}
	addSecret(h, k, redact.New(value))
	return h.Get(secretsHeader)
}

// head makes a header of "Name: value" lines; lines without a colon are
// secrets.
func head(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ": ")
		if !ok {
			name, value = secretsHeader, l
		}
		h.Add(name, value)
	}
	return h
}
