package webapi

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client that falls silent is not waited for for ever, whatever it was about
// to send.
func TestSilentSenders(t *testing.T) {
	for name, url := range map[string]string{
		"children": "/uri?t=mkdir-with-children", "link": "/uri/URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/x?t=uri", "fields": "/uri?t=upload",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, 5, nil)
				r, w := io.Pipe()
				defer w.Close()
				go w.Write([]byte("{"))
				method := "POST"
				if name == "link" {
					method = "PUT"
				}
				req := g.request(t, t.Context(), method, url, r)
				if name == "fields" {
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				start := time.Now()
				resp, err := g.client.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				if took := time.Since(start); err == nil && resp.StatusCode != http.StatusRequestTimeout || took < 29*time.Minute || took > 31*time.Minute {
					t.Errorf("%v %v after %v", resp, err, took)
				}
			})
		})
	}
}

// A file that came with a request that made no sense is no fault of the
// gateway.
func TestUnusedFile(t *testing.T) {
	g := newGateway(t, 5, nil)
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "x")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(pattern(500))
	form.WriteField("when_done", "http://elsewhere.example/")
	form.Close()
	req := g.request(t, t.Context(), "POST", "/uri/"+g.mkdir(t)+"/?t=upload", &b)
	req.Header.Set("Content-Type", form.FormDataContentType())
	if resp, body := g.do(t, req); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	_, recent := g.h.ops.views("", nil)
	if len(recent) == 0 || recent[0].Type != upload || !strings.Contains(recent[0].Error, "was not stored: the answer to its request says why") {
		t.Errorf("in /status: %+v", recent)
	}
}

// Who makes an object with the key of another is told so, not that somebody
// else is at work.
func TestKeyTaken(t *testing.T) {
	g := newGateway(t, 5, nil)
	var golden struct {
		PrivateKey string `json:"private_key"`
	}
	text, err := os.ReadFile("testdata/directory.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	key := "&private-key=" + golden.PrivateKey
	g.expect(t, "PUT", "/uri?format=sdmf"+key, "one", "", 200, "URI:SSK:")
	const no = "with this key already"
	g.expect(t, "PUT", "/uri?format=sdmf"+key, "two", "", 409, no)
	g.expect(t, "POST", "/uri?t=mkdir"+key, "", "", 409, no)
	g.expect(t, "POST", "/uri/"+g.mkdir(t)+"/?t=mkdir&name=x"+key, "", "", 409, no)
}

// The lines of a stream are ASCII, as those of the Python gateway, so that no
// name in them can steer a terminal.
func TestStreamIsASCII(t *testing.T) {
	g := newGateway(t, 5, nil)
	name := "c1\u009b31m \u202e 🎉 ü \x1b"
	child, err := json.Marshal(map[string]any{name: []any{"filenode", map[string]string{"ro_uri": "URI:LIT:nbswy3dp"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, dir := g.do(t, g.request(t, t.Context(), "POST", "/uri?t=mkdir-with-children", bytes.NewReader(child)))
	for _, what := range []string{"stream-manifest", "stream-deep-check"} {
		_, text := g.do(t, g.request(t, t.Context(), "POST", "/uri/"+dir+"?t="+what, nil))
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
			t.Errorf("%s: %q", what, text[i:min(len(text), i+20)])
		}
		named := false
		for text := range strings.Lines(text) { // a check tells of what is done first
			var line struct{ Path []string }
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Errorf("%s: %q: %v", what, text, err)
			}
			named = named || len(line.Path) == 1 && line.Path[0] == name
		}
		if !named {
			t.Errorf("%s: %q, want the name %q", what, text, name)
		}
	}
}
