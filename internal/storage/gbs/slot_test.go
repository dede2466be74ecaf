package gbs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

const slotPath = "/storage/v1/mutable/" + siText

// testEnabler is the one of enablerLine.
var testEnabler = storage.NewWriteEnabler([32]byte([]byte(strings.Repeat("w", 32))))

// slotBody is a message of read-test-write.
func slotBody(writes map[storage.ShareNum]storage.SlotWrite, spans ...storage.Span) string {
	return string((&slotRequest{writes, spans}).encode())
}

func patchOf(off int64, data string) storage.SlotWrite {
	return storage.SlotWrite{Writes: []storage.SlotPatch{{Off: off, Data: []byte(data)}}}
}

// fillSlot makes a share under testEnabler.
func fillSlot(t testing.TB, s storage.Server, num storage.ShareNum, size int) {
	t.Helper()
	w := map[storage.ShareNum]storage.SlotWrite{num: patchOf(0, string(shareBytes(num, size)))}
	if got, err := s.TestAndWrite(t.Context(), testIndex(t), testEnabler, benchLeases, w, nil); err != nil || !got.Applied {
		t.Fatalf("TestAndWrite: %+v, %v", got, err)
	}
}

// TestSlotAnswers goes through the mutable routes, right and wrong. The store
// holds shares 0 (100 bytes), 2 (1 MiB + 5) and 3 (empty).
func TestSlotAnswers(t *testing.T) {
	big := 1<<20 + 5
	const rtw = slotPath + "/read-test-write"
	secrets := func(more ...string) http.Header {
		return head(append([]string{enablerLine, renewLine, cancelLine}, more...)...)
	}
	post := func(body string) ask { return ask{method: "POST", path: rtw, header: secrets(), body: body} }
	vectors := func(write string) string { // of share 0, with no spans
		return "\xa2\x72test-write-vectors\xa1\x00" + write + "\x6bread-vector\x80"
	}
	const none, null = "\x64test\x80\x65write\x80", "\x6anew-length\xf6"
	n := int64(1)
	tests := []struct {
		name string
		ask  ask
		code int
		body string // "" means do not look
	}{
		{"shares", ask{method: "GET", path: slotPath + "/shares"}, 200, "\xd9\x01\x02\x83\x00\x02\x03"},
		{"no shares", ask{method: "GET", path: "/storage/v1/mutable/aaaaaaaaaaaaaaaaaaaaaaaaaa/shares"}, 200, "\xd9\x01\x02\x80"},
		{"shares, accept json", ask{method: "GET", path: slotPath + "/shares", header: head("Accept: application/json")}, 406, ""},
		{"shares with a secret", ask{method: "GET", path: slotPath + "/shares", header: head(enablerLine)}, 400, ""},
		{"they are not immutable", ask{method: "GET", path: indexPath + "/shares"}, 200, "\xd9\x01\x02\x80"},
		{"nor readable as such", ask{method: "GET", path: sharePath}, 404, ""},
		{"slot alone", ask{method: "GET", path: slotPath}, 404, ""},
		{"GET read-test-write", ask{method: "GET", path: rtw}, 405, ""},
		{"PATCH share", ask{method: "PATCH", path: slotPath + "/0"}, 405, ""},
		{"abort is of immutables", ask{method: "PUT", path: slotPath + "/0/abort"}, 404, ""},
		{"share number too large", ask{method: "GET", path: slotPath + "/256"}, 404, ""},

		{"whole", ask{method: "GET", path: slotPath + "/0"}, 200, string(shareBytes(0, 100))},
		{"whole, large", ask{method: "GET", path: slotPath + "/2"}, 200, string(shareBytes(2, big))},
		{"whole, empty", ask{method: "GET", path: slotPath + "/3"}, 200, ""},
		{"range", ask{method: "GET", path: slotPath + "/0", header: head("Range: bytes=10-19")}, 206, string(shareBytes(0, 100)[10:20])},
		{"range past the end", ask{method: "GET", path: slotPath + "/0", header: head("Range: bytes=90-200")}, 206, string(shareBytes(0, 100)[90:])},
		{"large range past the end", ask{method: "GET", path: slotPath + "/2", header: head("Range: bytes=7-9000000000000000000")}, 206, string(shareBytes(2, big)[7:])},
		{"range after the end", ask{method: "GET", path: slotPath + "/0", header: head("Range: bytes=100-200")}, 204, ""},
		{"range of an empty share", ask{method: "GET", path: slotPath + "/3", header: head("Range: bytes=0-0")}, 204, ""},
		{"open range", ask{method: "GET", path: slotPath + "/0", header: head("Range: bytes=10-")}, 416, ""},
		{"no such share", ask{method: "GET", path: slotPath + "/1"}, 404, ""},

		{"corrupt", ask{method: "POST", path: slotPath + "/0/corrupt", body: corrupt0}, 200, ""},
		{"corrupt, no such share", ask{method: "POST", path: slotPath + "/1/corrupt", body: corrupt0}, 404, ""},
		{"corrupt, no reason", ask{method: "POST", path: slotPath + "/0/corrupt", body: string(encode(map[string]string{"reason": ""}))}, 400, ""},
		{"lease", ask{method: "PUT", path: "/storage/v1/lease/" + siText, header: head(renewLine, cancelLine)}, 204, ""},

		{"write", post(slotBody(map[storage.ShareNum]storage.SlotWrite{0: patchOf(5, "xyz")}, storage.Span{Off: 4, Len: 3}, storage.Span{Off: 99, Len: 9})), 200,
			"\xa2\x67success\xf5\x64data\xa3\x00\x82\x43\x04\x05\x06\x41\x63\x02\x82\x43\x06\x07\x04\x49\x61\x66\x67\x64\x65\x6a\x6b\x68\x69\x03\x82\x40\x40"},
		{"write, test fails", post(slotBody(map[storage.ShareNum]storage.SlotWrite{0: {Tests: []storage.SlotTest{{Off: 0, Len: 1}}, NewLength: &n}})), 200,
			"\xa2\x67success\xf4\x64data\xa3\x00\x80\x02\x80\x03\x80"},
		{"only read", post(slotBody(nil, storage.Span{Off: 0, Len: 1})), 200, "\xa2\x67success\xf5\x64data\xa3\x00\x81\x41\x00\x02\x81\x41\x02\x03\x81\x40"},
		{"no content type is CBOR", post(slotBody(nil)), 200, ""},
		{"keys in another order", post("\xa2\x6bread-vector\x80\x72test-write-vectors\xa1\x00\xa3" + null + none), 200, ""},
		{"numbers in a longer form", post("\xa2\x72test-write-vectors\xb8\x01\x18\x00\xa3" + none + null + "\x6bread-vector\x98\x00"), 200, ""},
		{"accept json", ask{method: "POST", path: rtw, header: secrets("Accept: application/json"), body: slotBody(nil)}, 406, ""},
		{"JSON body", ask{method: "POST", path: rtw, header: secrets("Content-Type: application/json"), body: "{}"}, 415, ""},
		{"another write enabler", ask{method: "POST", path: rtw, header: head(secretLine(writeEnabler, strings.Repeat("v", 32)), renewLine, cancelLine), body: slotBody(nil)}, 401, ""},
		{"without a write enabler", ask{method: "POST", path: rtw, header: head(renewLine, cancelLine), body: slotBody(nil)}, 400, ""},
		{"without leases", ask{method: "POST", path: rtw, header: head(enablerLine), body: slotBody(nil)}, 400, ""},
		{"with a short write enabler", ask{method: "POST", path: rtw, header: head(secretLine(writeEnabler, "short"), renewLine, cancelLine), body: slotBody(nil)}, 400, ""},
		{"with an upload secret, too", ask{method: "POST", path: rtw, header: secrets(uploadLine), body: slotBody(nil)}, 400, ""},

		{"no body", post(""), 400, ""},
		{"trailing bytes", post(slotBody(nil) + "\x00"), 400, ""},
		{"cut", post(strings.TrimSuffix(slotBody(nil), "\x80")), 400, ""},
		{"a key missing", post("\xa1\x72test-write-vectors\xa0"), 400, ""},
		{"a key twice", post("\xa2\x6bread-vector\x80\x6bread-vector\x80"), 400, ""},
		{"a key too many", post("\xa3\x72test-write-vectors\xa0\x6bread-vector\x80\x61x\x00"), 400, ""},
		{"an unknown key", post("\xa2\x72test-write-vectors\xa0\x6bread-vectoR\x80"), 400, ""},
		{"indefinite lengths", post("\xbf\x72test-write-vectors\xa0\x6bread-vector\x9f\xff\xff"), 400, ""},
		{"share number 256", post("\xa2\x72test-write-vectors\xa1\x19\x01\x00\xa3" + none + null + "\x6bread-vector\x80"), 400, ""},
		{"share number negative", post("\xa2\x72test-write-vectors\xa1\x20\xa3" + none + null + "\x6bread-vector\x80"), 400, ""},
		{"share number twice", post("\xa2\x72test-write-vectors\xa2\x00\xa3" + none + null + "\x00\xa3" + none + null + "\x6bread-vector\x80"), 400, ""},
		{"257 shares", post("\xa2\x72test-write-vectors\xb9\x01\x01" + strings.Repeat("\x00\xa3"+none+null, 257) + "\x6bread-vector\x80"), 400, ""},
		{"new length missing", post(vectors("\xa2" + none)), 400, ""},
		{"new length a boolean", post(vectors("\xa3" + none + "\x6anew-length\xf5")), 400, ""},
		{"new length negative", post(vectors("\xa3" + none + "\x6anew-length\x20")), 400, ""},
		{"new length undefined", post(vectors("\xa3" + none + "\x6anew-length\xf7")), 400, ""},
		{"tests null", post(vectors("\xa3\x64test\xf6\x65write\x80" + null)), 400, ""},
		{"specimen a text", post(vectors("\xa3\x64test\x81\xa3\x66offset\x00\x64size\x00\x68specimen\x60\x65write\x80" + null)), 400, ""},
		{"offset null", post(vectors("\xa3\x64test\x80\x65write\x81\xa2\x66offset\xf6\x64data\x40" + null)), 400, ""},
		{"data tagged", post(vectors("\xa3\x64test\x80\x65write\x81\xa2\x66offset\x00\x64data\xc2\x41\x05" + null)), 400, ""},
		{"data longer than the body", post(vectors("\xa3\x64test\x80\x65write\x81\xa2\x66offset\x00\x64data\x5b\x7f\xff\xff\xff\xff\xff\xff\xff")), 400, ""},
		{"31 tests", post(slotBody(map[storage.ShareNum]storage.SlotWrite{0: {Tests: make([]storage.SlotTest, 31)}})), 400, ""},
		{"30 tests", post(slotBody(map[storage.ShareNum]storage.SlotWrite{0: {Tests: make([]storage.SlotTest, 30)}})), 200, ""},
		{"31 spans", post(slotBody(nil, make([]storage.Span, 31)...)), 400, ""},
		{"30 spans", post(slotBody(nil, make([]storage.Span, 30)...)), 200, ""},
		{"more writes than are taken", post(slotBody(map[storage.ShareNum]storage.SlotWrite{0: {Writes: make([]storage.SlotPatch, maxPatches)}, 1: patchOf(0, "x")})), 400, ""},

		{"too large a share", post(slotBody(map[storage.ShareNum]storage.SlotWrite{0: patchOf(math.MaxInt64, "x")})), 413, ""},
		{"an offset beyond numbers", post(vectors("\xa3\x64test\x80\x65write\x81\xa2\x66offset\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x64data\x41x" + null)), 413, ""},
		{"too large an answer", post(slotBody(nil, slices.Repeat([]storage.Span{{Off: 0, Len: math.MaxInt64}}, 30)...)), 413, ""},
		{"too large a body", post(strings.Repeat("\x00", 9<<20)), 413, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := memstore.New(memstore.Config{})
				r := newRig(t, store, HandlerConfig{MaxSlotBody: 9<<20 - 1})
				fillSlot(t, store, 0, 100)
				fillSlot(t, store, 2, big)
				fillSlot(t, store, 3, 0)
				got := r.ask(t, tt.ask)
				if got.code != tt.code {
					t.Errorf("status %d (%q); want %d", got.code, got.body, tt.code)
				}
				if tt.body != "" && string(got.body) != tt.body {
					t.Errorf("body %d bytes %.80q; want %d bytes %.80q", len(got.body), got.body, len(tt.body), tt.body)
				}
				if got.code == 405 && got.header.Get("Allow") == "" {
					t.Error("405 without Allow")
				}
				if left := r.handler.slotBodies.left + r.handler.slotAnswers.left; left != 2*r.handler.cfg.SlotMemory {
					t.Errorf("%d bytes of the budgets are left; want all", left)
				}
				if tt.code >= 400 {
					data, err := store.ReadSlot(t.Context(), testIndex(t), nil, []storage.Span{{Off: 0, Len: 200}})
					if err != nil || len(data) != 3 || !bytes.Equal(data[0][0], shareBytes(0, 100)) {
						t.Errorf("a refused call changed the slot: %v", err)
					}
				}
			})
		})
	}
}

