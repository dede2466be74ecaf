package foolscapstore

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage/diskstore"
)

// The transcripts are one session of a client and a storage server of
// Tahoe-LAFS 1.20, decrypted: CHK put and get, SDMF create, read and change, a
// lease. Each side logged it.

// theirRef is a reference as it stands in a transcript.
type theirRef struct {
	CLID  int64
	Iface string
}

// recordedCall is a call and what was answered.
type recordedCall struct {
	target int64 // CLID of the server's
	method string
	args   []any
	answer any
}

// recorded returns the calls of the client in a transcript; sent says which
// direction is the client's.
func recorded(t *testing.T, name, calls string) []*recordedCall {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".rawhex"))
	if err != nil {
		t.Fatal(err)
	}
	var asked, answered bytes.Buffer
	spoken := false
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		switch {
		case len(w) >= 3 && w[1] == "=":
			spoken = w[2] == "switchToBanana"
		case len(w) >= 3 && spoken:
			data, err := hex.DecodeString(w[2])
			if err != nil {
				t.Fatal(err)
			}
			if w[1] == calls {
				asked.Write(data)
			} else {
				answered.Write(data)
			}
		}
	}
	var out []*recordedCall
	byReq := make(map[int64]*recordedCall)
	d := decoder(&asked)
	for d.Wait() == nil {
		d.Begin(1<<20, false)
		kind, req := begin(t, d)
		if kind != "call" {
			t.Fatalf("a message of type %q", kind)
		}
		c := &recordedCall{}
		byReq[req] = c
		c.target = check(d.Uint())(t)
		c.method = check(d.Word(100))(t)
		check(d.Open())(t)
		for range check(d.Uint())(t) {
			c.args = append(c.args, check(d.Value(banana.Any()))(t))
		}
		if err := d.Skip(0); err != nil {
			t.Fatal(err)
		}
		if c.target != 0 { // the broker's
			out = append(out, c)
		}
	}
	d = decoder(&answered)
	for d.Wait() == nil {
		d.Begin(1<<20, false)
		kind, req := begin(t, d)
		if kind != "answer" || byReq[req] == nil {
			t.Fatalf("a message of type %q to call %d", kind, req)
		}
		byReq[req].answer = check(d.Value(banana.Any()))(t)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func decoder(b *bytes.Buffer) *banana.Decoder {
	d := banana.NewDecoder(b, banana.Limits{})
	d.Refs.Mine = func(clid int64, iface, _ []byte) (any, error) { return theirRef{clid, string(iface)}, nil }
	return d
}

func begin(t *testing.T, d *banana.Decoder) (kind string, req int64) {
	t.Helper()
	return check(d.Open())(t), check(d.Uint())(t)
}

func check[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestTranscript makes the calls of the reference's client to our server: the
// answers are the same, byte for byte, but for what a server says of itself.
func TestTranscript(t *testing.T) {
	for name, calls := range map[string]string{"client-storage": "S", "storage-client-serverside": "R"} {
		t.Run(name, func(t *testing.T) {
			store, err := diskstore.Open(diskstore.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			r := loopbackRig(t, store, HandlerConfig{})
			defer r.stop()
			refs := map[int64]*foolscap.Ref{1: r.ref(t)}
			all := recorded(t, name, calls)
			if len(all) < 20 {
				t.Fatalf("only %d calls", len(all))
			}
			for i, c := range all {
				what := fmt.Sprintf("call %d, %s", i, c.method)
				for j, a := range c.args {
					if _, ok := a.(theirRef); ok {
						c.args[j] = &foolscap.Object{} // the canary
					}
				}
				got, err := refs[c.target].Call(t.Context(), c.method, nil, c.args...)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if c.method == "get_version" {
					blank(got)
					blank(c.answer)
				}
				got = match(t, what, got, c.answer, refs)
				if diff := cmp.Diff(c.answer, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s (-reference +ours):\n%s", what, diff)
				}
			}
		})
	}
}

// blank takes out of a version what differs between servers.
func blank(v any) {
	d := v.(banana.Dict)
	for i, p := range d {
		switch string(p.Key.([]byte)) {
		case "application-version", "available-space", "maximum-immutable-share-size":
			d[i].Value = nil
		case protocolKey:
			blank(p.Value)
		}
	}
}

// match puts the references of the transcript in place of ours and learns
// which of them are which.
func match(t *testing.T, what string, got, want any, refs map[int64]*foolscap.Ref) any {
	t.Helper()
	switch want := want.(type) {
	case theirRef:
		ref, ok := got.(*foolscap.Ref)
		if !ok {
			return got
		}
		refs[want.CLID] = ref
		return theirRef{want.CLID, ref.Iface()}
	case banana.Tuple:
		if got, ok := got.(banana.Tuple); ok && len(got) == len(want) {
			for i := range got {
				got[i] = match(t, what, got[i], want[i], refs)
			}
		}
	case banana.Dict:
		if got, ok := got.(banana.Dict); ok && len(got) == len(want) {
			for i := range got {
				got[i].Value = match(t, what, got[i].Value, want[i].Value, refs)
			}
		}
	}
	return got
}
