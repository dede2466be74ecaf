package webapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/spool"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// do sends a request and reads the answer.
func (g *gateway) do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("reading the body: %v", err)
	}
	return resp, string(b)
}

func (g *gateway) request(t testing.TB, ctx context.Context, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost:3456"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// put stores data and returns its cap.
func (g *gateway) put(t testing.TB, data []byte) string {
	t.Helper()
	resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(data)))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT: %d %s", resp.StatusCode, body)
	}
	return body
}

func (g *gateway) always(m faultstore.Method, f faultstore.Fault) {
	for _, s := range g.grid.faults {
		s.Always(m, f)
	}
}

func (g *gateway) last(t testing.TB) opView {
	t.Helper()
	_, recent := g.h.ops.views("", nil)
	if len(recent) == 0 {
		t.Fatal("no operation has ended")
	}
	return recent[0]
}

// An upload that fails names each server and what it said.
func TestUnhappy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		g.grid.faults[1].Always(faultstore.Allocate, faultstore.Fault{Err: errors.New("the disk is <b>full\x1b[2J")})
		g.grid.faults[3].Always(faultstore.Allocate, faultstore.Fault{Refuse: true})
		for _, accept := range []string{"", "text/html"} {
			req := g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(5000)))
			req.Header.Set("Accept", accept)
			resp, body := g.do(t, req)
			if resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("status %d", resp.StatusCode)
			}
			for _, want := range []string{"The file was not stored", "server 1", "the disk is ", "server 4"} {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in %s", want, body)
				}
			}
			if strings.Contains(body, "\x1b") || accept != "" && strings.Contains(body, "<b>full") {
				t.Errorf("words of a server were taken for more than words: %q", body)
			}
		}
		if op := g.last(t); op.Stage != failed || !strings.Contains(op.Error, "not stored") {
			t.Errorf("the operation says %+v", op)
		}
	})
}

func TestNoServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 0, nil)
		resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(5000))))
		if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "no storage server is connected") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if got := g.put(t, []byte("tiny")); got != "URI:LIT:oruw46i" {
			t.Errorf("a small file without servers: %s", got)
		}
		resp, body = g.do(t, g.request(t, t.Context(), "GET", "/", nil))
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "tahoe add-server") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	})
}

// Whoever asks right after the node's start is served by servers that answer
// a little later.
func TestWaitsForServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		all := g.grid.peers
		g.grid.peers = nil
		arrive := func(n int) func(int) {
			return func(want int) {
				time.Sleep(3 * time.Second)
				g.grid.mu.Lock()
				defer g.grid.mu.Unlock()
				if want > len(g.grid.peers) {
					g.grid.peers = all[:max(n, len(g.grid.peers))]
				}
				if want > 5 {
					g.grid.peers = all
				}
			}
		}
		g.grid.onWait = arrive(5)
		cap := g.put(t, pattern(5000))
		if waits := g.grid.waits; len(waits) != 1 || waits[0] != 5 {
			t.Errorf("an upload waited for %v", waits)
		}
		g.grid.waits = nil
		g.put(t, []byte("a file in its cap waits for nobody"))
		if len(g.grid.waits) != 0 {
			t.Errorf("a small file waited for %v", g.grid.waits)
		}
		// Two servers are there, with two shares; then the others.
		g.grid.peers = nil
		g.grid.onWait = arrive(2)
		resp, body := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+cap, nil))
		if resp.StatusCode != http.StatusOK || body != string(pattern(5000)) {
			t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
		}
		if waits := g.grid.waits; len(waits) != 2 || waits[0] != 3 {
			t.Errorf("a download waited for %v", waits)
		}
	})
}

// All servers have failed their first try: an upload has them tried again,
// says so, and is stored when they come. A download that too few servers could
// answer waits for more.
func TestOutwaitsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, func(c *Config) { c.Outage = 20 * time.Second })
		all := g.grid.peers
		retries := 0
		var status atomic.Value // set by a timer
		back := func(n int, after time.Duration) {
			g.grid.connect(all, n)
			g.grid.retry = func() {
				retries++
				time.AfterFunc(after/2, func() {
					active, _ := g.h.ops.views("", nil)
					status.Store(active[0].Status)
				})
				time.AfterFunc(after, func() { g.grid.connect(all, 5) })
			}
		}
		start := time.Now()
		back(1, 10*time.Second)
		cap := g.put(t, pattern(5000))
		if took := time.Since(start); retries != 1 || took < 10*time.Second || took > 11*time.Second {
			t.Errorf("stored after %v and %d retries", took, retries)
		}
		if want := "waiting for servers: 1 of 5 connected, the others are tried again"; status.Load() != want {
			t.Errorf("meanwhile it said %q, want %q", status.Load(), want)
		}
		back(2, 5*time.Second)
		if resp, body := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+cap, nil)); resp.StatusCode != http.StatusOK || body != string(pattern(5000)) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if retries != 2 {
			t.Errorf("%d retries after a download, want 2", retries)
		}
		// Not forever: the error comes when the time is over.
		back(1, time.Hour)
		start = time.Now()
		resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(6000))))
		if took := time.Since(start); resp.StatusCode != http.StatusInternalServerError || took < 20*time.Second || took > 40*time.Second {
			t.Errorf("%d %s after %v", resp.StatusCode, body, took)
		}
	})
}

