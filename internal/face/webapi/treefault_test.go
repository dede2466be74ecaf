package webapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage/faultstore"
)

// other is another client of the same servers, who knows nothing of this one.
func (g *gateway) other(t *testing.T) *mutable.Client {
	t.Helper()
	c, err := mutable.New(mutable.Config{Servers: g.grid, K: 3, N: 5, LeaseSecret: redact.New("lease secret of the other, 32 byte")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (g *gateway) send(t *testing.T, method, path, body string, status int) string {
	t.Helper()
	resp, got := g.do(t, g.request(t, t.Context(), method, path, strings.NewReader(body)))
	if resp.StatusCode != status {
		t.Errorf("%s %.30s: status %d, want %d: %s", method, path, resp.StatusCode, status, got)
	}
	return got
}

// Somebody else overwrites a mutable file while our shares are on their way:
// we hear of it, and theirs is not lost. What was overwritten before we began
// is no conflict.
func TestMutableConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		text := g.send(t, "PUT", "/uri?format=sdmf", "ours", 200)
		c, err := caps.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		f, err := g.other(t).Open(c)
		if err != nil {
			t.Fatal(err)
		}
		overwrite := func(text string) {
			t.Helper()
			if err := f.Overwrite(t.Context(), []byte(text), nil); err != nil {
				t.Fatal(err)
			}
		}
		overwrite("theirs")
		g.send(t, "PUT", "/uri/"+text, "ours again", 200) // though the gateway remembers its own first version
		time.Sleep(time.Minute)                           // what is remembered is not relied on after a while
		for _, s := range g.grid.faults {
			s.Next(faultstore.TestAndWrite, faultstore.Fault{}, faultstore.Fault{Delay: 5 * time.Second}) // the first asks only
		}
		timer := time.AfterFunc(time.Second, func() { overwrite("theirs again") })
		defer timer.Stop()
		if body := g.send(t, "PUT", "/uri/"+text, "ours, too late", 409); !strings.Contains(body, "at the same time") {
			t.Errorf("the conflict says %q", body)
		}
		if op := g.last(t); op.Type != publish || op.Stage != failed {
			t.Errorf("the operation says %+v", op)
		}
		if got := g.ask(t, "GET", "/uri/"+text, 200); got != "theirs again" {
			t.Errorf("then the file is %q", got)
		}
		g.send(t, "PUT", "/uri/"+text, "ours at last", 200)
		if got := g.ask(t, "GET", "/uri/"+text, 200); got != "ours at last" {
			t.Errorf("then the file is %q", got)
		}
	})
}

// Two change a directory at the same time: both changes are there.
func TestDirectoryConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		dir := g.mkdir(t)
		h := newGateway(t, 0, nil)
		h.grid.mu.Lock()
		h.grid.peers = g.grid.peers
		h.grid.mu.Unlock()
		done := make(chan bool)
		for i, w := range []*gateway{g, h} {
			go func() {
				defer func() { done <- true }()
				for n := range 5 {
					w.send(t, "PUT", "/uri/"+dir+"/"+string(rune('a'+i))+string(rune('0'+n))+"?t=uri", "URI:LIT:nbswy3dp", 200)
				}
			}()
		}
		<-done
		<-done
		if list := g.ask(t, "GET", "/uri/"+dir+"?t=json", 200); strings.Count(list, `"filenode"`) != 10 {
			t.Errorf("of 10 children there are %s", list)
		}
	})
}

