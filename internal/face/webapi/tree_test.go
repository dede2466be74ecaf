package webapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mkdir makes a directory and returns its cap.
func (g *gateway) mkdir(t testing.TB) string {
	t.Helper()
	resp, body := g.do(t, g.request(t, t.Context(), "PUT", "/uri?t=mkdir", nil))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("mkdir: %d %s", resp.StatusCode, body)
	}
	return body
}

// The Python gateway was given these children and showed them so, byte for
// byte.
func TestGoldenJSON(t *testing.T) {
	g := newGateway(t, 5, nil)
	var golden struct {
		PrivateKey string            `json:"private_key"`
		Children   json.RawMessage   `json:"children"`
		Caps       map[string]string `json:"caps"`
		JSON       map[string]string `json:"json"`
	}
	text, err := os.ReadFile("testdata/directory.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	resp, body := g.do(t, g.request(t, t.Context(), "POST", "/uri?t=mkdir-with-children&private-key="+golden.PrivateKey, bytes.NewReader(golden.Children)))
	if resp.StatusCode != http.StatusOK || body != golden.Caps["root"] {
		t.Fatalf("with the key of the golden directory: %d %s, want %s", resp.StatusCode, body, golden.Caps["root"])
	}
	for _, name := range []string{"root", "root_readonly", "imm-lit-dir"} {
		resp, body := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+golden.Caps[name]+"?t=json", nil))
		if resp.StatusCode != http.StatusOK || body != golden.JSON[name] {
			t.Errorf("t=json of %s: %d\n%s", name, resp.StatusCode, cmp.Diff(golden.JSON[name], body))
		}
	}
	// What is shown can be given back.
	var shown []json.RawMessage
	var dir struct{ Children json.RawMessage }
	if json.Unmarshal([]byte(golden.JSON["root"]), &shown) != nil || json.Unmarshal(shown[1], &dir) != nil {
		t.Fatal("the golden JSON is not well formed")
	}
	_, again := g.do(t, g.request(t, t.Context(), "POST", "/uri?t=mkdir-with-children", bytes.NewReader(dir.Children)))
	_, list := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+again+"?t=json", nil))
	var got struct{ Children json.RawMessage }
	if json.Unmarshal([]byte(list), &shown) != nil || json.Unmarshal(shown[1], &got) != nil || !bytes.Equal(got.Children, dir.Children) {
		t.Errorf("given back it is shown as\n%s", cmp.Diff(string(dir.Children), string(got.Children)))
	}
}

// A directory of 20,000 children is shown a page at a time, found in, and
// listed whole as JSON.
func TestLargeDirectory(t *testing.T) {
	g := newGateway(t, 5, nil)
	var b bytes.Buffer
	const n = 20_000
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"child %05d": ["filenode", {"ro_uri": "URI:LIT:nbswy3dp"}]`, i)
	}
	b.WriteByte('}')
	_, dir := g.do(t, g.request(t, t.Context(), "POST", "/uri?t=mkdir-with-children", &b))
	if !strings.HasPrefix(dir, "URI:DIR2:") {
		t.Fatal(dir)
	}
	page := g.ask(t, "GET", "/uri/"+dir+"/", 200)
	if rows := strings.Count(page, "<tr>") - 1; rows != rowsMost || !strings.Contains(page, "20,000 children") || !strings.Contains(page, "after=child%2000999") {
		t.Errorf("the first page has %d rows: %.3000s", rows, page)
	}
	page = g.ask(t, "GET", "/uri/"+dir+"/?after=child%2019990", 200)
	if rows := strings.Count(page, "<tr>") - 1; rows != 9 || strings.Contains(page, ">More<") || !strings.Contains(page, "From the start") {
		t.Errorf("the last page has %d rows", rows)
	}
	page = g.ask(t, "GET", "/uri/"+dir+"/?find=777", 200)
	if rows := strings.Count(page, "<tr>") - 1; rows != 38 || !strings.Contains(page, "38 with") {
		t.Errorf("what was looked for has %d rows", rows)
	}
	start := time.Now()
	var pair []json.RawMessage
	var got struct {
		Children map[string]json.RawMessage
	}
	list := g.ask(t, "GET", "/uri/"+dir+"/?t=json", 200)
	if json.Unmarshal([]byte(list), &pair) != nil || json.Unmarshal(pair[1], &got) != nil || len(got.Children) != n {
		t.Errorf("as JSON there are %d children", len(got.Children))
	}
	t.Logf("%d children as JSON, %d bytes, in %v", n, len(list), time.Since(start))
}

// What the guard keeps from files it keeps from directories.
func TestGuardTree(t *testing.T) {
	g := newGateway(t, 5, nil)
	dir := g.mkdir(t)
	g.ask(t, "POST", "/uri/"+dir+"?t=uri&name=a&uri=URI:LIT:nbswy3dp", 200)
	for _, tt := range []struct{ method, path string }{
		{"PUT", "/uri?t=mkdir"}, {"POST", "/uri?t=mkdir"}, {"POST", "/uri?t=mkdir-with-children"},
		{"PUT", "/uri/" + dir + "/planted"}, {"PUT", "/uri/" + dir + "/planted?t=mkdir"}, {"PUT", "/uri/" + dir + "/planted?t=uri"},
		{"POST", "/uri/" + dir + "?t=mkdir&name=planted"}, {"POST", "/uri/" + dir + "?t=unlink&name=a"}, {"DELETE", "/uri/" + dir + "/a"},
		{"POST", "/uri/" + dir + "?t=rename&from_name=a&to_name=planted"}, {"POST", "/uri/" + dir + "?t=uri&name=planted&uri=URI:LIT:nbswy3dp"},
		{"POST", "/uri/" + dir + "?t=set_children"}, {"POST", "/uri/" + dir + "?t=start-manifest&ophandle=planted"}, {"POST", "/operations/planted?t=cancel"},
	} {
		for name, value := range map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"} {
			req := g.request(t, t.Context(), tt.method, tt.path, strings.NewReader("URI:LIT:nbswy3dp"))
			req.Header.Set(name, value)
			if resp, body := g.do(t, req); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s with %s: %d %s", tt.method, tt.path, name, resp.StatusCode, body)
			}
		}
	}
	// GET changes nothing, whatever it asks for.
	for _, what := range []string{"?t=mkdir&name=planted", "?t=unlink&name=a", "?t=uri&name=planted&uri=URI:LIT:nbswy3dp", "?t=rename&from_name=a&to_name=planted", "/planted?t=mkdir"} {
		g.do(t, g.request(t, t.Context(), "GET", "/uri/"+dir+what, nil))
	}
	if list := g.ask(t, "GET", "/uri/"+dir+"?t=json", 200); strings.Contains(list, "planted") || !strings.Contains(list, `"a": [`) {
		t.Errorf("a foreign page has changed the directory: %s", list)
	}
}
