package webclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
)

const (
	key16  = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	hash32 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	dirURI = "URI:DIR2:" + key16 + ":" + hash32
	litURI = "URI:LIT:nbswy3dp"
)

func parse(t *testing.T, text string) caps.Cap {
	t.Helper()
	c, err := caps.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func roURI(t *testing.T) string {
	r, ok := caps.Read(parse(t, dirURI))
	if !ok {
		t.Fatal("no read cap")
	}
	return r.Reveal()
}

// Each method sends the one request that the web API has for it.
func TestRequests(t *testing.T) {
	dir, lit := parse(t, dirURI), parse(t, litURI)
	in := "/uri/" + strings.ReplaceAll(dirURI, ":", "%3A")
	var got string
	var answer func(w http.ResponseWriter)
	serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.RequestURI + " " + string(body)
		answer(w)
	}, func(t *testing.T, c *Client) {
		ctx := t.Context()
		says := func(status int, text string) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) { w.WriteHeader(status); io.WriteString(w, text) }
		}
		for _, tt := range []struct {
			name   string
			answer func(http.ResponseWriter)
			call   func() (any, error)
			want   string
			result string
		}{
			{"mkdir", says(200, dirURI+"\n"), func() (any, error) { return c.Mkdir(ctx, Place{}, MkdirOptions{Format: "MDMF"}) },
				"POST /uri?t=mkdir&format=MDMF ", dir.String()},
			{"mkdir at a path", says(200, dirURI), func() (any, error) { return c.Mkdir(ctx, At(dir, "a b", "..", "ü/#?"), MkdirOptions{}) },
				"POST " + in + "/a%20b/%2E%2E/%C3%BC%2F%23%3F?t=mkdir ", dir.String()},
			{"mkdir with a key", says(200, dirURI), func() (any, error) { return c.Mkdir(ctx, Place{}, MkdirOptions{PrivateKey: redact.New("a-_=")}) },
				"POST /uri?t=mkdir&private-key=a-_%3D ", dir.String()},
			{"mkdir with children", says(200, dirURI), func() (any, error) {
				return c.Mkdir(ctx, At(dir, "new"), MkdirOptions{Children: map[string]Child{"x": {Cap: lit, Metadata: map[string]any{"mtime": 1.5}}, "y": {Cap: dir}}})
			}, "POST " + in + `/new?t=mkdir-with-children {"x":["filenode",{"metadata":{"mtime":1.5},"ro_uri":"` + litURI + `"}],` +
				`"y":["dirnode",{"ro_uri":"` + roURI(t) + `","rw_uri":"` + dirURI + `"}]}`, dir.String()},
			{"mkdir immutable", says(200, "URI:DIR2-LIT:"), func() (any, error) { return c.Mkdir(ctx, Place{}, MkdirOptions{Immutable: true}) },
				"POST /uri?t=mkdir-immutable {}", parse(t, "URI:DIR2-LIT:").String()},
			{"set children", says(200, "Okay so I did it."), func() (any, error) {
				return nil, c.SetChildren(ctx, At(dir), map[string]Child{"f": {Cap: caps.Keep("x-new:w", caps.Anywhere), Read: caps.Keep("ro.x-new:r", caps.Anywhere)}}, OnlyFiles)
			}, "POST " + in + `?t=set_children&replace=only-files {"f":["unknown",{"ro_uri":"ro.x-new:r","rw_uri":"x-new:w"}]}`, "<nil>"},
			{"link", says(201, litURI), func() (any, error) { return nil, c.Link(ctx, At(dir, "f"), lit, Never) },
				"PUT " + in + "/f?t=uri&replace=false " + litURI, "<nil>"},
			{"unlink", says(200, litURI), func() (any, error) { return c.Unlink(ctx, At(dir, "f")) },
				"DELETE " + in + "/f ", lit.String()},
			{"rename", says(200, "thing moved"), func() (any, error) { return nil, c.Relink(ctx, At(dir, "sub"), "a", Place{}, "b&c", Always) },
				"POST " + in + "/sub?t=rename&from_name=a&to_name=b%26c ", "<nil>"},
			{"relink", says(200, "thing moved"), func() (any, error) { return nil, c.Relink(ctx, At(dir), "a", At(dir, "x", "y"), "b", OnlyFiles) },
				"POST " + in + "?t=relink&to_dir=" + strings.ReplaceAll(dirURI, ":", "%3A") + "%2Fx%2Fy&from_name=a&to_name=b&replace=only-files ", "<nil>"},
			{"put at a path", says(201, litURI), func() (any, error) {
				cap, created, err := c.PutAt(ctx, At(dir, "f"), strings.NewReader("hello"), 5, PutOptions{Replace: Never})
				return fmt.Sprint(cap, created), err
			}, "PUT " + in + "/f?replace=false hello", fmt.Sprint(lit, true)},
			{"put over it", says(200, litURI), func() (any, error) {
				cap, created, err := c.PutAt(ctx, At(dir, "f"), strings.NewReader("hello"), 5, PutOptions{})
				return fmt.Sprint(cap, created), err
			}, "PUT " + in + "/f hello", fmt.Sprint(lit, false)},
			{"get a directory", says(200, "<html>"), func() (any, error) { return c.Get(ctx, dir, io.Discard, GetOptions{Path: []string{"d"}}) },
				"GET " + in + "/d ", ""},
			{"check", says(200, `{"storage-index":"x"}`), func() (any, error) { return c.Check(ctx, At(dir), CheckOptions{Verify: true, AddLease: true}) },
				"POST " + in + "?t=check&verify=true&add-lease=true&output=JSON ", fmt.Sprint([]byte(`{"storage-index":"x"}`))},
			{"not there", says(404, `{"error": "No child named \"x\"."}`), func() (any, error) { _, err := c.Look(ctx, At(dir, "x")); return nil, err },
				"GET " + in + "/x?t=json ", ""},
		} {
			answer = tt.answer
			result, err := tt.call()
			if got != tt.want {
				t.Errorf("%s: sent %s\n want %s", tt.name, got, tt.want)
			}
			switch tt.name {
			case "get a directory":
				if !errors.Is(err, ErrDirectory) {
					t.Errorf("%s: %v", tt.name, err)
				}
			case "not there":
				if e, ok := errors.AsType[*Error](err); !ok || e.Status != 404 || e.Sentence != `No child named "x".` {
					t.Errorf("%s: %v", tt.name, err)
				}
			default:
				if s := fmt.Sprint(result); err != nil || s != tt.result {
					t.Errorf("%s: %s, %v; want %s", tt.name, s, err, tt.result)
				}
			}
		}
	})
}

