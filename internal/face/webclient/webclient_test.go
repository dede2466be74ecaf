package webclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"tahoe-go/internal/face/webapi"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/spool"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// servers are a grid in memory.
type servers struct {
	peers  []storage.Peer
	faults []*faultstore.Store
}

func newServers(t testing.TB, n int) *servers {
	s := &servers{}
	for i := range n {
		f := faultstore.For(t, memstore.New(memstore.Config{}))
		s.faults = append(s.faults, f)
		s.peers = append(s.peers, storage.Peer{ID: fmt.Sprint("v0-", i), Name: fmt.Sprint("server ", i), LeaseSeed: [20]byte{byte(i)}, Server: f})
	}
	return s
}

func (s *servers) ForUpload(storage.Index) []storage.Peer {
	return append([]storage.Peer(nil), s.peers...)
}
func (s *servers) ForRead(storage.Index) []storage.Peer { return s.ForUpload(storage.Index{}) }
func (s *servers) Wait(context.Context, int) int        { return len(s.peers) }
func (s *servers) WaitToStore(context.Context, int) int { return len(s.peers) }
func (s *servers) Retry()                               {}
func (s *servers) Watch() <-chan struct{}               { return nil }

func (s *servers) Status() []grid.Status {
	var out []grid.Status
	for _, p := range s.peers {
		out = append(out, grid.Status{ID: p.ID, Name: p.Name, State: grid.Connected, Address: "onion", Protocol: "GBS", LastContact: time.Unix(1000, 0)})
	}
	return out
}

func (s *servers) always(m faultstore.Method, f faultstore.Fault) {
	for _, store := range s.faults {
		store.Always(m, f)
	}
}

// serve runs f in virtual time with a client of a gateway with n servers.
func serve(t *testing.T, n int, f func(t *testing.T, c *Client, s *servers)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, n)
		files, err := immutable.New(immutable.Config{Servers: s, K: 3, Happy: 4, N: 5, LeaseSecret: redact.New("lease secret of the test, 32 byte")})
		if err != nil {
			t.Fatal(err)
		}
		h := webapi.New(webapi.Config{Files: files, Grid: s, Nickname: "home", NodeID: "v0-me", K: 3, Happy: 4, N: 5, Spool: spool.Config{Max: 30 << 20, Memory: 1 << 30},
			Ladder: func() []webapi.Rung { return []webapi.Rung{{Name: "found", State: "ok", Text: "Tor found"}} }})
		serveHandler(t, func(ctx context.Context, l net.Listener) error { return webapi.Serve(ctx, l, h) }, func(c *Client) { f(t, c, s) })
	})
}

// pattern is n bytes that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

func TestPutGet(t *testing.T) {
	serve(t, 5, func(t *testing.T, c *Client, _ *servers) {
		for _, size := range []int{0, 1, 55, 56, 100_000, 3 << 20} {
			data := pattern(size)
			for _, told := range []int64{int64(size), -1} {
				cap, err := c.Put(t.Context(), bytes.NewReader(data), told, PutOptions{})
				if err != nil {
					t.Fatalf("Put of %d bytes: %v", size, err)
				}
				if n, ok := caps.Size(cap); !ok || n != int64(size) {
					t.Errorf("%v is of %d bytes, want %d", cap, n, size)
				}
				var got bytes.Buffer
				n, err := c.Get(t.Context(), cap, &got, GetOptions{})
				if err != nil || n != int64(size) || !bytes.Equal(got.Bytes(), data) {
					t.Errorf("Get of %d bytes: %d, %v", size, n, err)
				}
			}
		}
	})
}

func TestGetRange(t *testing.T) {
	serve(t, 5, func(t *testing.T, c *Client, _ *servers) {
		data := pattern(100_000)
		cap, err := c.Put(t.Context(), bytes.NewReader(data), 100_000, PutOptions{Format: "CHK"})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			r          Range
			start, end int
			status     int // of the error
		}{
			{Range{0, 10}, 0, 10, 0},
			{Range{500, 10}, 500, 510, 0},
			{Range{99_000, 0}, 99_000, 100_000, 0},
			{Range{99_000, 5000}, 99_000, 100_000, 0},
			{Range{100_000, 0}, 0, 0, 416},
			{Range{100_000, 1}, 0, 0, 416},
		} {
			var got bytes.Buffer
			_, err := c.Get(t.Context(), cap, &got, GetOptions{Range: tt.r})
			if tt.status != 0 {
				if e, ok := errors.AsType[*Error](err); !ok || e.Status != tt.status || got.Len() != 0 {
					t.Errorf("%v: %v, %d bytes", tt.r, err, got.Len())
				}
			} else if err != nil || !bytes.Equal(got.Bytes(), data[tt.start:tt.end]) {
				t.Errorf("%v: %d bytes, %v", tt.r, got.Len(), err)
			}
		}
	})
}