// TestSlotRequests looks at what the slot calls put on the wire.
func TestSlotRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		r := newFake(t, func(w http.ResponseWriter, hr *http.Request) {
			body, _ := io.ReadAll(hr.Body)
			mu.Lock()
			got = append(got, fmt.Sprintf("%s %s %s %d %x", hr.Method, strings.TrimPrefix(hr.URL.Path, slotPath), hr.Header.Get("Range"), len(hr.Header.Values(secretsHeader)), body))
			mu.Unlock()
			w.Header().Set("Content-Type", cborType)
			switch {
			case hr.Method == "POST" && strings.HasSuffix(hr.URL.Path, "corrupt"):
			case hr.Method == "POST":
				w.Write((&slotAnswer{SlotResult: storage.SlotResult{Data: map[storage.ShareNum][][]byte{7: {[]byte("a")}}}}).encode())
			case strings.HasSuffix(hr.URL.Path, "shares"):
				w.Write(encode(numSet{3}))
			default:
				w.WriteHeader(204)
			}
		})
		c := r.newClient(t, Config{})
		si := testIndex(t)
		if d, err := c.ReadSlot(t.Context(), si, nil, []storage.Span{{Off: 5, Len: 10}, {Off: 9, Len: 0}}); err != nil || len(d) != 1 || len(d[3]) != 2 {
			t.Errorf("ReadSlot: %v, %v", d, err)
		}
		if d, err := c.ReadSlot(t.Context(), si, []storage.ShareNum{4}, []storage.Span{{Off: 0, Len: 1 << 40}}); err != nil || len(d) != 1 {
			t.Errorf("ReadSlot: %v, %v", d, err)
		}
		w := map[storage.ShareNum]storage.SlotWrite{7: {Tests: []storage.SlotTest{{Off: 1, Len: 2, Specimen: []byte("s")}}, Writes: []storage.SlotPatch{{Off: 300, Data: []byte("d")}}}}
		if res, err := c.TestAndWrite(t.Context(), si, testEnabler, benchLeases, w, []storage.Span{{Off: 0, Len: 5}}); err != nil || res.Applied || string(res.Data[7][0]) != "a" {
			t.Errorf("TestAndWrite: %+v, %v", res, err)
		}
		if err := c.ReportCorruptSlot(t.Context(), si, 3, "bad"); err != nil {
			t.Error(err)
		}
		want := []string{
			"GET /shares  0 ",
			"GET /3 bytes=5-14 0 ",
			"GET /4 bytes=0-1048575 0 ",
			fmt.Sprintf("POST /read-test-write  3 %x", "\xa2\x72test-write-vectors\xa1\x07\xa3\x64test\x81\xa3\x66offset\x01\x64size\x02\x68specimen\x41s"+
				"\x65write\x81\xa2\x66offset\x19\x01\x2c\x64data\x41d\x6anew-length\xf6\x6bread-vector\x81\xa2\x66offset\x00\x64size\x05"),
			fmt.Sprintf("POST /3/corrupt  0 %x", "\xa1\x66reason\x63bad"),
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("requests differ (-want +got)\n%s", d)
		}
	})
}

