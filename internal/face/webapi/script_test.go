package webapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The scripts in testdata are lists of requests and what must come of them:
//
//	PUT /uri?format=chk        a method and a path begin a step
//	Accept: text/html          headers of the request
//	body "text"                its body: quoted, or "pattern N" for N bytes
//	form NAME=VALUE            a field of a form
//	file NAME "text"           the file of a form, quoted or pattern N
//	-> 200 Content-Type=a/b    the status, and what a header must be; nothing: absent
//	is "text"                  the body exactly, quoted or "pattern FROM TO"
//	has text / hasnt text      somewhere in the body, or nowhere
//	save NAME                  keep the body as ${NAME}, and ${NAME%} quoted for URLs
//
// # begins a comment. Each step is checked for the headers that every answer
// must have, and errors for caps.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			g := newGateway(t, 5, nil)
			r := &runner{t: t, g: g, vars: map[string]string{}, path: path}
			for i, line := range strings.Split(string(b), "\n") {
				r.line = i + 1
				r.do(strings.TrimSpace(line))
			}
			if r.resp == nil {
				t.Errorf("%s: the last request expects nothing", path)
			}
		})
	}
}

type runner struct {
	t    *testing.T
	g    *gateway
	vars map[string]string
	path string
	line int

	req  *http.Request
	data []byte
	form *multipart.Writer
	buf  *bytes.Buffer // of form

	resp *http.Response // of the request, once it was sent
	body []byte
}

var requestLine = regexp.MustCompile(`^(GET|HEAD|PUT|POST|DELETE|OPTIONS|PATCH) (/\S*)$`)

func (r *runner) errorf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s:%d: %s", r.path, r.line, fmt.Sprintf(format, args...))
}

func (r *runner) do(line string) {
	r.t.Helper()
	line = r.expand(line)
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "" || line[0] == '#':
	case requestLine.MatchString(line):
		if r.req != nil && r.resp == nil {
			r.errorf("the request before this one expects nothing")
		}
		req, err := http.NewRequest(word, "http://localhost:3456"+rest, nil)
		if err != nil {
			r.t.Fatalf("%s:%d: %v", r.path, r.line, err)
		}
		*r = runner{t: r.t, g: r.g, vars: r.vars, path: r.path, line: r.line, req: req}
	case word == "body":
		r.data = r.bytes(rest)
	case word == "form":
		name, value, _ := strings.Cut(rest, "=")
		r.multipart().WriteField(name, value)
	case word == "file":
		name, content, _ := strings.Cut(rest, " ")
		w, _ := r.multipart().CreateFormFile("file", name)
		w.Write(r.bytes(content))
	case word == "->":
		r.send(rest)
	case word == "is":
		if want := r.bytes(rest); !bytes.Equal(r.body, want) {
			r.errorf("body is %.200q (%d bytes), want %.200q (%d bytes)", r.body, len(r.body), want, len(want))
		}
	case word == "has":
		if !strings.Contains(string(r.body), rest) {
			r.errorf("body has no %q: %s", rest, r.body)
		}
	case word == "hasnt":
		if strings.Contains(string(r.body), rest) {
			r.errorf("body has %q: %s", rest, r.body)
		}
	case word == "save":
		r.vars[rest] = string(r.body)
	case strings.HasSuffix(word, ":") && r.resp == nil:
		if name := strings.TrimSuffix(word, ":"); name == "Host" {
			r.req.Host = rest
		} else {
			r.req.Header.Add(name, rest)
		}
	default:
		r.t.Fatalf("%s:%d: what is %q?", r.path, r.line, line)
	}
}

func (r *runner) expand(line string) string {
	for name, value := range r.vars {
		line = strings.ReplaceAll(line, "${"+name+"}", value)
		line = strings.ReplaceAll(line, "${"+name+"%}", quote(value))
	}
	return line
}

// bytes reads "quoted", pattern N or pattern FROM TO.
func (r *runner) bytes(s string) []byte {
	if spec, ok := strings.CutPrefix(s, "pattern "); ok {
		from, to, two := strings.Cut(spec, " ")
		a, _ := strconv.Atoi(from)
		if !two {
			return pattern(a)
		}
		b, _ := strconv.Atoi(to)
		return pattern(b)[a:]
	}
	text, err := strconv.Unquote(s)
	if err != nil {
		r.t.Fatalf("%s:%d: %s: %v", r.path, r.line, s, err)
	}
	return []byte(text)
}

func (r *runner) multipart() *multipart.Writer {
	if r.form == nil {
		r.buf = &bytes.Buffer{}
		r.form = multipart.NewWriter(r.buf)
	}
	return r.form
}

func (r *runner) send(want string) {
	r.t.Helper()
	if r.form != nil {
		r.form.Close()
		r.data = r.buf.Bytes()
		r.req.Header.Set("Content-Type", r.form.FormDataContentType())
	}
	if r.data != nil {
		r.req.Body = io.NopCloser(bytes.NewReader(r.data))
		r.req.ContentLength = int64(len(r.data))
		if r.req.Header.Get("Transfer-Encoding") == "chunked" {
			r.req.ContentLength = -1
		}
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	resp, err := r.g.client.Do(r.req.WithContext(ctx))
	if err != nil {
		r.t.Fatalf("%s:%d: %v", r.path, r.line, err)
	}
	r.resp = resp
	defer resp.Body.Close()
	if r.body, err = io.ReadAll(resp.Body); err != nil {
		r.errorf("reading the body: %v", err)
	}
	fields := strings.Fields(want)
	if fmt.Sprint(resp.StatusCode) != fields[0] {
		r.errorf("status %d, want %s: %.300s", resp.StatusCode, fields[0], r.body)
	}
	rest := strings.TrimSpace(strings.TrimPrefix(want, fields[0]))
	for pair := range strings.SplitSeq(rest, " | ") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			if got := resp.Header.Get(strings.TrimSpace(name)); got != strings.TrimSpace(value) {
				r.errorf("%s is %q, want %q", name, got, value)
			}
		}
	}
	r.checkAlways()
}

// checkAlways looks for what must hold of every answer.
func (r *runner) checkAlways() {
	r.t.Helper()
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := r.resp.Header.Get(name); got != want {
			r.errorf("%s is %q, want %q", name, got, want)
		}
	}
	csp := r.resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		r.errorf("Content-Security-Policy is %q", csp)
	}
	if r.resp.StatusCode >= 400 {
		for name, value := range r.vars {
			if strings.Contains(string(r.body), value) {
				r.errorf("an error page shows ${%s}", name)
			}
		}
		if bytes.Contains(r.body, []byte("URI:CHK:")) || bytes.Contains(r.body, []byte("<script")) {
			r.errorf("an error page shows a cap or a script: %s", r.body)
		}
	}
}
