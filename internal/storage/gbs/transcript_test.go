package gbs

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// turn is a request of the reference's client with the answer of the
// reference's server.
type turn struct {
	at       string // seconds into the session; orders turns across connections
	request  []byte
	response []byte
}

// readTranscript reads lines "TIME S|R HEX": sent and received by the client,
// in the pieces that went over the wire.
func readTranscript(t *testing.T, name string) []turn {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var turns []turn
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		b, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		last := len(turns) - 1
		switch {
		case f[1] == "R":
			turns[last].response = append(turns[last].response, b...)
		case last >= 0 && turns[last].response == nil:
			turns[last].request = append(turns[last].request, b...)
		default:
			turns = append(turns, turn{at: f[0], request: b})
		}
	}
	return turns
}

// TestTranscript plays what the reference's client once sent to the
// reference's server, and compares the answers: space, version, Date and
// chunking aside they are to be the same.
func TestTranscript(t *testing.T) { bubble(t, testTranscript) }

func testTranscript(t *testing.T) {
	names, err := filepath.Glob("testdata/http-*.rawhex")
	if err != nil || len(names) != 3 {
		t.Fatalf("transcripts: %v, %v", names, err)
	}
	var turns []turn
	for _, name := range names {
		turns = append(turns, readTranscript(t, name)...)
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return strings.Compare(a.at, b.at) })

	r := newRig(t, nil, HandlerConfig{})
	const mutableIndex = "trjdnu42w3o7t7avsf6tmbhhhy"
	var immutable, lease, version, mutable int
	for _, turn := range turns {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(turn.request)))
		if err != nil {
			t.Fatal(err)
		}
		what := req.Method + " " + req.URL.Path + " " + req.Header.Get("Range")
		switch {
		case strings.Contains(what, mutableIndex):
			mutable++
		case strings.Contains(what, "/lease/"):
			lease++
		case strings.Contains(what, "/version"):
			version++
		default:
			immutable++
		}
		want, wantBody := readResponse(t, bytes.NewReader(turn.response), req)
		conn := r.dialTLS(t)
		if _, err := conn.Write(turn.request); err != nil {
			t.Fatal(err)
		}
		got, gotBody := readResponse(t, conn, req)
		conn.Close()
		if got.StatusCode != want.StatusCode {
			t.Errorf("%s at %s: status %d; want %d", what, turn.at, got.StatusCode, want.StatusCode)
		}
		for _, h := range []string{"Content-Type", "Content-Range"} {
			if g, w := got.Header.Get(h), want.Header.Get(h); g != w {
				t.Errorf("%s at %s: %s %q; want %q", what, turn.at, h, g, w)
			}
		}
		if want.Header.Get("Content-Type") != cborType {
			if !bytes.Equal(gotBody, wantBody) {
				t.Errorf("%s at %s: body %x; want %x", what, turn.at, gotBody, wantBody)
			}
			continue
		}
		g, w := generic(t, gotBody), generic(t, wantBody)
		if strings.Contains(what, "/version") {
			g, w = shapeOf(g), shapeOf(w)
		}
		if d := cmp.Diff(w, g); d != "" {
			t.Errorf("%s at %s: body differs (-want +got)\n%s", what, turn.at, d)
		}
	}
	if immutable < 10 || lease != 1 || version < 6 || mutable < 5 {
		t.Errorf("replayed %d immutable, %d lease and %d version calls, and %d mutable ones", immutable, lease, version, mutable)
	}
}

func readResponse(t *testing.T, from io.Reader, req *http.Request) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(from), req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// generic decodes any CBOR.
func generic(t *testing.T, b []byte) any {
	t.Helper()
	mode := must(cbor.DecOptions{MapKeyByteString: cbor.MapKeyByteStringAllowed}.DecMode())
	var v any
	if err := mode.Unmarshal(b, &v); err != nil {
		t.Fatalf("decoding %x: %v", b, err)
	}
	return v
}

// shapeOf replaces the leaves of nested maps by their types.
func shapeOf(v any) any {
	m, ok := v.(map[any]any)
	if !ok {
		return reflect.TypeOf(v).String()
	}
	out := map[string]any{}
	for k, v := range m {
		out[fmt.Sprintf("%T %v", k, k)] = shapeOf(v)
	}
	return out
}