func TestLook(t *testing.T) {
	dir := parse(t, dirURI)
	text := `["dirnode", {"rw_uri": "` + dirURI + `", "ro_uri": "` + roURI(t) + `", "mutable": true, "children": {
	 "f": ["filenode", {"ro_uri": "` + litURI + `", "size": 5, "format": "CHK", "mutable": false, "metadata": {"mtime": 5.5, "tahoe": {"linkcrtime": 7, "linkmotime": 8.25}}}],
	 "m": ["filenode", {"ro_uri": "` + litURI + `", "size": "?", "metadata": {"ctime": 3}}],
	 "u": ["unknown", {"ro_uri": "ro.x-new:r"}]}}]`
	serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }, func(t *testing.T, c *Client) {
		n, err := c.Look(t.Context(), At(dir))
		if err != nil || n.Type != Dir || n.Cap() != dir || !n.Mutable || len(n.Children) != 3 {
			t.Fatalf("%+v, %v", n, err)
		}
		f, m, u := n.Children["f"], n.Children["m"], n.Children["u"]
		if created, modified := f.Times(); f.Size != 5 || f.Format != "CHK" || f.Write != nil || !created.Equal(time.Unix(7, 0)) || !modified.Equal(time.UnixMilli(8250)) {
			t.Errorf("%+v %v %v", f, created, modified)
		}
		if created, modified := m.Times(); m.Size != -1 || !created.Equal(time.Unix(3, 0)) || !modified.IsZero() {
			t.Errorf("%+v %v %v", m, created, modified)
		}
		if u.Type != Unknown || u.Cap().Reveal() != "ro.x-new:r" {
			t.Errorf("%+v", u)
		}
	})
	for _, bad := range []string{``, `{}`, `["dirnode"]`, `["filenode", {}]`, `["filenode", 5]`, `[1, {"ro_uri": "URI:LIT:"}]`} {
		serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, bad) }, func(t *testing.T, c *Client) {
			if n, err := c.Look(t.Context(), At(dir)); err == nil {
				t.Errorf("%s: %+v", bad, n)
			}
		})
	}
}

func TestDeep(t *testing.T) {
	dir := parse(t, dirURI)
	polls := 0
	serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("t") == "stream-manifest":
			io.WriteString(w, "{\"type\": \"directory\"}\n{\"type\": \"file\"}\nERROR: no\x1b shares\nTraceback\n")
		case r.URL.Query().Get("t") == "start-deep-stats":
			http.Redirect(w, r, "/operations/"+r.URL.Query().Get("ophandle"), http.StatusFound)
		default:
			polls++
			fmt.Fprintf(w, `{"finished": %t, "count-files": %d}`, polls == 5, polls)
		}
	}, func(t *testing.T, c *Client) {
		var lines []string
		err := c.Manifest(t.Context(), At(dir), func(line []byte) error { lines = append(lines, string(line)); return nil })
		if e, ok := errors.AsType[*StreamError](err); !ok || e.Sentence != "no shares" || len(lines) != 2 || lines[1] != `{"type": "file"}` {
			t.Errorf("%q, %v", lines, err)
		}
		stats, err := c.DeepStats(t.Context(), At(dir), nil)
		if err != nil || string(stats) != `{"finished": true, "count-files": 5}` {
			t.Errorf("%s, %v", stats, err)
		}
	})
}
