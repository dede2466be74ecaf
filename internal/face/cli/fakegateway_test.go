package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/network/netx"
)

// fakeGateway is the web API over a map, as far as commands need it.
type fakeGateway struct {
	URL string

	mu       sync.Mutex                // guards below
	objects  map[caps.Cap]*fakeObject  // by read cap
	requests []string                  // method, path without caps, t
	refuse   func(r *http.Request) int // a status to answer with; nil: none

	hold func(r *http.Request) // called before a request is served, without mu; nil: none. Set it between commands
}

type fakeObject struct {
	write    caps.Cap // nil: immutable
	data     []byte
	children map[string]fakeChild // nil: a file
}

type fakeChild struct {
	cap      caps.Cap
	metadata json.RawMessage
}

func newFakeGateway(t *testing.T) *fakeGateway {
	g := &fakeGateway{objects: map[caps.Cap]*fakeObject{}}
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	at, err := netx.AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	g.URL = fmt.Sprintf("http://127.0.0.1:%d/", at.Port)
	srv := &http.Server{Handler: g}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Shutdown(context.Background())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return g
}

// asked forgets the requests so far and returns them.
func (g *fakeGateway) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.requests
	g.requests = nil
	return r
}

func newSSK(mdmf bool) caps.SSK {
	var key [16]byte
	var print [32]byte
	rand.Read(key[:])
	rand.Read(print[:])
	return caps.SSK{WriteKey: caps.NewKey(key), Fingerprint: print, MDMF: mdmf}
}

func (g *fakeGateway) add(c caps.Cap, o *fakeObject) caps.Cap {
	read, _ := caps.Read(c)
	if caps.Writable(c) {
		o.write = c
	}
	g.objects[read] = o
	return c
}

func (g *fakeGateway) mkdir(children map[string]fakeChild) caps.Cap {
	d, err := caps.NewDir(newSSK(false))
	if err != nil {
		panic(err)
	}
	return g.add(d, &fakeObject{children: children})
}

func (g *fakeGateway) store(data []byte, format string) caps.Cap {
	switch {
	case format == "SDMF" || format == "MDMF":
		return g.add(newSSK(format == "MDMF"), &fakeObject{data: data})
	case len(data) <= caps.MaxLIT:
		return caps.NewLIT(data)
	}
	sum := sha256.Sum256(data)
	return g.add(caps.CHK{Key: caps.NewKey([16]byte(sum[:16])), UEBHash: sum, K: 1, N: 1, Size: int64(len(data))}, &fakeObject{data: data})
}

func (g *fakeGateway) object(c caps.Cap) *fakeObject {
	if lit, ok := c.(caps.LIT); ok {
		return &fakeObject{data: lit.Data()}
	}
	read, _ := caps.Read(c)
	return g.objects[read]
}

// refusal is an answer that ends a request.
type refusal struct {
	status int
	text   string
}

func no(status int, text string) { panic(refusal{status, text}) }

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if g.hold != nil {
		g.hold(r)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		switch e := recover().(type) {
		case nil:
		case refusal:
			w.WriteHeader(e.status)
			fmt.Fprintln(w, e.text)
		default:
			panic(e)
		}
	}()
	q := r.URL.Query()
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	line := r.Method
	if len(parts) > 1 && parts[0] == "uri" {
		line += " " + strings.Join(append([]string{"CAP"}, parts[2:]...), "/")
	} else {
		line += " " + parts[0]
	}
	if q.Get("t") != "" {
		line += " " + q.Get("t")
	}
	g.requests = append(g.requests, line)
	if g.refuse != nil {
		if status := g.refuse(r); status != 0 {
			no(status, "Refused, as the test wants it.")
		}
	}
	switch {
	case parts[0] == "operations":
		fmt.Fprint(w, `{"finished": true, "count-files": 2, "count-directories": 1, "size-immutable-files": 123456, "size-files-histogram": [[0, 0, 1], [101, 316, 1]]}`)
	case parts[0] != "uri":
		no(404, "No such page.")
	case len(parts) == 1:
		g.unlinked(w, r, q, body)
	default:
		root, err := caps.Parse(parts[1])
		if err != nil {
			no(400, "A malformed cap.")
		}
		g.at(w, r, q, root, parts[2:], body)
	}
}

func (g *fakeGateway) unlinked(w io.Writer, r *http.Request, q url.Values, body []byte) {
	switch r.Method + " " + q.Get("t") {
	case "PUT ":
		fmt.Fprintln(w, g.store(body, q.Get("format")).Reveal())
	case "POST mkdir", "POST mkdir-with-children":
		fmt.Fprintln(w, g.mkdir(readChildren(body)).Reveal())
	default:
		no(400, "Not in the fake.")
	}
}

// readChildren reads the children of a body.
func readChildren(body []byte) map[string]fakeChild {
	children := map[string]fakeChild{}
	var in map[string][2]json.RawMessage
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		no(400, "No children.")
	}
	for name, pair := range in {
		var facts struct {
			RW       string          `json:"rw_uri"`
			RO       string          `json:"ro_uri"`
			Metadata json.RawMessage `json:"metadata"`
		}
		json.Unmarshal(pair[1], &facts)
		children[name] = fakeChild{caps.Keep(firstOf(facts.RW, facts.RO), caps.Anywhere), facts.Metadata}
	}
	return children
}

