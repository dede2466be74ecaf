package webapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	g := newGateway(t, 0, nil)
	for _, tt := range []struct {
		name, host string
		header     http.Header
		ok         bool
	}{
		{"IPv4", "127.0.0.1:3456", nil, true},
		{"IPv4 without a port", "192.168.1.7", nil, true},
		{"IPv6", "[::1]:3456", nil, true},
		{"IPv6 without a port", "[fe80::1]", nil, true},
		{"localhost", "localhost", nil, true},
		{"localhost by ssh -L", "LocalHost:8080", nil, true},
		{"the name in web.port", "Gateway.Example:3456", nil, true},

		{"rebound name", "evil.example:3456", nil, false},
		{"name that looks like an address", "127.0.0.1.evil.example", nil, false},
		{"name that ends as ours", "localhost.evil.example", nil, false},
		{"name that begins as ours", "evillocalhost", nil, false},
		{"onion", "abc.onion", nil, false},
		{"short address", "127.1", nil, false},
		{"number", "2130706433", nil, false},
		{"single word", "gateway", nil, false},

		{"own form", "localhost:3456", http.Header{"Origin": {"http://localhost:3456"}, "Sec-Fetch-Site": {"same-origin"}}, true},
		{"own form at the usual port", "localhost", http.Header{"Origin": {"http://localhost"}}, true},
		{"own form, port written once", "localhost:80", http.Header{"Origin": {"http://localhost"}}, true},
		{"own form behind TLS", "localhost", http.Header{"Origin": {"https://localhost"}}, true},
		{"own form, IPv6", "[::1]:3456", http.Header{"Origin": {"http://[::1]:3456"}}, true},
		{"address bar", "localhost:3456", http.Header{"Sec-Fetch-Site": {"none"}}, true},

		{"foreign form", "localhost:3456", http.Header{"Origin": {"http://evil.example"}}, false},
		{"foreign form, TLS", "localhost:3456", http.Header{"Origin": {"https://evil.example"}}, false},
		{"no site", "localhost:3456", http.Header{"Origin": {"null"}}, false},
		{"no site, but they say it is ours", "localhost:3456", http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"same-origin"}}, false},
		{"empty origin", "localhost:3456", http.Header{"Origin": {""}}, false},
		{"other port", "localhost:3456", http.Header{"Origin": {"http://localhost:8080"}}, false},
		{"other name of this machine", "localhost:3456", http.Header{"Origin": {"http://127.0.0.1:3456"}}, false},
		{"other scheme", "localhost:3456", http.Header{"Origin": {"moz-extension://localhost:3456"}}, false},
		{"our name before an @", "localhost:3456", http.Header{"Origin": {"http://localhost:3456@evil.example"}}, false},
		{"a user before our name", "localhost:3456", http.Header{"Origin": {"http://user@localhost:3456"}}, false},
		{"two origins", "localhost:3456", http.Header{"Origin": {"http://localhost:3456", "http://evil.example"}}, false},
		{"foreign link", "localhost:3456", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
		{"foreign link, oddly written", "localhost:3456", http.Header{"Sec-Fetch-Site": {"Cross-Site"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
				req, err := http.NewRequest(method, "http://localhost:3456/?t=json", strings.NewReader("x"))
				if err != nil {
					t.Fatal(err)
				}
				req.Host = tt.host
				for name, values := range tt.header {
					req.Header[name] = values
				}
				resp, body := g.do(t, req)
				if got := resp.StatusCode != http.StatusForbidden; got != tt.ok {
					t.Errorf("%s: status %d: %s", method, resp.StatusCode, body)
				}
				if !tt.ok && tt.header == nil && (!strings.Contains(body, "http://localhost:3456/") || !strings.Contains(body, "web.port")) {
					t.Errorf("the cure is not named: %s", body)
				}
			}
		})
	}
}