// TestSlotBadAnswers meets servers that answer slot calls otherwise.
func TestSlotBadAnswers(t *testing.T) {
	spans := []storage.Span{{Off: 0, Len: 2}, {Off: 5, Len: 1}}
	for _, tt := range []struct {
		name string
		code int
		body string
		is   error
	}{
		{"longer than asked for", 200, "\xa2\x67success\xf5\x64data\xa1\x00\x82\x42ab\x42cd", errMessage},
		{"a piece too few", 200, "\xa2\x67success\xf5\x64data\xa1\x00\x81\x42ab", errMessage},
		{"a piece too many", 200, "\xa2\x67success\xf5\x64data\xa1\x00\x83\x42ab\x41c\x40", errMessage},
		{"share 256", 200, "\xa2\x67success\xf5\x64data\xa1\x19\x01\x00\x82\x42ab\x41c", errMessage},
		{"success null", 200, "\xa2\x67success\xf6\x64data\xa0", errMessage},
		{"success missing", 200, "\xa1\x64data\xa0", errMessage},
		{"trailing bytes", 200, "\xa2\x67success\xf5\x64data\xa0\x00", errMessage},
		{"empty", 200, "", errMessage},
		{"unauthorized", 401, "", storage.ErrBadWriteEnabler},
		{"too large", 413, "", storage.ErrTooLarge},
		{"full", 507, "", storage.ErrNoSpace},
	} {
		bubble(t, func(t *testing.T) {
			r := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", cborType)
				w.WriteHeader(tt.code)
				io.WriteString(w, tt.body)
			})
			res, err := r.newClient(t, Config{}).TestAndWrite(t.Context(), storage.Index{}, testEnabler, benchLeases, nil, spans)
			if !errors.Is(err, tt.is) || res != nil {
				t.Errorf("%s: %+v, %v; want %v", tt.name, res, err, tt.is)
			}
		})
	}
	// A share that goes between list and read is as one that never was.
	bubble(t, func(t *testing.T) {
		r := newFake(t, func(w http.ResponseWriter, hr *http.Request) {
			w.Header().Set("Content-Type", cborType)
			if strings.HasSuffix(hr.URL.Path, "shares") {
				w.Write(encode(numSet{1, 2}))
				return
			}
			if strings.HasSuffix(hr.URL.Path, "2") {
				w.Header().Set("Content-Range", "bytes 0-1/*")
				w.WriteHeader(206)
				io.WriteString(w, "ab")
				return
			}
			w.WriteHeader(404)
		})
		got, err := r.newClient(t, Config{}).ReadSlot(t.Context(), storage.Index{}, nil, spans[:1])
		if d := cmp.Diff(map[storage.ShareNum][][]byte{2: {[]byte("ab")}}, got); d != "" || err != nil {
			t.Errorf("ReadSlot: %v, %s", err, d)
		}
	})
}