// Progress covers what the gateway does after it has the file.
func TestPutProgress(t *testing.T) {
	serve(t, 5, func(t *testing.T, c *Client, s *servers) {
		s.always(faultstore.WriteAt, faultstore.Fault{Delay: 5 * time.Second})
		var mu sync.Mutex
		var seen []Progress
		data := pattern(4 << 20)
		slow := &slow{r: bytes.NewReader(data)}
		_, err := c.Put(t.Context(), slow, int64(len(data)), PutOptions{Progress: func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, p)
		}})
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]Progress{}
		for _, p := range seen {
			if p.Done < at[p.Stage].Done || p.Done > p.Total || p.Total != int64(len(data)) {
				t.Errorf("%+v after %+v", p, at[p.Stage])
			}
			at[p.Stage] = p
		}
		if at["receiving"].Done == 0 || at["sending"].Done == 0 {
			t.Errorf("%v", seen)
		}
	})
}

// slow pauses before each piece.
type slow struct{ r io.Reader }

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.r.Read(p)
}

func TestErrors(t *testing.T) {
	serve(t, 3, func(t *testing.T, c *Client, s *servers) {
		put := func(r io.Reader, size int64, o PutOptions) error {
			_, err := c.Put(t.Context(), r, size, o)
			return err
		}
		get := func(cap string) error {
			parsed, err := caps.Parse(cap)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Get(t.Context(), parsed, io.Discard, GetOptions{})
			return err
		}
		const a, b = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		boom := errors.New("boom")
		for _, tt := range []struct {
			name   string
			err    error
			status int
			words  string
			lines  int // of details, at least
		}{
			{"unhappy", put(bytes.NewReader(pattern(1000)), 1000, PutOptions{}), 500, "not stored", 3},
			{"too large", put(bytes.NewReader(make([]byte, 31<<20)), 31<<20, PutOptions{}), 413, "larger", 0},
			{"too large, size not told", put(bytes.NewReader(make([]byte, 31<<20)), -1, PutOptions{}), 413, "larger", 0},
			{"no shares", get("URI:CHK:" + a + ":" + b + ":3:5:1000"), 410, "0 of the 3 shares", 3},
			{"source fails", put(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(boom)), 10, PutOptions{}), 0, "reading the file: boom", 0},
			{"source too short", put(strings.NewReader("abc"), 10, PutOptions{}), 0, "reading the file", 0},
			{"source too long", put(strings.NewReader(strings.Repeat("x", 100)), 10, PutOptions{}), 0, "reading the file", 0},
		} {
			if tt.err == nil || !strings.Contains(tt.err.Error(), tt.words) || strings.Contains(tt.err.Error(), "URI:") {
				t.Errorf("%s: %v", tt.name, tt.err)
			}
			e, ok := errors.AsType[*Error](tt.err)
			if tt.status == 0 {
				continue
			}
			if !ok || e.Status != tt.status || len(e.Details) < tt.lines {
				t.Errorf("%s: %+v", tt.name, tt.err)
			}
		}
		w := failingWriter{boom}
		cap := caps.NewLIT([]byte("hello"))
		if _, err := c.Get(t.Context(), cap, w, GetOptions{}); !errors.Is(err, boom) {
			t.Errorf("writer fails: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(ctx, cap, io.Discard, GetOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWelcomeAndStatus(t *testing.T) {
	serve(t, 5, func(t *testing.T, c *Client, _ *servers) {
		w, err := c.Welcome(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !w.Ready || w.Nickname != "home" || w.NodeID != "v0-me" || len(w.Servers) != 5 || w.Encoding.Happy != 4 || len(w.Ladder) != 1 || w.Ladder[0].Text != "Tor found" {
			t.Errorf("%+v", w)
		}
		if s := w.Servers[1]; s.ID != "v0-1" || s.Name != "server 1" || s.State != "connected" || s.Address != "onion" || s.LastContact == nil || *s.LastContact != 1000 || s.Since != nil {
			t.Errorf("%+v", s)
		}
		if _, err := c.Put(t.Context(), bytes.NewReader(pattern(1000)), 1000, PutOptions{}); err != nil {
			t.Fatal(err)
		}
		s, err := c.Status(t.Context())
		if err != nil || len(s.Active) != 0 || len(s.Recent) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		if op := s.Recent[0]; op.Type != "upload" || op.total() != 1000 || op.Stage != "done" || len(op.SI) != 26 || len(op.Operation) != 32 || op.Finished == nil || len(op.Servers) != 5 {
			t.Errorf("%+v", op)
		}
	})
}

// serveHTTP runs f in virtual time with a client of another handler.
func serveHTTP(t *testing.T, h http.HandlerFunc, f func(t *testing.T, c *Client)) {
	synctest.Test(t, func(t *testing.T) {
		serveHandler(t, func(ctx context.Context, l net.Listener) error {
			srv := &http.Server{Handler: h}
			context.AfterFunc(ctx, func() { srv.Close() })
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		}, func(c *Client) { f(t, c) })
	})
}

// What comes from a gateway is not believed.
func TestStrangeGateways(t *testing.T) {
	serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != userAgent {
			t.Errorf("User-Agent is %q", r.UserAgent())
		}
		io.Copy(io.Discard, r.Body)
		switch {
		case r.Method == "PUT":
			io.WriteString(w, "<html>not a cap</html>")
		case strings.HasPrefix(r.URL.Path, "/uri/"):
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		case r.URL.Path == "/status":
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "\n  no\x1b[2J tea\u202e \nline two\n")
		default:
			http.Redirect(w, r, "http://evil.example/", http.StatusFound)
		}
	}, func(t *testing.T, c *Client) {
		if cap, err := c.Put(t.Context(), strings.NewReader("x"), 1, PutOptions{}); err == nil || cap != nil {
			t.Errorf("not a cap: %v, %v", cap, err)
		}
		var got bytes.Buffer
		n, err := c.Get(t.Context(), caps.NewLIT([]byte("hello")), &got, GetOptions{})
		if _, ok := errors.AsType[*UnreachableError](err); !ok || n != 5 || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("cut off: %d, %v", n, err)
		}
		_, err = c.Status(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusTeapot || e.Sentence != "no[2J tea" || len(e.Details) != 1 || e.Details[0] != "line two" {
			t.Errorf("%#v", err)
		}
		_, err = c.Welcome(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusFound {
			t.Errorf("a redirect was followed: %v", err)
		}
	})
}

func TestNew(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:3456", "https://127.0.0.1:3456/", "ftp://x/", "http:///", "http://u:p@127.0.0.1/", "http://127.0.0.1:x/", "http://127.0.0.1/?a=b", "\x00"} {
		if _, err := New(Config{URL: url}); err == nil {
			t.Errorf("New(%q) succeeded", url)
		}
	}
	// Nothing that is not this machine is ever dialled.
	for _, url := range []string{"http://192.0.2.1:3456/", "http://example.org/", "http://abc.onion/"} {
		c, err := New(Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Welcome(t.Context())
		if _, ok := errors.AsType[*netx.PolicyError](err); !ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A gateway at a unix socket, and none at all.
func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/web"
	c, err := New(Config{URL: "unix:" + path + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Welcome(t.Context())
	if _, ok := errors.AsType[*UnreachableError](err); !ok {
		t.Errorf("nobody there: %v", err)
	}
	s := newServers(t, 0)
	files, err := immutable.New(immutable.Config{Servers: s, K: 1, Happy: 1, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.Unix, Host: path})
	if err != nil {
		t.Skip("no unix sockets here: ", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- webapi.Serve(ctx, l, webapi.New(webapi.Config{Files: files, Grid: s})) }()
	if cap, err := c.Put(t.Context(), strings.NewReader("hello"), 5, PutOptions{}); err != nil || cap.Reveal() != "URI:LIT:nbswy3dp" {
		t.Errorf("%v, %v", cap, err)
	}
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// serveHandler serves on a network in memory while f runs.
func serveHandler(t *testing.T, serve func(context.Context, net.Listener) error, f func(c *Client)) {
	n := memnet.New(t)
	here := n.Host("here")
	l, err := here.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 3456})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l) }()
	c, err := New(Config{URL: "http://127.0.0.1:3456/", Network: here})
	if err != nil {
		t.Fatal(err)
	}
	f(c)
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serving: %v", err)
	}
	time.Sleep(time.Second) // net/http lingers for half a second on a connection it ended early
}