// A request that the guard refuses must not have stored anything.
func TestGuardStoresNothing(t *testing.T) {
	g := newGateway(t, 5, nil)
	req, err := http.NewRequest("PUT", "http://localhost:3456/uri", strings.NewReader(string(pattern(5000))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "null")
	if resp, _ := g.do(t, req); resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
	if _, recent := g.h.ops.views("", nil); len(recent) != 0 {
		t.Errorf("an operation was begun: %+v", recent)
	}
}

func TestCensor(t *testing.T) {
	const cap = "URI:CHK:key:hash:3:5:100"
	for _, tt := range []struct{ in, want string }{
		{"/", "/"},
		{"/uri", "/uri"},
		{"/uri/", "/uri/"},
		{"/uri/" + cap, "/uri/[CENSORED]"},
		{"/cap/" + cap + "/child?t=json", "/cap/[CENSORED]?t=json"},
		{"/file/" + cap + "/@@named=/name", "/file/[CENSORED]"},
		{"/named/" + cap, "/named/[CENSORED]"},
		{"/" + cap, "/[CENSORED]"},
		{"/uri%2F" + cap, "/uri/[CENSORED]"},
		{"/uri?uri=" + cap + "&filename=secret.txt&save=true", "/uri?uri=[CENSORED]&filename=[CENSORED]&save=true"},
		{"/uri?private-key=abc&format=sdmf", "/uri?private-key=[CENSORED]&format=sdmf"},
		{"/uri?" + cap + "=1", "/uri?[CENSORED]"},
		{"/uri?t=" + cap, "/uri?t=[CENSORED]"},
		{"/status?operation=x&t=json", "/status?operation=[CENSORED]&t=json"},
	} {
		u, err := url.Parse(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		got := censor(u)
		for _, part := range strings.Split(tt.want, "&") { // the order of arguments is ours
			if !strings.Contains(got, strings.TrimPrefix(part, strings.SplitN(part, "?", 2)[0]+"?")) {
				t.Errorf("censor(%s) = %s, want %s", tt.in, got, tt.want)
			}
		}
		if len(got) != len(tt.want) {
			t.Errorf("censor(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func FuzzCensor(f *testing.F) {
	f.Add("/uri/", "t=json&uri=")
	f.Add("/", "")
	f.Add("/cap/x/", "save=")
	f.Fuzz(func(t *testing.T, path, query string) {
		const secret = "URI:CHK:secret"
		for _, u := range []*url.URL{{Path: path + secret, RawQuery: query}, {Path: path, RawQuery: query + secret}, {Path: path, RawQuery: query + url.QueryEscape(secret)}} {
			if s := censor(u); strings.Contains(s, "secret") && !strings.Contains(path+query, "secret") {
				t.Errorf("censor shows a cap: %s", s)
			}
		}
	})
}

func TestParseQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"x=a%20b%2F":    "a b/",
		"x=%(uri)s":     "%(uri)s",
		"x=100%":        "100%",
		"x=%4":          "%4",
		"x=%%41%4g%":    "%A%4g%",
		"t=%zz&x=after": "after",
		"x=a;b":         "", // no separator since HTML 5, and refused by net/url
	} {
		if got := parseQuery(raw).Get("x"); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func FuzzNextPage(f *testing.F) {
	for _, s := range []string{".", "/uri/%(uri)s", "http://localhost:3456/x", "//evil", "/\\evil", "javascript:x", "http:evil", "https://%(uri)s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, whenDone string) {
		next, err := nextPage(whenDone, "URI:LIT:aa", "localhost:3456")
		if err != nil {
			return
		}
		base := &url.URL{Scheme: "http", Host: "localhost:3456", Path: "/uri"}
		u, err := base.Parse(next)
		if err != nil || !strings.EqualFold(u.Hostname(), "localhost") || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q leads to %v, %v", whenDone, u, err)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-5", "bytes=5-3", "bytes=1-2,3-4", "bytes=99999999999999999999-", "bytes=0-99999999999999999999", "x"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		off, n, ok, err := parseRange(header, size)
		if ok && (err != nil || off < 0 || n < 1 || off > size || n > size-off) {
			t.Errorf("parseRange(%q, %d) = %d, %d, %v", header, size, off, n, err)
		}
	})
}
