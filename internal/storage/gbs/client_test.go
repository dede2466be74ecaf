package gbs

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// newFake is a rig whose server does as h says, for clients to meet.
func newFake(t *testing.T, h http.HandlerFunc) *rig {
	n := memnet.New(t)
	r := &rig{net: n, client: n.Host("client"), addr: netx.Addr{Kind: netx.TCP, Host: "server", Port: 443}}
	l, err := n.Host("server").Listen(t.Context(), r.addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	conf := &tls.Config{Certificates: []tls.Certificate{testCert().TLS()}}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(tls.NewListener(l, conf)) }()
	t.Cleanup(func() { srv.Close(); <-done; n.Close(); time.Sleep(time.Second) })
	return r
}

// TestRequests looks at what each call puts on the wire.
func TestRequests(t *testing.T) {
	type seen struct {
		Call    string
		Header  http.Header
		Body    string
		Length  int64
		Retried bool
	}
	bubble(t, func(t *testing.T) {
		var got []seen
		r := newFake(t, func(w http.ResponseWriter, hr *http.Request) {
			body, _ := io.ReadAll(hr.Body)
			got = append(got, seen{Call: hr.Method + " " + hr.URL.Path, Header: hr.Header, Body: string(body), Length: hr.ContentLength})
			if hr.Host != "server:443" || hr.TLS.ServerName != "" {
				t.Errorf("Host %q, server name %q", hr.Host, hr.TLS.ServerName)
			}
			w.Header().Set("Content-Type", cborType)
			switch {
			case hr.Method == "POST" && !strings.HasSuffix(hr.URL.Path, "corrupt"):
				w.Write(encode(map[string]numSet{"already-have": {}, "allocated": {3}}))
			case hr.Method == "PATCH":
				w.Write(encode(newWriteAnswer(nil)))
			case strings.HasSuffix(hr.URL.Path, "lease/"+siText):
				w.WriteHeader(204)
			case strings.HasSuffix(hr.URL.Path, "shares"):
				w.Write(encode(numSet{3}))
			case hr.Method == "GET":
				w.WriteHeader(204)
			}
		})
		c := r.newClient(t, Config{Isolation: "one"})
		si := testIndex(t)
		ls := storage.LeaseSecrets{Renew: redact.New(strings.Repeat("r", 32)), Cancel: redact.New(strings.Repeat("c", 32))}
		a, err := c.Allocate(t.Context(), si, []storage.ShareNum{3, 1, 3}, 5<<20, ls)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Writers[3].WriteAt(t.Context(), make([]byte, maxBody+1), 7); err != nil {
			t.Fatal(err)
		}
		if err := a.Writers[3].Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.AddLease(t.Context(), si, ls); err != nil {
			t.Fatal(err)
		}
		shares, err := c.Shares(t.Context(), si)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shares[3].ReadAt(t.Context(), make([]byte, 10), 5); err != io.EOF {
			t.Fatal(err)
		}
		if err := shares[3].ReportCorrupt(t.Context(), "\xff"+strings.Repeat("é", maxReason)); err != nil {
			t.Fatal(err)
		}

		upload := got[0].Header.Values(secretsHeader)[2]
		if s, err := parseSecrets(http.Header{secretsHeader: {upload}}, uploadSecret); err != nil || len(s[uploadSecret].Reveal()) != 20 {
			t.Errorf("upload secret %q", upload)
		}
		auth := "Authorization: " + authorization(redact.New(testSwissnum))
		const accept, agent = "Accept: application/cbor", "User-Agent: tahoe-go"
		base := "/storage/v1/immutable/" + siText
		want := []seen{
			{Call: "POST " + base, Header: head(auth, accept, agent, "Content-Type: application/cbor", "Content-Length: 38", renewLine, cancelLine, upload)},
			{Call: "PATCH " + base + "/3", Header: head(auth, accept, agent, "Content-Type: application/octet-stream", "Content-Length: 1048576", "Content-Range: bytes 7-1048582/*", upload), Length: maxBody},
			{Call: "PATCH " + base + "/3", Header: head(auth, accept, agent, "Content-Type: application/octet-stream", "Content-Length: 1", "Content-Range: bytes 1048583-1048583/*", upload), Length: 1},
			{Call: "PUT " + base + "/3/abort", Header: head(auth, accept, agent, "Content-Length: 0", upload)},
			{Call: "PUT /storage/v1/lease/" + siText, Header: head(auth, accept, agent, "Content-Length: 0", renewLine, cancelLine)},
			{Call: "GET " + base + "/shares", Header: head(auth, accept, agent)},
			{Call: "GET " + base + "/3", Header: head(auth, accept, agent, "Range: bytes=5-14")},
			{Call: "POST " + base + "/3/corrupt", Header: head(auth, accept, agent, "Content-Type: application/cbor")},
		}
		for i := range got {
			if i == 0 {
				if d := cmp.Diff(map[any]any{"share-numbers": generic(t, encode(numSet{1, 3})), "allocated-size": uint64(5 << 20)}, generic(t, []byte(got[i].Body))); d != "" {
					t.Errorf("allocate differs (-want +got)\n%s", d)
				}
			}
			if i == 7 && len(got[i].Body) > maxCorruptBody {
				t.Errorf("a report of %d bytes; servers take %d", len(got[i].Body), maxCorruptBody)
			}
			got[i].Body, got[i].Header["Content-Length"] = "", nil
			if i != 1 && i != 2 {
				got[i].Length = 0
			}
			delete(got[i].Header, "Content-Length")
		}
		for i := range want {
			delete(want[i].Header, "Content-Length")
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("requests differ (-want +got)\n%s", d)
		}
		dials := r.net.Dials()
		if len(dials) != 1 || dials[0].To.Isolation != "one" || dials[0].To.Kind != netx.TCP {
			t.Errorf("dials: %+v; want one, isolated", dials)
		}
	})
}