// Whatever changes a directory names its servers among the operations, and
// what they said.
func TestEditsNameServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		dir, second := g.mkdir(t), g.mkdir(t)
		g.grid.faults[1].Always(faultstore.TestAndWrite, faultstore.Fault{Err: errors.New("the disk has died")})
		g.grid.faults[1].Always(faultstore.ReadSlot, faultstore.Fault{Err: errors.New("the disk has died")})
		for _, w := range []struct{ method, path, body string }{
			{"PUT", "/a?t=uri", "URI:LIT:nbswy3dp"}, {"PUT", "/sub/sub?t=mkdir", ""}, {"POST", "?t=mkdir&name=b", ""}, {"POST", "?t=set_children", "{}"},
			{"POST", "?t=rename&from_name=a&to_name=c", ""}, {"POST", "?t=relink&from_name=c&to_dir=" + second, ""}, {"POST", "?t=unlink&name=b", ""}, {"DELETE", "/sub", ""},
		} {
			g.send(t, w.method, "/uri/"+dir+w.path, w.body, 200)
			op, died := g.last(t), 0
			for _, s := range op.Servers {
				if strings.Contains(s.Error, "the disk has died") {
					died++
				}
			}
			if op.Type != publish || len(op.Servers) != 5 || died != 1 {
				t.Errorf("%s %s: the operation says %+v", w.method, w.path, op)
			}
		}
	})
}

// Servers are gone: the answers name them.
func TestTreeUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, func(c *Config) { c.Outage = time.Millisecond })
		dir := g.mkdir(t)
		g.send(t, "PUT", "/uri/"+dir+"/sub/file", "hello", 201)
		for _, f := range g.grid.faults[:3] {
			for _, m := range []faultstore.Method{faultstore.ReadSlot, faultstore.TestAndWrite} {
				f.Always(m, faultstore.Fault{Err: errors.New("the disk has died")})
			}
		}
		for _, path := range []string{"/file", "/sub", "?t=json", "/sub?t=json"} {
			resp, body := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+dir+path, nil))
			if resp.StatusCode != http.StatusGone || !strings.Contains(body, "2 of the 3 shares needed") {
				t.Errorf("GET %s: %d %s", path, resp.StatusCode, body)
			}
			if json := strings.Contains(path, "json") && !strings.Contains(path, "sub"); json != strings.HasPrefix(body, `{"error": "`) || !json && !strings.Contains(body, "the disk has died") {
				t.Errorf("GET %s: %s", path, body)
			}
		}
		if page := g.ask(t, "GET", "/uri/"+dir+"/", 200); !strings.Contains(page, "cannot be read now") || !strings.Contains(page, "URI:DIR2-RO:") || strings.Contains(page, "Upload") {
			t.Errorf("the page of an unreadable directory: %s", page)
		}
		for _, w := range []struct{ method, path string }{
			{"PUT", "/new"}, {"PUT", "/new?t=mkdir"}, {"PUT", "/new?t=uri"}, {"DELETE", "/sub"}, {"POST", "?t=unlink&name=sub"},
			{"POST", "?t=rename&from_name=sub&to_name=x"}, {"POST", "?t=mkdir&name=x"}, {"POST", "?t=stream-manifest"},
		} {
			if body := g.send(t, w.method, "/uri/"+dir+w.path, "URI:LIT:nbswy3dp", http.StatusGone); strings.Contains(body, "URI:DIR2") {
				t.Errorf("%s %s: %s", w.method, w.path, body)
			}
		}
		if page := g.ask(t, "GET", "/uri/"+dir+"?t=info", 200); !strings.Contains(page, "cannot be read now") {
			t.Errorf("its info: %s", page)
		}
	})
}

// A directory that cannot be read ends a stream in its middle: a line says so.
func TestStreamBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, func(c *Config) { c.Outage = time.Millisecond })
		dir := g.mkdir(t)
		g.send(t, "PUT", "/uri/"+dir+"/lost?t=uri", "URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 200)
		lines := strings.Split(g.ask(t, "POST", "/uri/"+dir+"?t=stream-manifest", 200), "\n")
		if len(lines) != 4 || !strings.Contains(lines[1], `"lost"`) || !strings.HasPrefix(lines[2], "ERROR: It cannot be read now") || !strings.HasSuffix(lines[2], ` This is about "lost".`) || lines[3] != "" {
			t.Errorf("the stream is %q", lines)
		}
		g.ask(t, "POST", "/uri/"+dir+"?t=start-manifest&ophandle=h", 302)
		synctest.Wait()
		g.ask(t, "GET", "/operations/h?output=json", http.StatusGone)
	})
}