// TestSlotWriteGoesOutOnce lets a kept-alive connection break after the
// request: a read is repeated, a write is not, as it may have been done.
func TestSlotWriteGoesOutOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := map[string]int{}
		r := newFake(t, func(w http.ResponseWriter, hr *http.Request) {
			io.Copy(io.Discard, hr.Body)
			call := hr.Method + " " + strings.TrimPrefix(hr.URL.Path, slotPath)
			if seen[call]++; call != "GET /shares" && seen[call] == 1 {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Type", cborType)
			w.Write(encode(numSet{}))
		})
		c := r.newClient(t, Config{MaxConns: 1})
		list := func() {
			if _, err := c.ReadSlot(t.Context(), testIndex(t), nil, nil); err != nil { // leaves a connection
				t.Fatal(err)
			}
		}
		list()
		if _, err := c.TestAndWrite(t.Context(), testIndex(t), testEnabler, benchLeases, nil, nil); err == nil {
			t.Error("TestAndWrite succeeded on a broken connection")
		}
		list()
		c.Version(t.Context())
		if seen["POST /read-test-write"] != 1 || seen["GET /storage/v1/version"] != 2 {
			t.Errorf("calls: %v; want one write and two of version", seen)
		}
	})
}

// TestLargeSlotWrite sends 20 MiB over a path on which that takes longer than
// a call may, and reads it back.
func TestLargeSlotWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		r.net.SetDefault(memnet.Link{Latency: 200 * time.Millisecond, Bandwidth: 128 << 10})
		c := r.newClient(t, Config{})
		data := shareBytes(1, 20<<20)
		start := time.Now()
		w := map[storage.ShareNum]storage.SlotWrite{0: patchOf(0, string(data))}
		if _, err := c.TestAndWrite(t.Context(), testIndex(t), testEnabler, benchLeases, w, nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2*time.Minute {
			t.Errorf("it took %v; the test means to be slow", took)
		}
		got, err := r.store.ReadSlot(t.Context(), testIndex(t), nil, []storage.Span{{Off: 0, Len: 30 << 20}})
		if err != nil || !bytes.Equal(got[0][0], data) {
			t.Errorf("the share differs, %v", err)
		}
	})
}