// TestBadAnswers meets servers that do not keep to the protocol.
func TestBadAnswers(t *testing.T) {
	gz := func(b []byte) []byte {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		return z.Bytes()
	}
	answer := func(code int, header http.Header, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(code)
			w.Write(body)
		}
	}
	isCBOR := head("Content-Type: application/cbor")
	shares := func(ctx context.Context, c *Client) error { _, err := c.Shares(ctx, storage.Index{}); return err }
	version := func(ctx context.Context, c *Client) error { _, err := c.Version(ctx); return err }
	lease := func(ctx context.Context, c *Client) error { return c.AddLease(ctx, storage.Index{}, benchLeases) }
	allocate := func(ctx context.Context, c *Client) error {
		_, err := c.Allocate(ctx, storage.Index{}, []storage.ShareNum{0, 1}, 10, benchLeases)
		return err
	}
	read := func(ctx context.Context, c *Client) error {
		p := make([]byte, 10)
		_, err := shareReader{c, path{res: resShare}}.ReadAt(ctx, p, 100)
		return err
	}
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		do   func(context.Context, *Client) error
		want string // part of the error
		is   error
	}{
		{"redirect", answer(302, head("Location: https://elsewhere/"), nil), shares, "302", nil},
		{"not found", answer(404, nil, nil), lease, "no such share", storage.ErrNotFound},
		{"conflict", answer(409, nil, nil), lease, "409", storage.ErrConflict},
		{"too large", answer(413, nil, nil), lease, "413", storage.ErrTooLarge},
		{"unauthorized", answer(401, head("Content-Type: text/plain"), []byte("go away")), version, `"go away"`, nil},
		{"odd success", answer(202, isCBOR, encode(numSet{})), shares, "202", nil},
		{"lease with 200", answer(200, nil, nil), lease, "200", nil},
		{"not CBOR", answer(200, head("Content-Type: text/html"), encode(numSet{})), shares, "not application/cbor", nil},
		{"no type", answer(200, http.Header{"Content-Type": nil}, encode(numSet{})), shares, "not application/cbor", nil},
		{"garbled", answer(200, isCBOR, []byte("\xd9\x01\x02\x82\x00")), shares, errMessage.Error(), nil},
		{"compressed unasked", answer(200, head("Content-Type: application/cbor", "Content-Encoding: gzip"), gz(encode(numSet{}))), shares, errMessage.Error(), nil},
		{"no set", answer(200, isCBOR, []byte("\x80")), shares, errMessage.Error(), nil},
		{"a share number of 256", answer(200, isCBOR, []byte("\xd9\x01\x02\x81\x19\x01\x00")), shares, errMessage.Error(), nil},
		{"endless answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", cborType)
			for {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}, shares, "longer than", nil},
		{"endless error", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(500)
			for {
				if _, err := w.Write([]byte("no ")); err != nil {
					return
				}
			}
		}, shares, "500", nil},
		{"huge header", answer(200, http.Header{"X": {strings.Repeat("x", 1<<20)}}, nil), shares, "", nil},
		{"full", answer(507, nil, nil), allocate, "", nil},
		{"unasked share", answer(200, isCBOR, encode(map[string]numSet{"already-have": {}, "allocated": {7}})), allocate, "not asked for", nil},
		{"share in both sets", answer(200, isCBOR, encode(map[string]numSet{"already-have": {1}, "allocated": {1}})), allocate, "held or", nil},
		{"more already there than asked", answer(200, isCBOR, encode(map[string]numSet{"already-have": {9}, "allocated": {1}})), allocate, "", nil},
		{"another range", answer(206, head("Content-Range: bytes 0-9/*"), make([]byte, 10)), read, "another range", nil},
		{"no range", answer(206, nil, make([]byte, 10)), read, "another range", nil},
		{"longer range", answer(206, head("Content-Range: bytes 100-110/*"), make([]byte, 11)), read, "another range", nil},
		{"body longer than range", answer(206, head("Content-Range: bytes 100-109/*"), make([]byte, 11)), read, "more than", nil},
		{"body shorter than range", answer(206, head("Content-Range: bytes 100-109/*"), make([]byte, 9)), read, "early", io.ErrUnexpectedEOF},
		{"no body", answer(206, head("Content-Range: bytes 100-109/*"), nil), read, "early", io.ErrUnexpectedEOF},
		{"the whole instead", answer(200, nil, make([]byte, 500)), read, "200", nil},
		{"short at the end", answer(206, head("Content-Range: bytes 100-104/*"), make([]byte, 5)), read, "", io.EOF},
		{"past the end", answer(204, nil, nil), read, "", io.EOF},
		{"past the end, as HTTP has it", answer(416, nil, nil), read, "", io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newFake(t, tt.h)
				err := tt.do(t.Context(), r.newClient(t, Config{}))
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v; want %v", err, tt.is)
				}
				if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("error %v; want one with %q", err, tt.want)
				}
				if tt.want == "" && tt.is == nil && (err == nil) == (tt.name == "huge header") {
					t.Errorf("error %v", err)
				}
				for _, d := range r.net.Dials() {
					if d.To.Host != "server" {
						t.Errorf("dialled %v", d.To)
					}
				}
			})
		})
	}
}

