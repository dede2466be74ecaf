package gbs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

const (
	siText    = "zlfr3xcz6sqpa6rrczr3vzi5gy"
	indexPath = "/storage/v1/immutable/" + siText
	sharePath = indexPath + "/0"
)

func testIndex(t testing.TB) storage.Index {
	p, ok := parsePath(indexPath)
	if !ok {
		t.Fatal("the index of the tests does not parse")
	}
	return p.si
}

// bodies of allocate requests
var (
	allocate0of10 = string(encode(map[string]any{"share-numbers": numSet{0}, "allocated-size": 10}))
	corrupt0      = string(encode(map[string]string{"reason": "hash differs"}))
)

// TestAnswers goes through every route, right and wrong. The store holds
// shares 0 (100 bytes) and 2 (1 MiB + 5), and share 5 is being uploaded.
func TestAnswers(t *testing.T) {
	big := 1<<20 + 5
	tests := []struct {
		name string
		ask  ask
		code int
		body string // "" means do not look
	}{
		// Who may ask at all.
		{"no authorization", ask{method: "GET", path: "/storage/v1/version", noAuth: true}, 401, ""},
		{"no authorization, no such route", ask{method: "GET", path: "/", noAuth: true}, 401, ""},
		{"wrong swissnum", ask{method: "GET", path: "/storage/v1/version", header: head("Authorization: Tahoe-LAFS YWFhYQ==")}, 401, ""},
		{"wrong scheme", ask{method: "GET", path: "/storage/v1/version", header: head("Authorization: Basic YWFhYQ==")}, 401, ""},
		{"authorization not UTF-8", ask{method: "GET", path: "/storage/v1/version", header: head("Authorization: Tahoe-LAFS \xff")}, 400, ""},

		// Paths and methods.
		{"version", ask{method: "GET", path: "/storage/v1/version"}, 200, ""},
		{"version with a query", ask{method: "GET", path: "/storage/v1/version?x=1"}, 200, ""},
		{"POST version", ask{method: "POST", path: "/storage/v1/version"}, 405, ""},
		{"HEAD share", ask{method: "HEAD", path: sharePath}, 405, ""},
		{"root", ask{method: "GET", path: "/"}, 404, ""},
		{"version 2", ask{method: "GET", path: "/storage/v2/version"}, 404, ""},
		{"index too short", ask{method: "GET", path: "/storage/v1/immutable/" + siText[1:] + "/shares"}, 404, ""},
		{"index in upper case", ask{method: "GET", path: "/storage/v1/immutable/" + strings.ToUpper(siText) + "/shares"}, 404, ""},
		{"index not canonical", ask{method: "GET", path: "/storage/v1/immutable/" + siText[:25] + "z/shares"}, 404, ""},
		{"share number negative", ask{method: "GET", path: indexPath + "/-1"}, 404, ""},
		{"share number a word", ask{method: "GET", path: indexPath + "/one"}, 404, ""},
		{"share number too large", ask{method: "GET", path: indexPath + "/256"}, 404, ""},
		{"share number with a zero before", ask{method: "GET", path: indexPath + "/00"}, 404, ""},
		{"share number huge", ask{method: "GET", path: indexPath + "/99999999999999999999"}, 404, ""},
		{"dots", ask{method: "GET", path: indexPath + "/../../version"}, 404, ""},
		{"PUT share", ask{method: "PUT", path: sharePath}, 405, ""},

		// Accept and Content-Type.
		{"accept cbor", ask{method: "GET", path: "/storage/v1/version", header: head("Accept: application/cbor")}, 200, ""},
		{"accept json", ask{method: "GET", path: "/storage/v1/version", header: head("Accept: application/json")}, 406, ""},
		{"accept anything", ask{method: "GET", path: "/storage/v1/version", header: head("Accept: text/html, */*;q=0.8")}, 200, ""},
		{"accept all but cbor", ask{method: "GET", path: "/storage/v1/version", header: head("Accept: application/cbor;q=0")}, 406, ""},
		{"accept counts before anything happens", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine, "Accept: text/plain"), body: allocate0of10}, 406, ""},
		{"share data whatever Accept says", ask{method: "GET", path: sharePath, header: head("Accept: application/cbor", "Range: bytes=0-3")}, 206, ""},
		{"JSON body", ask{method: "POST", path: sharePath + "/corrupt", header: head("Content-Type: application/json"), body: `{"reason":"x"}`}, 415, ""},
		{"no content type is CBOR", ask{method: "POST", path: sharePath + "/corrupt", body: corrupt0}, 200, ""},
		{"content type with a parameter", ask{method: "POST", path: sharePath + "/corrupt", header: head("Content-Type: application/cbor; q=1"), body: corrupt0}, 200, ""},

		// Secrets: exactly those the call needs.
		{"lease", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, cancelLine)}, 204, ""},
		{"lease, nothing held", ask{method: "PUT", path: "/storage/v1/lease/aaaaaaaaaaaaaaaaaaaaaaaaaa", header: head(renewLine, cancelLine)}, 404, ""},
		{"lease without secrets", ask{method: "PUT", path: "/storage/v1/lease/" + siText}, 400, ""},
		{"lease with one secret", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine)}, 400, ""},
		{"lease with a third", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, cancelLine, uploadLine)}, 400, ""},
		{"lease with the wrong second", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, uploadLine)}, 400, ""},
		{"lease with a double", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, renewLine)}, 400, ""},
		{"lease with a short secret", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(secretLine(renewSecret, "short"), cancelLine)}, 400, ""},
		{"lease with a long secret", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(secretLine(renewSecret, strings.Repeat("r", 33)), cancelLine)}, 400, ""},
		{"lease with an unknown kind", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, cancelLine, "lease-destroy-secret YWFhYQ==")}, 400, ""},
		{"lease with bad base64", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, strings.TrimSuffix(cancelLine, "="))}, 400, ""},
		{"lease with trailing bits", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, strings.Replace(cancelLine, "M=", "N=", 1))}, 400, ""},
		{"lease with a nameless secret", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, "lease-cancel-secret")}, 400, ""},
		{"lease with two spaces", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, strings.Replace(cancelLine, " ", "  ", 1))}, 400, ""},
		{"upload secret empty", ask{method: "PATCH", path: indexPath + "/5", header: head("upload-secret ", "Content-Range: bytes 0-0/*"), body: "x"}, 400, ""},
		{"secrets where none belong", ask{method: "GET", path: "/storage/v1/version", header: head(uploadLine)}, 400, ""},
		{"write enabler on an immutable", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, enablerLine), body: allocate0of10}, 400, ""},

		// Listing and reading.
		{"shares", ask{method: "GET", path: indexPath + "/shares"}, 200, "\xd9\x01\x02\x82\x00\x02"},
		{"no shares", ask{method: "GET", path: "/storage/v1/immutable/aaaaaaaaaaaaaaaaaaaaaaaaaa/shares"}, 200, "\xd9\x01\x02\x80"},
		{"whole", ask{method: "GET", path: sharePath}, 200, string(shareBytes(0, 100))},
		{"whole, large", ask{method: "GET", path: indexPath + "/2"}, 200, string(shareBytes(2, big))},
		{"range", ask{method: "GET", path: sharePath, header: head("Range: bytes=10-19")}, 206, string(shareBytes(0, 100)[10:20])},
		{"range of one", ask{method: "GET", path: sharePath, header: head("Range: bytes=99-99")}, 206, string(shareBytes(0, 100)[99:])},
		{"range past the end", ask{method: "GET", path: sharePath, header: head("Range: bytes=90-200")}, 206, string(shareBytes(0, 100)[90:])},
		{"range to the end of numbers", ask{method: "GET", path: sharePath, header: head("Range: bytes=90-9223372036854775806")}, 206, string(shareBytes(0, 100)[90:])},
		{"range beyond numbers", ask{method: "GET", path: sharePath, header: head("Range: bytes=90-9223372036854775807")}, 416, ""},
		{"large range", ask{method: "GET", path: indexPath + "/2", header: head(fmt.Sprintf("Range: bytes=1-%d", big-1))}, 206, string(shareBytes(2, big)[1:])},
		{"large range past the end", ask{method: "GET", path: indexPath + "/2", header: head("Range: bytes=7-9000000000000000000")}, 206, string(shareBytes(2, big)[7:])},
		{"range after the end", ask{method: "GET", path: sharePath, header: head("Range: bytes=100-200")}, 204, ""},
		{"open range", ask{method: "GET", path: sharePath, header: head("Range: bytes=10-")}, 416, ""},
		{"suffix range", ask{method: "GET", path: sharePath, header: head("Range: bytes=-10")}, 416, ""},
		{"two ranges", ask{method: "GET", path: sharePath, header: head("Range: bytes=0-1,3-4")}, 416, ""},
		{"two range headers", ask{method: "GET", path: sharePath, header: head("Range: bytes=0-1", "Range: bytes=3-4")}, 416, ""},
		{"range of lines", ask{method: "GET", path: sharePath, header: head("Range: lines=0-1")}, 416, ""},
		{"backward range", ask{method: "GET", path: sharePath, header: head("Range: bytes=9-8")}, 416, ""},
		{"garbled range", ask{method: "GET", path: sharePath, header: head("Range: bytes=+1-2")}, 416, ""},
		{"no such share", ask{method: "GET", path: indexPath + "/1"}, 404, ""},
		{"share in progress", ask{method: "GET", path: indexPath + "/5"}, 404, ""},
		{"read with a body", ask{method: "GET", path: sharePath, body: "x"}, 413, ""},

		// Allocating.
		{"allocate what is held", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine), body: allocate0of10}, 200,
			"\xa2\x6calready-have\xd9\x01\x02\x82\x00\x02\x69allocated\xd9\x01\x02\x80"},
		{"allocate no bytes", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine),
			body: string(encode(map[string]any{"share-numbers": numSet{9}, "allocated-size": 0}))}, 200,
			"\xa2\x6calready-have\xd9\x01\x02\x82\x00\x02\x69allocated\xd9\x01\x02\x80"},
		{"allocate more than there is", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine),
			body: string(encode(map[string]any{"share-numbers": numSet{9}, "allocated-size": uint64(1<<64 - 1)}))}, 200,
			"\xa2\x6calready-have\xd9\x01\x02\x82\x00\x02\x69allocated\xd9\x01\x02\x80"},
		{"allocate without a body", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine)}, 400, ""},
		{"allocate, untagged set", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine),
			body: string(encode(map[string]any{"share-numbers": []int{0}, "allocated-size": 10}))}, 400, ""},
		{"allocate, a key missing", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine),
			body: string(encode(map[string]any{"share-numbers": numSet{0}}))}, 400, ""},
		{"allocate, a key too many", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine),
			body: string(encode(map[string]any{"share-numbers": numSet{0}, "allocated-size": 10, "x": 1}))}, 400, ""},
		{"allocate, trailing bytes", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine), body: allocate0of10 + "\x00"}, 400, ""},
		{"allocate, 8 KiB and one", ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine), body: strings.Repeat("\x00", 8193)}, 413, ""},

		// Writing.
		{"write without a range", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine), body: "x"}, 416, ""},
		{"write an open range", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes 0-/10"), body: "x"}, 416, ""},
		{"write a range of nothing", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes */10"), body: "x"}, 416, ""},
		{"write with another total", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes 0-0/11"), body: "x"}, 416, ""},
		{"write a short body", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes 0-1/*"), body: "x"}, 400, ""},
		{"write a long body", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes 0-1/*"), body: "xxx"}, 400, ""},
		{"write past the end", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes 9-10/*"), body: "xx"}, 413, ""},
		{"write with another secret", ask{method: "PATCH", path: indexPath + "/5", header: head(upload2Line, "Content-Range: bytes 0-0/*"), body: "x"}, 401, ""},
		{"write what nobody allocated", ask{method: "PATCH", path: indexPath + "/6", header: head(uploadLine, "Content-Range: bytes 0-0/*"), body: "x"}, 404, ""},
		{"write to a share held", ask{method: "PATCH", path: sharePath, header: head(uploadLine, "Content-Range: bytes 0-0/*"), body: "x"}, 404, ""},
		{"write", ask{method: "PATCH", path: indexPath + "/5", header: head(uploadLine, "Content-Range: bytes 2-3/10"), body: "xx"}, 200,
			"\xa1\x68required\x82\xa2\x65begin\x00\x63end\x02\xa2\x65begin\x04\x63end\x0a"},

		// Aborting.
		{"abort with another secret", ask{method: "PUT", path: indexPath + "/5/abort", header: head(upload2Line)}, 401, ""},
		{"abort without a secret", ask{method: "PUT", path: indexPath + "/5/abort"}, 400, ""},
		{"abort what nobody allocated", ask{method: "PUT", path: indexPath + "/6/abort", header: head(uploadLine)}, 404, ""},
		{"abort a share held", ask{method: "PUT", path: sharePath + "/abort", header: head(uploadLine)}, 405, ""},
		{"abort", ask{method: "PUT", path: indexPath + "/5/abort", header: head(uploadLine)}, 200, ""},

		// Reporting.
		{"corrupt, no such share", ask{method: "POST", path: indexPath + "/1/corrupt", body: corrupt0}, 404, ""},
		{"corrupt, no reason", ask{method: "POST", path: sharePath + "/corrupt", body: string(encode(map[string]string{"reason": ""}))}, 400, ""},
		{"corrupt, longest reason", ask{method: "POST", path: sharePath + "/corrupt", body: string(encode(map[string]string{"reason": strings.Repeat("x", 32755)}))}, 200, ""},
		{"corrupt, body too long", ask{method: "POST", path: sharePath + "/corrupt", body: string(encode(map[string]string{"reason": strings.Repeat("x", 32768)}))}, 413, ""},
		{"corrupt, reason in bytes", ask{method: "POST", path: sharePath + "/corrupt", body: string(encode(map[string][]byte{"reason": []byte("x")}))}, 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := memstore.New(memstore.Config{Capacity: 1 << 40})
				r := newRig(t, store, HandlerConfig{})
				si := testIndex(t)
				fill(t, store, si, 1, 100)
				fillOne(t, store, si, 2, big)
				begin := ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine),
					body: string(encode(map[string]any{"share-numbers": numSet{5}, "allocated-size": 10}))}
				if got := r.ask(t, begin); got.code != 200 {
					t.Fatalf("allocating share 5: %d", got.code)
				}
				got := r.ask(t, tt.ask)
				if got.code != tt.code {
					t.Errorf("status %d (%q); want %d", got.code, got.body, tt.code)
				}
				if tt.body != "" && string(got.body) != tt.body {
					t.Errorf("body %d bytes %.80q; want %d bytes %.80q", len(got.body), got.body, len(tt.body), tt.body)
				}
				if got.code == 405 && tt.name != "abort a share held" && got.header.Get("Allow") == "" {
					t.Error("405 without Allow")
				}
				if got.header.Get("Date") != "" {
					t.Error("the answer tells the server's clock")
				}
			})
		})
	}
}

func fillOne(t testing.TB, s storage.Server, si storage.Index, num storage.ShareNum, size int) {
	t.Helper()
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{num}, int64(size), benchLeases)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Writers[num].WriteAt(t.Context(), shareBytes(num, size), 0), a.Writers[num].Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// TestContentRange checks the header of a partial answer.
func TestContentRange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		fill(t, r.store, testIndex(t), 1, 300_000)
		for in, want := range map[string]string{
			"bytes=0-3":                "bytes 0-3/*",
			"bytes=299990-400000":      "bytes 299990-299999/*",
			"bytes=0-9000000000":       "bytes 0-299999/*",
			"bytes=1-299999":           "bytes 1-299999/*",
			"Bytes = 0 - 3 ":           "bytes 0-3/*",
			"bytes=262144-262144":      "bytes 262144-262144/*",
			"bytes=10-300000000000000": "bytes 10-299999/*",
		} {
			got := r.ask(t, ask{method: "GET", path: sharePath, header: head("Range: " + in)})
			if h := got.header.Get("Content-Range"); h != want || got.code != 206 {
				t.Errorf("Range %q: %d, Content-Range %q; want %q", in, got.code, h, want)
			}
		}
	})
}

// TestStoreErrors checks what a store's errors become on the wire, and that
// the ones nobody foresaw are logged and not shown.
func TestStoreErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("x: %w", storage.ErrNotFound), 404},
		{fmt.Errorf("x: %w", storage.ErrConflict), 409},
		{fmt.Errorf("x: %w", storage.ErrTooLarge), 413},
		{fmt.Errorf("x: %w", storage.ErrFragmented), 409},
		{fmt.Errorf("x: %w", storage.ErrNoSpace), 507},
		{fmt.Errorf("x: %w", &storage.BadWriteEnablerError{}), 401},
		{errors.New("the disk said something private"), 500},
	} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, failing{tt.err}, HandlerConfig{})
			got := r.ask(t, ask{method: "GET", path: indexPath + "/shares"})
			if got.code != tt.code {
				t.Errorf("%v: status %d; want %d", tt.err, got.code, tt.code)
			}
			slot := r.ask(t, ask{method: "POST", path: slotPath + "/read-test-write", header: head(enablerLine, renewLine, cancelLine), body: slotBody(nil)})
			if slot.code != tt.code {
				t.Errorf("%v: status %d of a slot; want %d", tt.err, slot.code, tt.code)
			}
			if tt.code == 500 && (bytes.Contains(got.body, []byte("private")) || !r.log.has("private")) {
				t.Errorf("internal error: body %q, log %q; want it in the log only", got.body, r.log)
			}
		})
	}
}

// failing is a store of which nothing works.
type failing struct{ err error }

func (f failing) Version(context.Context) (storage.Version, error) { return storage.Version{}, f.err }
func (f failing) AddLease(context.Context, storage.Index, storage.LeaseSecrets) error {
	return f.err
}
func (f failing) Shares(context.Context, storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	return nil, f.err
}
func (f failing) ReadSlot(context.Context, storage.Index, []storage.ShareNum, []storage.Span) (map[storage.ShareNum][][]byte, error) {
	return nil, f.err
}
func (f failing) TestAndWrite(context.Context, storage.Index, storage.WriteEnabler, storage.LeaseSecrets, map[storage.ShareNum]storage.SlotWrite, []storage.Span) (*storage.SlotResult, error) {
	return nil, f.err
}
func (f failing) ReportCorruptSlot(context.Context, storage.Index, storage.ShareNum, string) error {
	return f.err
}
func (f failing) Allocate(context.Context, storage.Index, []storage.ShareNum, int64, storage.LeaseSecrets) (*storage.Allocation, error) {
	return nil, f.err
}

// TestPanic checks that a panic of the store ends one request only, and that
// no address reaches the log with it.
func TestPanic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, &panicking{Server: memstore.New(memstore.Config{})}, HandlerConfig{})
		c := r.newClient(t, Config{})
		if _, err := c.Shares(t.Context(), storage.Index{}); err == nil {
			t.Error("Shares on a panicking store succeeded")
		}
		if _, err := c.Version(t.Context()); err != nil {
			t.Errorf("Version after a panic: %v", err)
		}
		if !r.log.has("panic in a storage request") || r.log.has("client") {
			t.Errorf("log %q; want the panic and no address", r.log)
		}
	})
}

type panicking struct{ storage.Server }

func (panicking) Shares(context.Context, storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	panic("as told")
}

// TestVersionIsCached checks that polling does not reach the store each time.
func TestVersionIsCached(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &counting{Server: memstore.New(memstore.Config{Capacity: 1 << 30})}
		r := newRig(t, store, HandlerConfig{})
		c := r.newClient(t, Config{})
		for range 50 {
			v, err := c.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want, _ := store.Server.Version(t.Context())
			if d := cmp.Diff(want, v); d != "" {
				t.Fatalf("version differs (-want +got)\n%s", d)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if store.versions < 5 || store.versions > 6 {
			t.Errorf("50 polls in 5 s asked the store %d times; want once a second", store.versions)
		}
	})
}

type counting struct {
	storage.Server
	versions int
}

func (c *counting) Version(ctx context.Context) (storage.Version, error) {
	c.versions++
	return c.Server.Version(ctx)
}

// TestMethodsAgree holds the Allow headers against the routes.
func TestMethodsAgree(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		for _, res := range slices.Sorted(maps.Keys(methods)) {
			p := path{res: res, si: testIndex(t)}
			for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
				got := r.ask(t, ask{method: m, path: p.String()})
				if allowed := strings.Contains(methods[res], m); allowed == (got.code == 405) {
					t.Errorf("%s %s: %d, while Allow says %q", m, p, got.code, methods[res])
				}
			}
		}
	})
}