// TestSlotMemory checks that large writes share a budget, that announcing
// takes nothing of it, and that small ones go on without.
func TestSlotMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{SlotMemory: 8 << 20, Stall: time.Hour})
		post := func(length int, sent string) io.Closer {
			c := r.dialTLS(t)
			fmt.Fprintf(c, "POST %s/read-test-write HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%sContent-Length: %d\r\n\r\n%s",
				slotPath, authorization(redact.New(testSwissnum)), secretLines(enablerLine, renewLine, cancelLine), length, sent)
			return c
		}
		left := func() int64 {
			synctest.Wait()
			r.handler.slotBodies.mu.Lock()
			defer r.handler.slotBodies.mu.Unlock()
			return r.handler.slotBodies.left
		}
		body := slotBody(map[storage.ShareNum]storage.SlotWrite{0: patchOf(0, string(make([]byte, 2<<20)))})
		big := ask{method: "POST", path: slotPath + "/read-test-write", header: head(enablerLine, renewLine, cancelLine), body: body}

		announced := post(200<<20, "\xa2")
		if got := left(); got != 8<<20 {
			t.Errorf("%d bytes left after an announcement; want all", got)
		}
		if got := r.ask(t, big); got.code != 200 {
			t.Errorf("a write that fits: %d", got.code)
		}
		half := post(len(body)+1<<20, body)
		if got := left(); got > 4<<20 {
			t.Errorf("%d bytes left beside 2 MiB received", got)
		}
		if got := r.ask(t, big); got.code != 503 {
			t.Errorf("a write beyond the budget: %d; want 503", got.code)
		}
		small := big
		small.body = slotBody(map[storage.ShareNum]storage.SlotWrite{0: patchOf(5, "x")}, storage.Span{Off: 0, Len: 200})
		if got := r.ask(t, small); got.code != 200 {
			t.Errorf("a small write meanwhile: %d", got.code)
		}
		half.Close()
		announced.Close()
		if got := left(); got != 8<<20 {
			t.Errorf("%d bytes left when all have gone; want all", got)
		}
		if got := r.ask(t, big); got.code != 200 {
			t.Errorf("a write afterwards: %d", got.code)
		}
		wide := big
		wide.body = slotBody(nil, storage.Span{Off: 0, Len: 1 << 40})
		if got := r.ask(t, wide); got.code != 503 {
			t.Errorf("asking for more than the budget of answers: %d; want 503", got.code)
		}
	})
}