// TestHungServer checks that each call ends after Timeouts.Call, wherever the
// server hangs.
func TestHungServer(t *testing.T) {
	for name, hang := range map[string]func(r *rig){
		"dial":      func(r *rig) { r.net.Host("server").Fail(memnet.Hang) },
		"handshake": func(r *rig) { r.net.Host("server").Fail(memnet.Silent) },
		"answer":    nil,
		"body":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				release := make(chan struct{})
				r := newFake(t, func(w http.ResponseWriter, hr *http.Request) {
					if name == "body" {
						w.Header().Set("Content-Range", "bytes 0-9/*")
						w.WriteHeader(206)
						for {
							if _, err := w.Write([]byte{1}); err != nil || http.NewResponseController(w).Flush() != nil {
								return
							}
							select {
							case <-time.After(20 * time.Second): // a drip keeps nothing alive
							case <-release:
								return
							}
						}
					}
					<-release
				})
				if hang != nil {
					hang(r)
				}
				c := r.newClient(t, Config{Timeouts: Timeouts{Call: 50 * time.Second, Dial: 100 * time.Second}})
				start := time.Now()
				_, err := shareReader{c, path{res: resShare}}.ReadAt(t.Context(), make([]byte, 10), 0)
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 50*time.Second {
					t.Errorf("%v after %v; want a deadline after 50 s", err, took)
				}
				close(release)
			})
		})
	}
}

// TestStaleConnection checks that a kept-alive connection which died
// unnoticed costs no call, whatever its method.
func TestStaleConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		c := r.newClient(t, Config{})
		si := testIndex(t)
		a, err := c.Allocate(t.Context(), si, []storage.ShareNum{0}, 2<<20, benchLeases)
		if err != nil {
			t.Fatal(err)
		}
		data := shareBytes(0, 2<<20)
		for i := range 2 {
			r.net.Cut("client", "server")
			if err := a.Writers[0].WriteAt(t.Context(), data[i<<20:(i+1)<<20], int64(i)<<20); err != nil {
				t.Errorf("WriteAt on a dead connection: %v", err)
			}
		}
		if err := a.Writers[0].Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		r.net.Cut("client", "server")
		if err := c.AddLease(t.Context(), si, benchLeases); err != nil {
			t.Errorf("AddLease on a dead connection: %v", err)
		}
		wantShare(t, r.store, 0, data)
		time.Sleep(5 * time.Minute) // the server has closed idle connections by now
		if _, err := c.Version(t.Context()); err != nil {
			t.Errorf("Version after a long pause: %v", err)
		}
	})
}

