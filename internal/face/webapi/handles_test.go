package webapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/storage/faultstore"
)

// work that a test ends.
type testWork struct {
	ended  chan error
	cancel chan struct{} // closed when it was cancelled
	heavy  int64
}

func (w *testWork) weight() int64 { return w.heavy }

func newTestWork() *testWork {
	return &testWork{ended: make(chan error, 1), cancel: make(chan struct{})}
}

func (w *testWork) run(ctx context.Context) error {
	select {
	case err := <-w.ended:
		return err
	case <-ctx.Done():
		close(w.cancel)
		return ctx.Err()
	}
}

func (w *testWork) show(q *request, hd *handle, output string) error {
	return q.text("finished: " + yesNo(hd.finished()) + " " + output)
}

func (g *gateway) ask(t *testing.T, method, path string, status int) string {
	t.Helper()
	resp, body := g.do(t, g.request(t, t.Context(), method, path, nil))
	if resp.StatusCode != status {
		t.Errorf("%s %s: status %d, want %d: %s", method, path, resp.StatusCode, status, body)
	}
	return body
}

// A handle lives for four days if nobody asks for its result, for one day
// after somebody has, and otherwise as long as its caller says.
func TestHandleLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		begin := func(name string, retain time.Duration) *testWork {
			w := newTestWork()
			if err := g.h.handles.begin(t.Context(), name, w, retain); err != nil {
				t.Fatal(err)
			}
			return w
		}
		end := func(w *testWork) {
			w.ended <- nil
			synctest.Wait()
		}
		end(begin("left", 0))
		time.Sleep(uncollected - time.Minute)
		if body := g.ask(t, "GET", "/operations/left?output=text", 200); body != "finished: yes text" {
			t.Errorf("it says %q", body)
		}
		time.Sleep(collected - time.Minute)
		g.ask(t, "GET", "/operations/left", 200) // and so for another day
		time.Sleep(collected + time.Minute)
		g.ask(t, "GET", "/operations/left", 404)

		end(begin("unasked", 0))
		time.Sleep(uncollected + time.Minute)
		g.ask(t, "GET", "/operations/unasked", 404)

		// While it runs it is not forgotten, unless the caller said so.
		w := begin("long", 0)
		time.Sleep(10 * 24 * time.Hour)
		if body := g.ask(t, "GET", "/operations/long/?t=status", 200); body != "finished: no " {
			t.Errorf("it says %q", body)
		}
		end(w)
		time.Sleep(uncollected - time.Minute)
		g.ask(t, "GET", "/operations/long?retain-for=60", 200)
		time.Sleep(61 * time.Second)
		g.ask(t, "GET", "/operations/long", 404)

		w = begin("short", time.Minute)
		time.Sleep(61 * time.Second)
		<-w.cancel
		g.ask(t, "GET", "/operations/short", 404)

		end(begin("kept", 20*24*time.Hour))
		time.Sleep(19 * 24 * time.Hour)
		g.ask(t, "GET", "/operations/kept?release-after-complete=true", 200)
		g.ask(t, "GET", "/operations/kept", 404)

		begin("running", 0)
		g.ask(t, "GET", "/operations/running?release-after-complete=true", 200)
		g.ask(t, "GET", "/operations/running", 200)
		w = begin("running", 0) // in the place of the first
		g.ask(t, "GET", "/operations/running?retain-for=x", 400)
		g.ask(t, "GET", "/operations/running?t=cancel", 400)
		g.ask(t, "DELETE", "/operations/running", 405)
		g.ask(t, "GET", "/operations/running/abc", 404)
		g.ask(t, "GET", "/operations", 405)
		g.ask(t, "POST", "/operations/running?t=cancel&output=text", 200)
		<-w.cancel
		g.ask(t, "GET", "/operations/running", 404)

		w = begin("failing", 0)
		w.ended <- errors.New("it was too hard")
		synctest.Wait()
		if body := g.ask(t, "GET", "/operations/failing", 500); !strings.Contains(body, "too hard") {
			t.Errorf("a failure says %q", body)
		}

		// There are only so many. Those that have ended make room.
		for i := range 2 * maxHandles {
			end(begin("many"+string(rune('a'+i%26))+time.Duration(i).String(), 0))
		}
		if n := len(g.h.handles.all); n != maxHandles {
			t.Errorf("%d handles are kept", n)
		}
		for i := range maxHandles {
			begin("still"+time.Duration(i).String(), 0)
		}
		if err := g.h.handles.begin(t.Context(), "one more", newTestWork(), 0); err == nil || translate(err).status != http.StatusServiceUnavailable {
			t.Errorf("one more than there may be: %v", err)
		}
		begin("still0s", 0) // that name is taken already, so it is not one more
	})
}

