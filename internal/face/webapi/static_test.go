package webapi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatic(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "public")
	for name, text := range map[string]string{
		"hello.txt": "hello", "sub/page.html": "<h1>page</h1>", "site/index.html": "<h1>index</h1>", "a <b> & #?.txt": "odd", "../secret": "not for you",
		".htpasswd": "not for you", ".git/config": "not for you", "sub/.env": "not for you",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	makePipe(t, filepath.Join(folder, "pipe"))
	g := newGateway(t, 0, func(c *Config) { c.Static = folder })
	for _, tt := range []struct {
		path   string
		status int
		kind   string
		has    string
	}{
		{"/static/hello.txt", 200, "text/plain; charset=utf-8", "hello"},
		{"/static/", 200, "text/html; charset=utf-8", `href="./a%20%3Cb%3E%20%26%20%23%3F.txt"`},
		{"/static", 302, "", ""},
		{"/static/sub", 302, "", ""},
		{"/static/sub/", 200, "text/html; charset=utf-8", "page.html"},
		{"/static/sub/page.html", 200, "text/html; charset=utf-8", "page"},
		{"/static/site/", 200, "text/html; charset=utf-8", "index"},
		{"/static/a%20%3Cb%3E%20%26%20%23%3F.txt", 200, "text/plain; charset=utf-8", "odd"},
		{"/static/nothing", 404, "", ""},
		{"/static/hello.txt/", 404, "", ""},
		{"/static/../secret", 404, "", ""},
		{"/static/%2e%2e/secret", 404, "", ""},
		{"/static/..%2Fsecret", 404, "", ""},
		{"/static/link", 404, "", ""},
		{"/static//etc/passwd", 404, "", ""},
		{"/static/%00", 404, "", ""},
		{"/static/.htpasswd", 404, "", ""},
		{"/static/%2ehtpasswd", 404, "", ""},
		{"/static/.git/config", 404, "", ""},
		{"/static/.git/", 404, "", ""},
		{"/static/sub/.env", 404, "", ""},
		{"/static/pipe", 404, "", ""},
	} {
		resp, body := g.do(t, g.request(t, t.Context(), "GET", tt.path, nil))
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.has) || tt.kind != "" && resp.Header.Get("Content-Type") != tt.kind {
			t.Errorf("GET %s: %d %s, want %d %s with %q:\n%s", tt.path, resp.StatusCode, resp.Header.Get("Content-Type"), tt.status, tt.kind, tt.has, body)
		}
		if strings.Contains(body, "not for you") || strings.Contains(body, ">.") || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("GET %s: %q, %q", tt.path, body, resp.Header.Get("Content-Security-Policy"))
		}
	}
	if resp, _ := g.do(t, g.request(t, t.Context(), "PUT", "/static/new", strings.NewReader("x"))); resp.StatusCode != 405 {
		t.Errorf("PUT: %d", resp.StatusCode)
	}
	without := newGateway(t, 0, nil)
	if resp, _ := without.do(t, without.request(t, t.Context(), "GET", "/static/", nil)); resp.StatusCode != 404 {
		t.Errorf("without web.static: %d", resp.StatusCode)
	}
	gone := newGateway(t, 0, func(c *Config) { c.Static = filepath.Join(dir, "nowhere") })
	if resp, _ := gone.do(t, gone.request(t, t.Context(), "GET", "/static/", nil)); resp.StatusCode != 404 {
		t.Errorf("without its folder: %d", resp.StatusCode)
	}
}
