package netx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a Network over Loopback that remembers what was dialled.
type recorder struct {
	mu     sync.Mutex // guards dialled
	dialed []Addr
	to     string // where connections really go, host:port on loopback; "": where they are meant to
}

func (r *recorder) Dial(ctx context.Context, a Addr) (net.Conn, error) {
	r.mu.Lock()
	r.dialed = append(r.dialed, a)
	r.mu.Unlock()
	if r.to != "" {
		to, err := splitHostPort(r.to)
		if err != nil {
			return nil, err
		}
		a = to
	}
	return Loopback{}.Dial(ctx, a)
}

func (r *recorder) Listen(ctx context.Context, a Addr) (net.Listener, error) {
	return Loopback{}.Listen(ctx, a)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dialed)
}

func serve(t *testing.T, a Addr, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	l, err := Loopback{}.Listen(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.EnableHTTP2 = true // offered, and not to be taken
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestHTTPClientGoesToAddr(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1") // must be ignored
	s := serve(t, Addr{Kind: TCP, Host: "127.0.0.1"}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://192.0.2.1/elsewhere", http.StatusFound)
			return
		}
		fmt.Fprint(w, r.Host, " ", r.Proto, " ", r.Header.Get("Accept-Encoding"))
	})
	s.Start()
	n := &recorder{to: s.Listener.Addr().String()}
	a := Addr{Kind: Tor, Host: "x.onion", Port: 99, Isolation: "server 3"}
	c := HTTPClient(n, a, nil, HTTPOptions{})
	defer c.CloseIdleConnections()
	_, body, err := get(t, c, "http://storage.example/x")
	if err != nil || body != "storage.example HTTP/1.1 " {
		t.Errorf("got %q, %v", body, err)
	}
	resp, _, err := get(t, c, "http://storage.example/away")
	if err != nil || resp.StatusCode != http.StatusFound {
		t.Errorf("a redirect was followed: %v, %v", resp, err)
	}
	if len(n.dialed) != 1 || n.dialed[0] != a {
		t.Errorf("dialled %v; want %v once", n.dialed, a)
	}
}

func TestHTTPClientByURL(t *testing.T) {
	s := serve(t, Addr{Kind: TCP, Host: "127.0.0.1"}, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	s.Start()
	c := HTTPClient(Loopback{}, Addr{}, nil, HTTPOptions{})
	defer c.CloseIdleConnections()
	if _, body, err := get(t, c, s.URL); err != nil || body != "ok" {
		t.Errorf("got %q, %v", body, err)
	}
	if _, _, err := get(t, c, "http://example.com/"); !isPolicy(err) {
		t.Errorf("beyond loopback: %v", err)
	}
}

func TestHTTPClientUnix(t *testing.T) {
	a := Addr{Kind: Unix, Host: filepath.Join(t.TempDir(), "web")}
	s := serve(t, a, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
	s.Start()
	c := HTTPClient(Loopback{}, a, nil, HTTPOptions{})
	defer c.CloseIdleConnections()
	if _, body, err := get(t, c, "http://localhost/uri"); err != nil || body != "localhost" {
		t.Errorf("got %q, %v", body, err)
	}
}

// Without someone to trust, nothing is even dialled.
func TestHTTPClientTrust(t *testing.T) {
	s := serve(t, Addr{Kind: TCP, Host: "127.0.0.1"}, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	s.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	pinned := 0
	for _, tt := range []struct {
		name string
		conf *tls.Config
		ok   bool
	}{
		{"nil", nil, false},
		{"system roots", &tls.Config{}, false},
		{"blind", &tls.Config{InsecureSkipVerify: true}, false},
		{"own roots", &tls.Config{RootCAs: roots}, true},
		{"pinned", &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { pinned++; return nil }}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &recorder{}
			c := HTTPClient(n, Addr{}, tt.conf, HTTPOptions{})
			defer c.CloseIdleConnections()
			_, body, err := get(t, c, s.URL)
			if ok := err == nil && body == "HTTP/1.1"; ok != tt.ok {
				t.Errorf("got %q, %v; want success: %v", body, err, tt.ok)
			}
			if !tt.ok && n.count() != 0 {
				t.Error("dialled all the same")
			}
		})
	}
	if pinned != 1 {
		t.Errorf("VerifyConnection ran %d times", pinned)
	}
}

func TestHTTPClientMaxConns(t *testing.T) {
	release := make(chan struct{})
	busy := make(chan struct{}, 8)
	s := serve(t, Addr{Kind: TCP, Host: "127.0.0.1"}, func(w http.ResponseWriter, r *http.Request) {
		busy <- struct{}{}
		<-release
	})
	s.Start()
	n := &recorder{}
	c := HTTPClient(n, Addr{}, nil, HTTPOptions{MaxConns: 2})
	defer c.CloseIdleConnections()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { get(t, c, s.URL) })
	}
	<-busy
	<-busy
	close(release)
	wg.Wait()
	if n.count() != 2 {
		t.Errorf("%d connections for 5 requests; want 2", n.count())
	}
}

// hangs is a Network whose Dial waits for its context.
type hangs struct{ Denied }

func (hangs) Dial(ctx context.Context, _ Addr) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestHTTPClientDialTimeout(t *testing.T) {
	c := HTTPClient(hangs{}, Addr{}, nil, HTTPOptions{DialTimeout: time.Millisecond})
	_, _, err := get(t, c, "http://x.example/")
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v", err)
	}
}