// The client leaves: a download and an upload that hang on the servers end.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		cap := g.put(t, pattern(50_000))
		g.always(faultstore.ReadAt, faultstore.Fault{Hang: true})
		g.always(faultstore.Allocate, faultstore.Fault{Hang: true})
		for _, req := range []*http.Request{
			g.request(t, t.Context(), "GET", "/uri/"+cap, nil),
			g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(60_000))),
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			if resp, err := g.client.Do(req.WithContext(ctx)); err == nil {
				t.Errorf("%s: %d", req.Method, resp.StatusCode)
			}
			cancel()
			synctest.Wait()
			if len(g.h.ops.active) != 0 || time.Since(start) > 2*time.Second {
				t.Errorf("%s goes on for a client that left", req.Method)
			}
			if op := g.last(t); op.Stage != failed {
				t.Errorf("%s: %+v", req.Method, op)
			}
		}
	})
}

// The node stops while servers hang: Serve returns at once.
func TestStopWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		cap := g.put(t, pattern(50_000))
		g.always(faultstore.ReadAt, faultstore.Fault{Hang: true})
		answer := make(chan int)
		go func() {
			resp, err := g.client.Do(g.request(t, t.Context(), "GET", "/uri/"+cap, nil))
			if err != nil {
				answer <- 0
				return
			}
			resp.Body.Close()
			answer <- resp.StatusCode
		}()
		time.Sleep(time.Second)
		start := time.Now()
		g.end()
		if got := <-answer; got != http.StatusServiceUnavailable {
			t.Errorf("status %d", got)
		}
		g.stop()
		if took := time.Since(start); took > 2*grace {
			t.Errorf("stopping took %v", took)
		}
	})
}

// Servers vanish in the middle: the client must not take what it has for all.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, func(c *Config) { c.Spool.Max = 0 })
		data := pattern(20 << 20)
		cap := g.put(t, data)
		resp, err := g.client.Do(g.request(t, t.Context(), "GET", "/uri/"+cap, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		head := make([]byte, 100_000)
		if _, err := io.ReadFull(resp.Body, head); err != nil || !bytes.Equal(head, data[:len(head)]) {
			t.Fatalf("the start: %v", err)
		}
		for _, s := range g.grid.faults {
			s.Vanish()
		}
		rest, err := io.ReadAll(resp.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", len(rest), err)
		}
		if !bytes.Equal(rest, data[len(head):len(head)+len(rest)]) {
			t.Error("wrong bytes")
		}
		synctest.Wait()
		if op := g.last(t); op.Stage != failed || op.Finished == nil {
			t.Errorf("%+v", op)
		}
	})
}

// slowly gives a byte each time it is read, after a pause.
type slowly struct {
	left  int
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(s.pause)
	p[0] = 'x'
	return 1, nil
}

// A slow sender is waited for, a silent one is not.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri", &slowly{100, 20 * time.Minute}))
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, ":100") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		// The connection is still good after the pause that follows a body.
		time.Sleep(time.Minute)
		g.put(t, []byte("again"))

		r, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("half"))
		req := g.request(t, t.Context(), "PUT", "/uri", r)
		start := time.Now()
		resp, err := g.client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		if took := time.Since(start); err == nil && resp.StatusCode != http.StatusRequestTimeout || took < 29*time.Minute || took > 31*time.Minute {
			t.Errorf("%v %v after %v", resp, err, took)
		}
		w.Close()
		synctest.Wait()
		if op := g.last(t); op.Stage != failed || !strings.Contains(op.Error, "too long") {
			t.Errorf("%+v", op)
		}
	})
}

// While an upload sits with slow servers, its progress can be seen, after the
// read deadline of the body too.
func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		name string
		tune func(*Config)
		req  func(t *testing.T, g *gateway) *http.Request
	}{
		{"PUT", func(c *Config) {}, func(t *testing.T, g *gateway) *http.Request {
			return g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(200_000)))
		}},
		{"random key", func(c *Config) { c.Convergence = redact.Secret{} }, func(t *testing.T, g *gateway) *http.Request {
			return g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(200_000)))
		}},
		{"form", func(c *Config) {}, func(t *testing.T, g *gateway) *http.Request {
			var b bytes.Buffer
			form := multipart.NewWriter(&b)
			w, _ := form.CreateFormFile("file", "x")
			w.Write(pattern(200_000))
			form.Close()
			req := g.request(t, t.Context(), "POST", "/uri", &b)
			req.Header.Set("Content-Type", form.FormDataContentType())
			return req
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, 5, func(c *Config) { c.Idle = time.Minute; tt.tune(c) })
				g.always(faultstore.WriteAt, faultstore.Fault{Delay: 50 * time.Second})
				g.always(faultstore.Close, faultstore.Fault{Delay: 50 * time.Second})
				req := tt.req(t, g)
				req.Header.Set(OperationHeader, "mine")
				g.watch(t, req)
			})
		})
	}
}