// deep operations over a small tree.
func TestDeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		dir := g.mkdir(t)
		put := func(path, content string) {
			t.Helper()
			resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri/"+dir+"/"+path, strings.NewReader(content)))
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("PUT %s: %d %s", path, resp.StatusCode, body)
			}
		}
		put("a/b/small", "small")
		put("a/large", string(pattern(5000)))
		put("%C3%A4%3Cscript%3E", "odd")
		put("m?format=sdmf", "mutable")
		resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri/"+dir+"/a/b/cycle?t=uri", strings.NewReader(dir)))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}

		lines := strings.Split(strings.TrimSpace(g.ask(t, "POST", "/uri/"+dir+"?t=stream-manifest", 200)), "\n")
		paths := map[string]string{}
		for _, line := range lines[:len(lines)-1] {
			var l struct {
				Type                      string
				Path                      []string
				Cap, Verifycap, Repaircap string
				SI                        string `json:"storage-index"`
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			paths[strings.Join(l.Path, "/")] = l.Type
		}
		want := map[string]string{"": "directory", "a": "directory", "a/b": "directory", "a/b/small": "file", "a/large": "file", "ä<script>": "file", "m": "file"}
		for p, kind := range want {
			if paths[p] != kind {
				t.Errorf("the stream has %q as %q, want %q", p, paths[p], kind)
			}
		}
		var last struct {
			Type  string
			Stats map[string]any
		}
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Type != "stats" || len(paths) != len(want) {
			t.Errorf("the stream is %q", lines)
		}

		start := func(kind, more string) string {
			t.Helper()
			resp, body := g.do(t, g.request(t, t.Context(), "POST", "/uri/"+dir+"?t="+kind+"&ophandle=h-"+kind+more, nil))
			if where := resp.Header.Get("Location"); resp.StatusCode != http.StatusFound || where != "/operations/h-"+kind+strings.Replace(more, "&", "?", 1) {
				t.Errorf("%s: %d to %q: %s", kind, resp.StatusCode, where, body)
			}
			synctest.Wait()
			return "/operations/h-" + kind
		}
		at := start("start-manifest", "&output=text")
		if text := g.ask(t, "GET", at+"?output=text", 200); !strings.HasPrefix(text, "finished: yes\n "+dir+"\n") || !strings.Contains(text, "\na/b/small URI:LIT:") {
			t.Errorf("manifest as text:\n%s", text)
		}
		var m struct {
			Finished    bool
			Origin      string
			Manifest    [][2]any
			Verifycaps  []string
			Index       []string `json:"storage-index"`
			Stats       map[string]any
			otherFields any
		}
		if err := json.Unmarshal([]byte(g.ask(t, "GET", at+"?output=JSON", 200)), &m); err != nil {
			t.Fatal(err)
		}
		if !m.Finished || len(m.Origin) != 26 || len(m.Manifest) != 7 || len(m.Verifycaps) != 5 || len(m.Index) != 5 || m.Stats["count-files"] != 4.0 {
			t.Errorf("manifest as JSON: %+v", m)
		}
		if page := g.ask(t, "GET", at, 200); !strings.Contains(page, "<bdi>ä&lt;script&gt;</bdi>") || strings.Contains(page, "http-equiv") {
			t.Errorf("manifest as a page:\n%s", page)
		}
		at = start("start-deep-size", "")
		if text := g.ask(t, "GET", at+"?output=text", 200); !strings.HasPrefix(text, "finished: yes\nsize: ") {
			t.Errorf("deep-size is %q", text)
		}
		var size struct {
			Finished bool
			Size     map[string]any
		}
		if err := json.Unmarshal([]byte(g.ask(t, "GET", at+"?output=json", 200)), &size); err != nil || !size.Finished || size.Size["size-immutable-files"] != 5000.0 {
			t.Errorf("deep-size as JSON is %+v, %v", size, err)
		}
		var stats map[string]any
		if err := json.Unmarshal([]byte(g.ask(t, "GET", start("start-deep-stats", ""), 200)), &stats); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{"finished": true, "api-version": 1.0, "count-directories": 3.0, "count-files": 4.0, "count-immutable-files": 1.0,
			"count-literal-files": 2.0, "count-mutable-files": 1.0, "count-unknown": 0.0, "largest-directory-children": 3.0, "largest-immutable-file": 5000.0} {
			if stats[name] != want {
				t.Errorf("deep-stats: %s is %v, want %v", name, stats[name], want)
			}
		}
		at = start("start-deep-check", "&output=html")
		var check struct {
			Finished  bool
			Checked   int            `json:"count-objects-checked"`
			Healthy   int            `json:"count-objects-healthy"`
			Unhealthy [][2]any       `json:"list-unhealthy-files"`
			Stats     map[string]any `json:"stats"`
		}
		if err := json.Unmarshal([]byte(g.ask(t, "GET", at+"?output=json", 200)), &check); err != nil || !check.Finished || check.Checked != 5 || check.Healthy != 5 ||
			len(check.Unhealthy) != 0 || check.Stats["count-files"] != 4.0 {
			t.Errorf("deep-check is %+v, %v", check, err)
		}
		g.grid.faults[2].Always(faultstore.ReadSlot, faultstore.Fault{Err: errors.New("away")})
		at = start("start-deep-check", "")
		if err := json.Unmarshal([]byte(g.ask(t, "GET", at+"?output=json", 200)), &check); err != nil || check.Healthy != 1 || len(check.Unhealthy) != 4 {
			t.Errorf("deep-check of a sick tree is %+v, %v", check, err)
		}
		page := g.ask(t, "GET", at, 200)
		_, link, _ := strings.Cut(page, `<a href="`+at+"/")
		link, _, _ = strings.Cut(link, `"`)
		if page := g.ask(t, "GET", at+"/"+link, 200); len(link) != 26 || !strings.Contains(page, " has 4 shares (enc 3-of-5)") {
			t.Errorf("one object's result at %q: %s", link, page)
		}
		g.ask(t, "GET", at+"/aaaaaaaaaaaaaaaaaaaaaaaaaa", 404)
		g.ask(t, "POST", "/uri/"+dir+"?t=start-manifest", 400)
		g.ask(t, "POST", "/uri/"+dir+"?t=start-manifest&ophandle="+strings.Repeat("x", 300), 400)
		g.ask(t, "POST", "/uri/"+dir+"?t=start-manifest&ophandle=x&retain-for=-1", 400)
		g.ask(t, "POST", "/uri/"+dir+"/nothing?t=start-manifest&ophandle=x", 404)
		g.ask(t, "GET", at+"?output=xml", 400)
	})
}