// TestCutConnections uploads and reads over a path that cuts every connection
// after 1.5 MiB: a caller that repeats what failed gets through.
func TestCutConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		r.net.SetDefault(memnet.Link{Latency: 50 * time.Millisecond, Bandwidth: 4 << 20, CutAfter: 3 << 19})
		c := r.newClient(t, Config{})
		const size = 8 << 20
		data := shareBytes(0, size)
		a, err := c.Allocate(t.Context(), testIndex(t), []storage.ShareNum{0}, size, benchLeases)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		again := func(what string, f func() error) {
			for range 10 {
				err := f()
				if err == nil {
					return
				}
				if errors.Is(err, io.EOF) {
					t.Errorf("%s: a cut looks like the end: %v", what, err)
				}
				failed++
			}
			t.Fatalf("%s failed ten times", what)
		}
		for off := 0; off < size; off += maxBody {
			again("WriteAt", func() error { return a.Writers[0].WriteAt(t.Context(), data[off:off+maxBody], int64(off)) })
		}
		if err := a.Writers[0].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantShare(t, r.store, 0, data)
		got := make([]byte, size)
		reader := shareReader{c, path{res: resShare, si: testIndex(t)}}
		for off := 0; off < size; off += maxBody {
			again("ReadAt", func() error {
				_, err := reader.ReadAt(t.Context(), got[off:off+maxBody], int64(off))
				return err
			})
		}
		if !bytes.Equal(got, data) {
			t.Error("what was read differs")
		}
		t.Logf("%d calls failed and were repeated", failed)
	})
}

// TestManyCalls checks the bound on connections, and that they are kept.
func TestManyCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		r.net.SetDefault(memnet.Link{Latency: 100 * time.Millisecond})
		c := r.newClient(t, Config{MaxConns: 3})
		for range 5 {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if _, err := c.Version(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		if n := len(r.net.Dials()); n != 3 {
			t.Errorf("100 calls made %d connections; want 3", n)
		}
	})
}

// TestBufferIsBack checks that WriteAt does not touch the caller's bytes once
// it has returned, even from the middle of a body. The race detector looks on.
func TestBufferIsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newFake(t, func(http.ResponseWriter, *http.Request) { <-release })
		r.net.SetDefault(memnet.Link{Buffer: 1 << 10})
		w := &shareWriter{c: r.newClient(t, Config{}), path: path{res: resShare}, secret: newUploadSecret(), size: maxBody}
		p := make([]byte, maxBody)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait() // stuck with most of the body unsent
			cancel()
		}()
		if err := w.WriteAt(ctx, p, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("WriteAt: %v", err)
		}
		clear(p)
		close(release)
	})
}

// TestAbortAfterCancel checks that an upload can be called off although its
// context is over, and again when that was not heard.
func TestAbortAfterCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Capacity: 10})
		r := newRig(t, store, HandlerConfig{})
		c := r.newClient(t, Config{})
		a, err := c.Allocate(t.Context(), testIndex(t), []storage.ShareNum{0}, 10, benchLeases)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.net.Partition("client", "server")
		if err := a.Writers[0].Abort(ctx); err == nil {
			t.Error("Abort claims to have been heard across a broken path")
		}
		r.net.Heal("client", "server")
		if err := a.Writers[0].Abort(ctx); err != nil {
			t.Errorf("Abort: %v", err)
		}
		if v, _ := store.Version(t.Context()); v.AvailableSpace != 10 {
			t.Errorf("%d bytes free; want 10", v.AvailableSpace)
		}
	})
}

// TestExcerpt checks that a server which quotes our secrets does not get them
// into our errors.
func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{
		"plain words":                                 "plain words",
		" two\nlines \x00 and bell\a":                 "two lines ... and ...",
		authorization(redact.New("abc")):              "Tahoe-LAFS YWJj",
		authorization(redact.New(testSwissnum)):       "Tahoe-LAFS ...",
		"Bad header value(s): ['" + uploadLine + "']": "Bad header value(s): ['upload-secret ...",
		strings.Repeat("abc ", 100):                   strings.TrimSpace(strings.Repeat("abc ", 50)),
		strings.Repeat("x", 1000):                     "...",
		"":                                            "",
	} {
		if got := excerpt([]byte(in)); got != want {
			t.Errorf("excerpt(%.50q) = %q; want %q", in, got, want)
		}
	}
}

func ExampleClient() {
	// A server and its client on a network in memory.
	n := memnet.New(nil)
	defer n.Close()
	l, _ := n.Host("server").Listen(context.Background(), netx.Addr{Kind: netx.TCP, Port: 443})
	h := NewHandler(HandlerConfig{Server: memstore.New(memstore.Config{}), Swissnum: redact.New(testSwissnum)})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error)
	go func() { served <- Serve(ctx, l, testCert(), h) }()

	r := rig{addr: netx.Addr{Host: "server", Port: 443}}
	c := NewClient(Config{Network: n.Host("client"), NURL: r.nurl()})
	a, err := c.Allocate(ctx, storage.Index{}, []storage.ShareNum{0}, 5, benchLeases)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Writers[0].WriteAt(ctx, []byte("share"), 0), a.Writers[0].Close(ctx))
	shares, _ := c.Shares(ctx, storage.Index{})
	p := make([]byte, 10)
	got, err := shares[0].ReadAt(ctx, p, 0)
	fmt.Println(string(p[:got]), err)

	c.Close()
	cancel()
	fmt.Println(<-served)
	// Output:
	// <nil> <nil>
	// share EOF
	// <nil>
}