// TestSlowSlotBody checks that a body has to move.
func TestSlowSlotBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{Stall: 10 * time.Second, MinRate: 1 << 20})
		c := r.dialTLS(t)
		fmt.Fprintf(c, "POST %s/read-test-write HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%sContent-Length: 100000\r\n\r\n",
			slotPath, authorization(redact.New(testSwissnum)), secretLines(enablerLine, renewLine, cancelLine))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { // a byte a second for ever
			for ctx.Err() == nil {
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		start := time.Now()
		resp, _ := readResponse(t, c, nil)
		if took := time.Since(start); resp.StatusCode != 400 || took > 15*time.Second {
			t.Errorf("a dribbled body: %d after %v; want 400 after 10 s", resp.StatusCode, took)
		}
	})
}

// FuzzSlotMessages feeds both scanners. What is accepted encodes to something
// that is accepted and means the same.
func FuzzSlotMessages(f *testing.F) {
	n := int64(0)
	f.Add([]byte(slotBody(nil)))
	f.Add([]byte(slotBody(map[storage.ShareNum]storage.SlotWrite{0: {
		Tests: []storage.SlotTest{{Off: 1, Len: 2, Specimen: []byte("ab")}}, Writes: []storage.SlotPatch{{Off: 300, Data: []byte("data")}}, NewLength: &n,
	}, 255: {}}, storage.Span{Off: 1 << 40, Len: 5})))
	f.Add((&slotAnswer{SlotResult: storage.SlotResult{Applied: true, Data: map[storage.ShareNum][][]byte{3: {[]byte("abc"), nil}}}}).encode())
	for _, s := range seedMessages {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := scanSlotRequest(b); err == nil {
			again, err := scanSlotRequest(m.encode())
			if err != nil {
				t.Fatalf("%x was accepted, its encoding is not: %v", b, err)
			}
			if d := cmp.Diff(m, again, cmp.AllowUnexported(slotRequest{})); d != "" {
				t.Errorf("%x changes: %s", b, d)
			}
			if err := storage.CheckSlotCall(testEnabler, m.writes, m.spans, math.MaxInt64); err != nil && !errors.Is(err, storage.ErrTooLarge) {
				t.Errorf("%x was accepted and means nothing: %v", b, err)
			}
		}
		a := &slotAnswer{spans: []storage.Span{{Off: 0, Len: 3}, {Off: 0, Len: 1 << 40}}}
		if a.scan(b) == nil {
			if err := (&slotAnswer{spans: a.spans}).scan(a.encode()); err != nil {
				t.Errorf("answer %x was accepted, its encoding is not: %v", b, err)
			}
		}
	})
}