// watch sends an upload and follows its progress.
func (g *gateway) watch(t *testing.T, req *http.Request) {
	done := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(done)
		if resp, body := g.do(t, req); resp.StatusCode != http.StatusOK {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}()
	seen := int64(0)
	for {
		select {
		case <-done:
			if took := time.Since(start); seen == 0 || took < 90*time.Second {
				t.Errorf("progress to %d, in %v", seen, took)
			}
			return
		case <-time.After(20 * time.Second):
		}
		active, _ := g.h.ops.views("mine", nil)
		if len(active) == 0 {
			continue
		}
		if op := active[0]; op.Stage != sending || op.Done < seen || *op.TotalSize != 200_000 {
			t.Errorf("%+v after %d", op, seen)
		} else {
			seen = op.Done
		}
	}
}

// crash is a Files with a fault of its own.
type crash struct{}

func (crash) Upload(context.Context, immutable.Source, *immutable.Trace) (*immutable.Result, error) {
	panic("URI:CHK:secret")
}
func (crash) NewKeyer(redact.Secret) *immutable.Keyer { panic("URI:CHK:secret") }
func (crash) Open(caps.CHK) (*immutable.File, error)  { panic("URI:CHK:secret") }

// A fault in one request is answered, tells nothing and stops nobody else.
func TestPanic(t *testing.T) {
	g := newGateway(t, 0, nil)
	g.h.c.Files = crash{}
	resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri", bytes.NewReader(pattern(100))))
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "secret") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	log := g.log.String()
	if !strings.Contains(log, "panicked") || strings.Contains(log, "secret") {
		t.Errorf("log: %s", log)
	}
	g.log.b.Reset()
	g.h.c.Files = nil
}

// Names and reasons come from strangers.
func TestHostileNames(t *testing.T) {
	g := newGateway(t, 5, func(c *Config) {
		c.Nickname = "</title><script>alert(1)</script>"
		c.Ladder = func() []Rung {
			return []Rung{{"found", "failed", "<script>alert(2)</script>", []string{"<script>alert(4)</script>"}}}
		}
	})
	const evil = "<script>alert(3)</script>\"'\x1b[2J\u202e{{.}}"
	g.grid.mu.Lock()
	for i := range g.grid.status {
		g.grid.status[i] = grid.Status{ID: "v0-<i>", Name: evil, State: grid.Disconnected, Reason: evil, Address: "onion",
			Version: storage.Version{Application: evil}, RetryAt: time.Now()}
	}
	g.grid.mu.Unlock()
	g.put(t, pattern(1000))
	for _, path := range []string{"/", "/status", "/statistics", "/?t=json", "/status?t=json", "/uri/URI:LIT:nbswy3dp?t=info"} {
		resp, body := g.do(t, g.request(t, t.Context(), "GET", path, nil))
		html := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
		if html && (strings.Contains(body, "<script") || strings.Contains(body, "<i>")) {
			t.Errorf("%s has a script: %s", path, body)
		}
		if strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s has control characters", path)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); strings.Contains(csp, "script-src") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
	}
}

// Only so many ended operations are remembered.
func TestRecent(t *testing.T) {
	ops := newOperations(time.Now)
	for range 3 * recentMost {
		ops.begin(upload, "", receiving, 1).end(nil)
	}
	ops.begin(download, "d", fetching, 1).end(spool.ErrTooLarge)
	active, recent := ops.views("", nil)
	if len(active) != 0 || len(recent) != recentMost+1 || recent[0].Operation != "d" || recent[0].Stage != failed {
		t.Errorf("%d active, %d recent: %+v", len(active), len(recent), recent)
	}
}

// Neither a request that goes well nor one that fails leaves a file open.
func TestSpoolCloses(t *testing.T) {
	leakcheck.Check(t)
	g := newGateway(t, 5, nil)
	g.put(t, pattern(50_000))
	g.always(faultstore.Allocate, faultstore.Fault{Refuse: true})
	for _, size := range []int{60_000, 2_000_000} {
		if resp, _ := g.do(t, g.request(t, t.Context(), "PUT", "/uri", io.MultiReader(bytes.NewReader(pattern(size))))); resp.StatusCode < 400 {
			t.Errorf("%d bytes: status %d", size, resp.StatusCode)
		}
	}
	g.stop()
}