// Whoever asks right after the node's start is served by servers that answer
// a little later.
func TestTreeWaitsForServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		dir := g.mkdir(t)
		g.send(t, "PUT", "/uri/"+dir+"/file", "hello", 201)
		all := g.grid.peers
		arrive := func(int) {
			time.Sleep(3 * time.Second)
			g.grid.mu.Lock()
			defer g.grid.mu.Unlock()
			g.grid.peers = all
		}
		for _, w := range []struct {
			method, path string
			status       int
		}{{"GET", "/file", 200}, {"GET", "?t=json", 200}, {"PUT", "/second", 201}, {"PUT", "/third?t=mkdir", 200}, {"DELETE", "/file", 200}, {"POST", "?t=stream-manifest", 200}} {
			g.grid.mu.Lock()
			g.grid.peers, g.grid.onWait = nil, arrive
			g.grid.mu.Unlock()
			g.send(t, w.method, "/uri/"+dir+w.path, "x", w.status)
		}
	})
}

// A mutable file that has lost shares is made whole again.
func TestRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		all := g.grid.peers
		g.grid.mu.Lock()
		g.grid.peers = all[:3]
		g.grid.mu.Unlock()
		file := g.send(t, "PUT", "/uri?format=sdmf", "some text", 200)
		g.grid.mu.Lock()
		g.grid.peers = all[2:]
		g.grid.mu.Unlock()
		time.Sleep(time.Minute)
		body := g.send(t, "POST", "/uri/"+file+"?t=check&output=json", "", 200)
		if !strings.Contains(body, `"healthy": false`) {
			t.Errorf("with one server of three left: %s", body)
		}
		// Too few shares are there to repair it with.
		g.send(t, "POST", "/uri/"+file+"?t=check&repair=true", "", http.StatusGone)
		g.grid.mu.Lock()
		g.grid.peers = all[1:]
		g.grid.mu.Unlock()
		time.Sleep(time.Minute)
		ro := g.ask(t, "GET", "/uri/"+file+"?t=readonly-uri", 200)
		g.send(t, "POST", "/uri/"+ro+"?t=check&repair=true", "", 200)
		body = g.send(t, "POST", "/uri/"+ro+"?t=check&repair=true&output=json", "", 200)
		if !strings.Contains(body, `"repair-attempted": false`) || !strings.Contains(body, `"repair-successful": false`) || !strings.Contains(body, "takes the cap that grants writing") {
			t.Errorf("a repair without the write cap says %s", body)
		}
		body = g.send(t, "POST", "/uri/"+file+"?t=check&repair=true&output=json", "", 200)
		for _, want := range []string{`"repair-attempted": true`, `"repair-successful": true`, `"pre-repair-results": {`, `"summary": "Healthy"`} {
			if !strings.Contains(body, want) {
				t.Errorf("a repair says no %s: %s", want, body)
			}
		}
		if body := g.ask(t, "GET", "/uri/"+file, 200); body != "some text" {
			t.Errorf("the repaired file is %q", body)
		}
	})
}

func TestErrorsOfMutableFiles(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
	}{
		{&mutable.UncoordinatedError{}, 409},
		{fmt.Errorf("publishing: %w", &mutable.NotEnoughServersError{Placed: 1, Want: 3, N: 10}), 500},
		{&mutable.UnrecoverableError{}, 410},
		{&mutable.NewerError{}, 409},
		{fmt.Errorf("encoding: %w", ssk.ErrUnsupported), 413},
		{mutable.ErrNotWritable, 405},
		{&directory.ChildError{Name: "a", Err: dirtable.ErrExists}, 409},
		{&filestore.PathError{Path: []string{"a", "b"}, At: 1, Err: dirtable.ErrNoChild}, 404},
		{&filestore.PathError{Path: []string{"a", "b"}, At: -1, Err: filestore.ErrNotDirectory}, 409},
	} {
		if e := translate(tt.err); e.status != tt.status || strings.Contains(e.text, "did not work") {
			t.Errorf("%T: %d %s, want %d", tt.err, e.status, e.text, tt.status)
		}
	}
}