// TestScannerAgrees compares the scanner with a CBOR library: what it takes is
// what that takes.
func TestScannerAgrees(t *testing.T) {
	body := []byte(slotBody(map[storage.ShareNum]storage.SlotWrite{3: {
		Tests:  []storage.SlotTest{{Off: 24, Len: 256, Specimen: bytes.Repeat([]byte("s"), 300)}},
		Writes: []storage.SlotPatch{{Off: 1 << 33, Data: make([]byte, 70_000)}},
	}}, storage.Span{Off: 23, Len: math.MaxInt64}))
	want := map[any]any{
		"test-write-vectors": map[any]any{uint64(3): map[any]any{
			"test":       []any{map[any]any{"offset": uint64(24), "size": uint64(256), "specimen": bytes.Repeat([]byte("s"), 300)}},
			"write":      []any{map[any]any{"offset": uint64(1 << 33), "data": make([]byte, 70_000)}},
			"new-length": nil,
		}},
		"read-vector": []any{map[any]any{"offset": uint64(23), "size": uint64(math.MaxInt64)}},
	}
	if d := cmp.Diff(want, generic(t, body)); d != "" {
		t.Errorf("request differs (-want +got)\n%s", d)
	}
	for i := range body {
		if _, err := scanSlotRequest(body[:i]); err == nil {
			t.Fatalf("a request cut at %d of %d bytes was accepted", i, len(body))
		}
	}
}
