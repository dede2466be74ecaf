package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

// needles are byte strings that must not be found. They are many, and are
// looked for in one pass.
type needles struct {
	what   map[string]string
	starts map[[3]byte][]string
	filter [1 << 24 / 64]uint64 // the starts, as bits
}

func newNeedles() *needles {
	return &needles{what: map[string]string{}, starts: map[[3]byte][]string{}}
}

// add looks for text as it is, unless it is so short that it would be found by
// chance.
func (n *needles) add(what, text string) {
	if len(text) < 7 || n.what[text] != "" {
		return
	}
	n.what[text] = what
	start := [3]byte([]byte(text[:3]))
	n.starts[start] = append(n.starts[start], text)
	bit := uint32(start[0])<<16 | uint32(start[1])<<8 | uint32(start[2])
	n.filter[bit/64] |= 1 << (bit % 64)
}

// addSecret looks for raw bytes as they are and in the usual spellings.
func (n *needles) addSecret(what string, raw []byte) {
	for _, form := range []string{string(raw), base32.Encode(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw), fmt.Sprint(raw)} {
		n.add(what, form)
	}
}

// find returns where in text the first needle is, and which.
func (n *needles) find(text []byte) (at int, needle string) {
	var last uint32
	for i, b := range text {
		last = (last<<8 | uint32(b)) & 0xffffff
		if n.filter[last/64]&(1<<(last%64)) == 0 || i < 2 {
			continue
		}
		for _, needle := range n.starts[[3]byte(text[i-2:])] {
			if bytes.HasPrefix(text[i-2:], []byte(needle)) {
				return i - 2, needle
			}
		}
	}
	return -1, ""
}

// search reports what is in text. It shows the surroundings: without them
// nobody finds out how it got there.
func (n *needles) search(t *testing.T, where string, text []byte) {
	t.Helper()
	if at, needle := n.find(text); at >= 0 {
		t.Errorf("%s is in %s: %q", n.what[needle], where, text[max(0, at-60):min(len(text), at+len(needle)+20)])
	}
}