// The node stops while an operation runs.
func TestHandlesStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		w := newTestWork()
		if err := g.h.handles.begin(t.Context(), "running", w, 0); err != nil {
			t.Fatal(err)
		}
		g.stop()
		<-w.cancel
		if err := g.h.handles.begin(t.Context(), "late", newTestWork(), 0); err == nil {
			t.Error("an operation began after the gateway's end")
		}
	})
}

// Of long lists the oldest are forgotten first, and short results stay.
func TestHandlesAreLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		begin := func(name string, heavy int64) {
			t.Helper()
			w := newTestWork()
			w.heavy = heavy
			w.ended <- nil
			if err := g.h.handles.begin(t.Context(), name, w, 0); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		begin("short", 0)
		begin("one", maxManifest/2)
		begin("two", maxManifest/2)
		begin("three", 1)
		for _, name := range []string{"short", "one", "two", "three"} {
			g.ask(t, "GET", "/operations/"+name+"?output=text", 200)
		}
		begin("four", 0)
		for name, status := range map[string]int{"short": 200, "one": 404, "two": 200, "three": 200, "four": 200} {
			g.ask(t, "GET", "/operations/"+name+"?output=text", status)
		}
	})
}

// slowReader takes nothing until it is released.
type slowReader struct {
	header http.Header
	free   chan struct{}
}

func (w *slowReader) Header() http.Header { return w.header }
func (w *slowReader) WriteHeader(int)     {}
func (w *slowReader) Write(p []byte) (int, error) {
	<-w.free
	return len(p), nil
}

// Whoever reads a list slowly does not keep it from growing.
func TestSlowReaderOfManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 0, nil)
		w := &deepWork{h: g.h, kind: manifest, items: []manifestItem{{[]string{"a"}, "x"}}}
		hd := &handle{name: "h", work: w, done: make(chan struct{})}
		for _, output := range []string{"text", "json", "html"} {
			out := &slowReader{http.Header{}, make(chan struct{})}
			q := &request{response: &response{ResponseWriter: out}, r: g.request(t, t.Context(), "GET", "/operations/h", nil)}
			shown := make(chan error, 1)
			go func() { shown <- w.show(q, hd, output) }()
			synctest.Wait()
			if len(shown) > 0 {
				t.Errorf("%s: it did not wait: %v", output, <-shown)
			}
			if !w.mu.TryLock() {
				t.Errorf("%s: the walk is held up", output)
			} else {
				w.mu.Unlock()
			}
			close(out.free)
			if err := <-shown; err != nil {
				t.Errorf("%s: %v", output, err)
			}
		}
	})
}
