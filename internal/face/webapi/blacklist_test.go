package webapi

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
)

// barredGateway is a gateway with a blacklist, which bar writes.
func barredGateway(t *testing.T) (g *gateway, bar func(caps ...string)) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "access.blacklist")
	g = newGateway(t, 5, func(c *Config) {
		c.Blacklist = blacklist.New(name, c.Log)
		c.Store = filestore.New(filestore.Config{Mutable: c.Mutable, Immutable: c.Files.(*immutable.Client), Directories: c.Directories, Blacklist: c.Blacklist})
	})
	at := time.Unix(1_700_000_000, 0)
	return g, func(list ...string) {
		t.Helper()
		var b strings.Builder
		for _, text := range list {
			c, err := caps.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			si, ok := caps.Index(c)
			if !ok {
				t.Fatalf("no storage index: %s", c.Kind())
			}
			b.WriteString(si.String() + " a <b>judge</b> said so\n")
		}
		at = at.Add(time.Second)
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// expect sends requests and compares status and, if has is not empty, a part
// of the body.
func (g *gateway) expect(t *testing.T, method, url, body, accept string, status int, has string) {
	t.Helper()
	req := g.request(t, t.Context(), method, url, strings.NewReader(body))
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, text := g.do(t, req)
	if resp.StatusCode != status || !strings.Contains(text, has) {
		t.Errorf("%s …%s: %d %.400s; want %d with %q", method, url[max(0, len(url)-30):], resp.StatusCode, text, status, has)
	}
}

func TestBlacklist(t *testing.T) {
	g, bar := barredGateway(t)
	put := func(url, body string) string {
		t.Helper()
		resp, text := g.do(t, g.request(t, t.Context(), "PUT", url, strings.NewReader(body)))
		if resp.StatusCode/100 != 2 {
			t.Fatalf("PUT: %d %s", resp.StatusCode, text)
		}
		return text
	}
	root := g.mkdir(t)
	at := "/uri/" + root + "/"
	file, mutable := put(at+"file", string(pattern(500))), put(at+"mutable?format=SDMF", "first")
	sub := put(at+"sub?t=mkdir", "")
	put(at+"sub/below", string(pattern(600)))
	const no = "Access Prohibited: a <b>judge</b> said so"

	bar(file, mutable, sub)
	for _, tt := range []struct {
		method, url, body string
		status            int
		has               string
	}{
		{"GET", "/uri/" + file, "", 403, no},
		{"GET", "/uri/" + file + "?t=", "", 403, no},
		{"GET", "/file/" + file + "/@@named=/x", "", 403, no},
		{"GET", at + "file", "", 403, no},
		{"HEAD", at + "file", "", 403, ""},
		{"GET", "/uri/" + mutable, "", 403, no},
		{"PUT", "/uri/" + mutable, "second", 403, no},
		{"PUT", "/uri/" + mutable + "?offset=2", "second", 403, no},
		{"PUT", at + "mutable", "second", 403, no},
		{"POST", "/uri/" + mutable + "?t=check&repair=true&output=json", "", 200, `"repair-attempted": false`},
		{"POST", "/uri/" + file + "?t=check&repair=true&output=json", "", 200, `"repair-attempted": false`},
		{"GET", "/uri/" + sub + "/", "", 403, no},
		{"GET", "/uri/" + sub + "?t=json", "", 403, no},
		{"GET", at + "sub?t=json", "", 403, no},
		{"GET", at + "sub/below", "", 403, no},
		{"GET", "/uri/" + sub + "?t=unlink-form&name=below", "", 403, no},
		{"PUT", at + "sub/new", "x", 403, no},
		{"PUT", at + "sub/a/new", "x", 403, no},
		{"PUT", at + "sub/new?t=mkdir", "", 403, no},
		{"PUT", at + "sub/new?t=uri", file, 403, no},
		{"DELETE", at + "sub/below", "", 403, no},
		{"POST", at + "sub?t=mkdir&name=new", "", 403, no},
		{"POST", at + "sub?t=set_children", "{}", 403, no},
		{"POST", at + "sub?t=rename&from_name=below&to_name=new", "", 403, no},
		{"POST", at + "?t=relink&from_name=file&to_dir=" + sub, "", 403, no},
		{"POST", "/uri/" + sub + "?t=stream-manifest", "", 403, no},

		// What it is may be known, and where it is linked.
		{"GET", "/uri/" + file + "?t=json", "", 200, `"size": 500`},
		{"GET", at + "file?t=json", "", 200, `"size": 500`},
		{"GET", "/uri/" + mutable + "?t=json", "", 200, `"filenode"`},
		{"GET", "/uri/" + file + "?t=uri", "", 200, file},
		{"GET", at + "?t=json", "", 200, `"sub"`},
		{"POST", "/uri/" + file + "?t=check&output=json", "", 200, `"healthy": true`},
		{"POST", at + "?t=stream-manifest", "", 200, `"count-directories":2`},
		{"POST", at + "?t=stream-deep-check", "", 200, `"count-directories":2`},
		{"POST", at + "?t=rename&from_name=file&to_name=other", "", 200, ""},
		{"PUT", at + "other?replace=false", "x", 409, ""},
		{"PUT", at + "other", "allowed", 200, ""},
		{"DELETE", at + "sub", "", 200, sub},
	} {
		g.expect(t, tt.method, tt.url, tt.body, "", tt.status, tt.has)
	}
	if s := g.log.String(); !strings.Contains(s, "access prohibited") {
		t.Errorf("the log does not tell:\n%s", s)
	}
	bar()
	g.expect(t, "GET", "/uri/"+file, "", "", 200, string(pattern(500)))
	g.expect(t, "GET", "/uri/"+sub+"/below", "", "", 200, string(pattern(600)))
}

// A browser that has a file is not told that it may show it.
func TestBlacklistCached(t *testing.T) {
	g, bar := barredGateway(t)
	_, file := g.do(t, g.request(t, t.Context(), "PUT", "/uri", strings.NewReader(string(pattern(500)))))
	resp, _ := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+file, nil))
	bar(file)
	req := g.request(t, t.Context(), "GET", "/uri/"+file, nil)
	req.Header.Set("If-None-Match", resp.Header.Get("Etag"))
	if resp, body := g.do(t, req); resp.StatusCode != http.StatusForbidden {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestBlacklistPages(t *testing.T) {
	g, bar := barredGateway(t)
	root := g.mkdir(t)
	_, file := g.do(t, g.request(t, t.Context(), "PUT", "/uri/"+root+"/file", strings.NewReader(string(pattern(500)))))
	bar(file)
	const no = "rohibited: a &lt;b&gt;judge&lt;/b&gt; said so"
	g.expect(t, "GET", "/uri/"+root+"/", "", "text/html", 200, "<td>p"+no)
	g.expect(t, "GET", "/uri/"+root+"/file", "", "text/html", 403, no)
	g.expect(t, "GET", "/uri/"+file+"?t=info", "", "text/html", 200, no)
	g.expect(t, "POST", "/uri/"+file+"?t=check", "", "text/html", 200, "No server was asked.</b> Not checked: Access P"+no)
}