// searchTree looks through file names and files below dir.
func (n *needles) searchTree(t *testing.T, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a tor's temporary file
			}
			return err
		}
		name, _ := filepath.Rel(dir, path)
		n.search(t, "a name below "+dir, []byte(name))
		if !e.Type().IsRegular() {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		n.search(t, path, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

var swissnum = regexp.MustCompile(`(?m)pb(?:\+\w+)?://[^/\s]+/([A-Za-z0-9_-]{20,})`)

// secrets are all that the grid has come to hold by now.
func (g *grid) secrets(t *testing.T) *needles {
	n := newNeedles()
	var indexes []caps.CHK
	for _, text := range g.caps {
		n.add("a cap", text)
		cap, err := caps.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		chk, ok := cap.(caps.CHK)
		if !ok {
			t.Fatalf("a cap is a %T", cap)
		}
		key := chk.Key.Reveal()
		n.addSecret("the key of a cap", key[:])
		indexes = append(indexes, chk)
	}
	for _, text := range g.writeCaps {
		n.add("a cap", text)
		parts := strings.Split(text, ":") // URI, kind, write key, fingerprint
		if len(parts) != 4 {
			t.Fatalf("a cap that grants writing has %d parts", len(parts))
		}
		n.add("the write key of a cap", parts[2])
	}
	servers := append(g.onions[:len(g.onions):len(g.onions)], g.clears...)
	text, err := os.ReadFile(g.hubFURL())
	if err != nil {
		t.Fatal(err)
	}
	f, err := furl.ParseFURL(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	n.add("the swissnum of the introducer", f.Swissnum.Reveal())
	for _, node := range g.all() {
		if node.name == g.hub.name {
			continue // it is no client
		}
		id, err := config.EnsureIdentity(node.dir)
		if err != nil {
			t.Fatal(err)
		}
		n.addSecret("the lease secret of "+node.name, []byte(id.LeaseSecret.Reveal()))
		n.addSecret("the convergence secret of "+node.name, []byte(id.Convergence.Reveal()))
		n.addSecret("the key of "+node.name, []byte(id.NodeKey.Reveal()))
		for _, file := range []string{"api_auth_token", "tor_onion.privkey"} {
			if text, err := os.ReadFile(filepath.Join(node.dir, "private", file)); err == nil {
				n.add(file+" of "+node.name, strings.TrimPrefix(strings.TrimSpace(string(text)), "ED25519-V3:"))
			}
		}
		for _, s := range servers {
			tub, err := os.ReadFile(filepath.Join(s.dir, "my_nodeid"))
			if err != nil {
				t.Fatal(err)
			}
			peer, err := base32.Decode(strings.TrimSpace(string(tub)))
			if err != nil || len(peer) != 20 {
				t.Fatalf("my_nodeid of %s: %q, %v", s.name, tub, err)
			}
			for _, cap := range indexes {
				renew := tagged.LeaseRenew([]byte(id.LeaseSecret.Reveal()), cap.Index(), [20]byte(peer))
				n.addSecret("a lease renewal secret of "+node.name, renew[:])
			}
		}
	}
	for _, s := range servers {
		entry, err := os.ReadFile(filepath.Join(s.dir, "private", "server-entry.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		found := swissnum.FindAllSubmatch(entry, -1)
		want := 2 // of a fURL and a NURL
		if s.name == foolscapOnly {
			want = 1
		}
		if len(found) < want {
			t.Fatalf("%s has %d swissnums in its entry, want %d", s.name, len(found), want)
		}
		for _, m := range found {
			n.add("the swissnum of "+s.name, string(m[1]))
		}
	}
	return n
}

// all are the nodes that were made.
func (g *grid) all() []*node {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	return append([]*node(nil), g.made...)
}

// searchForSecrets is the canary: no secret of anybody in a log, a message, a
// page, or on the disk of a server.
func (g *grid) searchForSecrets(t *testing.T) {
	n := g.secrets(t)
	for _, s := range g.plain {
		n.add("plaintext", s)
	}
	t.Logf("%d spellings of secrets", len(n.what))
	for _, node := range g.all() {
		if log := node.log(t); len(log) < 100 {
			t.Errorf("%s logged nothing", node.name)
		} else {
			n.search(t, "the log of "+node.name, []byte(log))
		}
	}
	n.search(t, "what commands said", g.world.said.Bytes())
	for _, page := range g.pages {
		n.search(t, "the page "+page.what, page.text)
	}
	files := 0
	for _, s := range append(g.onions[:len(g.onions):len(g.onions)], g.clears...) {
		files += n.searchTree(t, filepath.Join(s.dir, "storage"))
	}
	// Would it have been found?
	if files < len(g.caps) || len(g.pages) < 10 {
		t.Errorf("only %d files and %d pages were searched", files, len(g.pages))
	}
	for needle, what := range n.what {
		if at, found := n.find([]byte("xx" + needle + "xx")); at < 0 {
			t.Errorf("%s is not found where it is", what)
		} else if !strings.HasPrefix(needle, found) && at == 2 {
			t.Errorf("%q is found for %q", found, needle)
		}
	}
}

// page is an answer that somebody got.
type page struct {
	what string
	text []byte // header and body
}

// visitPages fetches every kind of page of a client's gateway, errors too.
func (g *grid) visitPages(t *testing.T, n *node) {
	t.Helper()
	url := n.url(t)
	c := netx.HTTPClient(labNetwork{g.world}, netx.Addr{}, nil, netx.HTTPOptions{})
	defer c.CloseIdleConnections()
	broken := g.caps[0][:len(g.caps[0])-4] + "x:yz"
	lost := strings.Replace(g.caps[0], "URI:CHK:", "URI:CHK:aaaa", 1)
	lost = lost[:len("URI:CHK:")+26] + lost[len("URI:CHK:")+30:] // a key of nobody's
	for _, r := range []struct{ method, path, host string }{
		{"GET", "", ""}, {"GET", "?t=json", ""}, {"GET", "status", ""}, {"GET", "status?t=json", ""},
		{"GET", "statistics", ""}, {"GET", "statistics?t=json", ""}, {"GET", "statistics?t=openmetrics", ""},
		{"GET", "no/such/page", ""}, {"GET", "uri/" + broken, ""}, {"GET", "uri/" + lost, ""}, {"DELETE", "uri/" + g.caps[0], ""}, {"BREW", "", ""},
		{"GET", "uri/" + g.caps[0] + "?t=check", ""}, {"GET", "", "evil.example.org"},
	} {
		for _, accept := range []string{"text/html", "*/*"} {
			req, err := http.NewRequestWithContext(t.Context(), r.method, url+r.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", accept)
			if r.host != "" {
				req.Host = r.host
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Errorf("%s /%s: %v", r.method, r.path, err)
				continue
			}
			text, err := dump(resp)
			if err != nil {
				t.Error(err)
			}
			g.pages = append(g.pages, page{fmt.Sprintf("%s /%.12s of %s", r.method, r.path, n.name), text})
		}
	}
}

func dump(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, resp.Status)
	resp.Header.Write(&b)
	b.WriteString("\n")
	_, err := b.ReadFrom(resp.Body)
	return b.Bytes(), err
}