// find walks to a place. Of what is missing it makes directories if it is
// told to; otherwise found is nil.
func (g *fakeGateway) find(root caps.Cap, path []string, make bool) (found caps.Cap) {
	for _, name := range path {
		dir := g.object(root)
		if dir == nil || dir.children == nil {
			no(400, "A file has no children.")
		}
		next, there := dir.children[name]
		switch {
		case !there && !make:
			return nil
		case !there:
			next.cap = g.mkdir(map[string]fakeChild{})
			dir.children[name] = next
		}
		root = next.cap
	}
	return root
}

func (g *fakeGateway) set(dir caps.Cap, name string, c fakeChild, replace string) {
	o := g.object(dir)
	switch {
	case o == nil || o.children == nil:
		no(400, "Not a directory.")
	case !caps.Writable(dir):
		no(500, "The directory can only be read.")
	}
	if old, there := o.children[name]; there && (replace == "false" || replace == "only-files" && caps.IsDir(old.cap)) {
		no(409, "There is one already.")
	}
	o.children[name] = c
}

func (g *fakeGateway) at(w http.ResponseWriter, r *http.Request, q url.Values, root caps.Cap, path []string, body []byte) {
	last := len(path) - 1
	there := func() caps.Cap {
		c := g.find(root, path, false)
		if c == nil {
			no(404, "There is no such child.")
		}
		return c
	}
	switch r.Method + " " + q.Get("t") {
	case "GET json":
		json.NewEncoder(w).Encode(g.describe(there(), nil, true))
	case "GET ":
		c := there()
		o := g.object(c)
		if o == nil {
			no(410, "Not enough shares.")
		}
		if o.children != nil {
			fmt.Fprint(w, "<html>a directory</html>")
			return
		}
		w.Header().Set("Accept-Ranges", "bytes")
		w.Write(o.data)
	case "PUT ":
		if c := g.find(root, path, false); c != nil && caps.Mutable(c) && !caps.IsDir(c) {
			g.object(c).data = body
			fmt.Fprintln(w, c.Reveal())
			return
		}
		if last < 0 {
			no(405, "The file is immutable.")
		}
		_, old := g.object(g.find(root, path[:last], true)).children[path[last]]
		c := g.store(body, q.Get("format"))
		g.set(g.find(root, path[:last], true), path[last], fakeChild{cap: c}, q.Get("replace"))
		if !old {
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprintln(w, c.Reveal())
	case "PUT uri":
		c, _ := caps.Parse(string(body))
		g.set(g.find(root, path[:last], true), path[last], fakeChild{cap: c}, q.Get("replace"))
		fmt.Fprintln(w, c.Reveal())
	case "POST mkdir":
		fmt.Fprintln(w, g.find(root, path, true).Reveal())
	case "POST mkdir-with-children":
		c := g.mkdir(readChildren(body))
		g.set(g.find(root, path[:last], true), path[last], fakeChild{cap: c}, "false")
		fmt.Fprintln(w, c.Reveal())
	case "POST set_children":
		dir := there()
		for name, c := range readChildren(body) {
			g.set(dir, name, c, q.Get("replace"))
		}
	case "DELETE ":
		c := there()
		delete(g.object(g.find(root, path[:last], false)).children, path[last])
		fmt.Fprintln(w, c.Reveal())
	case "POST rename", "POST relink":
		dir := there()
		child, ok := g.object(dir).children[q.Get("from_name")]
		if !ok {
			no(404, "There is no such child.")
		}
		into := dir
		if to := q.Get("to_dir"); to != "" {
			text, rest, below := strings.Cut(to, "/")
			into, _ = caps.Parse(text)
			if below {
				if into = g.find(into, strings.Split(rest, "/"), false); into == nil {
					no(404, "There is no such directory.")
				}
			}
		}
		if into == dir && q.Get("from_name") == q.Get("to_name") {
			return
		}
		g.set(into, q.Get("to_name"), child, q.Get("replace"))
		delete(g.object(dir).children, q.Get("from_name"))
	case "POST stream-manifest":
		g.walk(there(), []string{}, func(line any) { json.NewEncoder(w).Encode(line) })
		fmt.Fprintln(w, `{"type": "stats", "stats": {}}`)
	case "POST start-deep-stats":
		there()
		http.Redirect(w, r, "/operations/x", http.StatusFound)
	default:
		no(501, "Not in the fake.")
	}
}

// describe is t=json of an object.
func (g *fakeGateway) describe(c caps.Cap, metadata json.RawMessage, deep bool) []any {
	facts := map[string]any{"mutable": caps.Mutable(c)}
	if caps.Writable(c) {
		facts["rw_uri"] = c.Reveal()
	}
	if read, ok := caps.Read(c); ok {
		facts["ro_uri"] = read.Reveal()
	} else {
		facts["ro_uri"] = c.Reveal()
	}
	if metadata != nil {
		facts["metadata"] = metadata
	}
	o := g.object(c)
	switch {
	case o == nil:
		return []any{"unknown", facts}
	case o.children == nil:
		facts["size"] = len(o.data)
		return []any{"filenode", facts}
	}
	if deep {
		children := map[string]any{}
		for name, child := range o.children {
			children[name] = g.describe(child.cap, child.metadata, false)
		}
		facts["children"] = children
	}
	return []any{"dirnode", facts}
}

func (g *fakeGateway) walk(c caps.Cap, path []string, f func(any)) {
	o := g.object(c)
	kind := "file"
	if o != nil && o.children != nil {
		kind = "directory"
	}
	verify := ""
	if v, ok := caps.Verifier(c); ok {
		verify = v.Reveal()
	}
	f(map[string]any{"type": kind, "path": path, "cap": c.Reveal(), "verifycap": verify})
	if o == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(o.children)) {
		g.walk(o.children[name].cap, append(path[:len(path):len(path)], name), f)
	}
}
