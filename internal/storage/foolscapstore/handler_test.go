package foolscapstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// secretOf is 32 times one letter.
func secretOf(letter string) []byte { return []byte(strings.Repeat(letter, 32)) }

var testIndex = []byte("a storage index.")

// wantRaised checks the class and the text of what a peer raised.
func wantRaised(t *testing.T, what string, err error, class, text string) {
	t.Helper()
	e, ok := errors.AsType[*foolscap.RemoteError](err)
	if !ok || e.Type != class || text != "" && e.Value != text {
		t.Errorf("%s: %v; want %s %q", what, err, class, text)
	}
}

// TestSlotCalls are the calls of the recorded session errors-00, in which
// Tahoe-LAFS 1.20 was called by hand, and what it answered.
func TestSlotCalls(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		ref := r.ref(t)
		secrets := func(enabler string) banana.Tuple {
			return banana.Tuple{secretOf(enabler), secretOf("R"), secretOf("C")}
		}
		vectors := func(test banana.List, data string) banana.Dict {
			return banana.Dict{{Key: int64(0), Value: banana.Tuple{test, banana.List{banana.Tuple{int64(0), []byte(data)}}, nil}}}
		}
		ten := banana.List{banana.Tuple{int64(0), int64(10)}}
		for _, tt := range []struct {
			method string
			args   []any
			want   any
		}{
			{"slot_testv_and_readv_and_writev",
				[]any{testIndex, secrets("W"), vectors(banana.List{banana.Tuple{int64(0), int64(1), []byte("eq"), []byte("")}}, "hello"), ten},
				banana.Tuple{true, banana.Dict{}}},
			{"slot_testv_and_readv_and_writev",
				[]any{testIndex, secrets("W"), vectors(banana.List{banana.Tuple{int64(0), int64(5), []byte("eq"), []byte("jello")}}, "xxxxx"), ten},
				banana.Tuple{false, banana.Dict{{Key: int64(0), Value: banana.List{[]byte("hello")}}}}},
			{"slot_readv",
				[]any{testIndex, banana.List{int64(0), int64(1)}, banana.List{banana.Tuple{int64(0), int64(3)}, banana.Tuple{int64(4), int64(100)}}},
				banana.Dict{{Key: int64(0), Value: banana.List{[]byte("hel"), []byte("o")}}}},
			{"get_buckets", []any{[]byte("short")}, banana.Dict{}},
			{"add_lease", []any{[]byte("another index..."), secretOf("R"), secretOf("C")}, nil},
		} {
			got, err := ref.Call(t.Context(), tt.method, nil, tt.args...)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("%s: %v, (-reference +ours):\n%s", tt.method, err, diff)
			}
		}
		_, err := ref.Call(t.Context(), "slot_testv_and_readv_and_writev", nil, testIndex, secrets("X"), vectors(banana.List{}, "hello"), banana.List{})
		wantRaised(t, "another write enabler", err, classBadEnabler, "The write enabler was recorded by nodeid '"+r.server.TubID()+"'.")
		_, err = ref.Call(t.Context(), "remote_nothing", nil)
		wantRaised(t, "an unknown method", err, classViolation, "")
	})
}

// TestClasses are what the reference's clients look at.
func TestClasses(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		w := r.bucket(t, 0, 100)
		must(t, call(t, w, "write", int64(10), []byte("twenty bytes of data")))
		wantRaised(t, "past the end", call(t, w, "write", int64(90), make([]byte, 11)), classTooLarge, "(100, 90, 11)")
		wantRaised(t, "over other bytes", call(t, w, "write", int64(10), []byte("x")), classConflict, "")
		must(t, call(t, w, "abort"))
		must(t, call(t, w, "abort"))
		wantRaised(t, "write after abort", call(t, w, "write", int64(10), []byte("x")), classAssertion, "")
		wantRaised(t, "close after abort", call(t, w, "close"), classAssertion, "")

		ref := r.ref(t)
		wantRaised(t, "renew_lease", call(t, ref, "renew_lease", testIndex, secretOf("R")), classIndex, "no such lease to renew")
		w = r.bucket(t, 0, 4)
		must(t, call(t, w, "write", int64(0), []byte("data")))
		must(t, call(t, w, "close"))
		must(t, call(t, ref, "renew_lease", testIndex, secretOf("R")))
		v, err := ref.Call(t.Context(), "get_buckets", nil, testIndex)
		must(t, err)
		b := v.(banana.Dict)[0].Value.(*foolscap.Ref)
		for _, tt := range []struct {
			off, n int64
			want   string
		}{{0, 4, "data"}, {1, maxSize, "ata"}, {4, 1, ""}, {math.MaxInt64, 5, ""}, {2, 0, ""}} {
			if got, err := b.Call(t.Context(), "read", nil, tt.off, tt.n); err != nil || string(got.([]byte)) != tt.want {
				t.Errorf("read(%d, %d) = %q, %v; want %q", tt.off, tt.n, got, err, tt.want)
			}
		}
		must(t, call(t, b, "advise_corrupt_share", []byte("bad \xff block")))
		must(t, call(t, ref, "advise_corrupt_share", []byte("immutable"), testIndex, int64(0), []byte("again")))
		must(t, call(t, ref, "advise_corrupt_share", []byte("immutable"), testIndex, int64(7), []byte("not held")))
		must(t, call(t, ref, "advise_corrupt_share", []byte("mutable"), testIndex, int64(0), []byte("not held")))
		var reasons []string
		for _, rep := range r.store.(*memstore.Store).Reports() {
			reasons = append(reasons, rep.Reason)
		}
		if !slices.Equal(reasons, []string{"bad \uFFFD block", "again"}) {
			t.Errorf("reports: %q", reasons)
		}
		r.store.(*memstore.Store).Delete(storage.Index(testIndex), 0)
		wantRaised(t, "a share that has gone", call(t, b, "read", int64(0), int64(1)), classNotFound, "")
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func call(t *testing.T, ref *foolscap.Ref, method string, args ...any) error {
	_, err := ref.Call(t.Context(), method, nil, args...)
	return err
}

func (r *rig) allocate(t *testing.T, size int64, nums ...any) banana.Tuple {
	t.Helper()
	v, err := r.ref(t).Call(t.Context(), "allocate_buckets", nil, testIndex, secretOf("R"), secretOf("C"), banana.Set(nums), size, &foolscap.Object{})
	must(t, err)
	return v.(banana.Tuple)
}

// bucket allocates one share and returns its RIBucketWriter.
func (r *rig) bucket(t *testing.T, num, size int64) *foolscap.Ref {
	t.Helper()
	writers := r.allocate(t, size, num)[1].(banana.Dict)
	if len(writers) != 1 {
		t.Fatalf("%d writers for share %d", len(writers), num)
	}
	return writers[0].Value.(*foolscap.Ref)
}

// TestHostileArguments are refused, and the connection goes on.
func TestHostileArguments(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		ref, canary := r.ref(t), &foolscap.Object{}
		ok := secretOf("s")
		allocate := func(args ...any) []any { return args }
		var many, far banana.Set
		for i := range int64(257) {
			many = append(many, i%256)
		}
		far = banana.Set{int64(256)}
		vector := func(tests, writes, length any) banana.Dict {
			return banana.Dict{{Key: int64(0), Value: banana.Tuple{tests, writes, length}}}
		}
		secrets := banana.Tuple{ok, ok, ok}
		spans := func(n int) (l banana.List) {
			for range n {
				l = append(l, banana.Tuple{int64(0), int64(1)})
			}
			return l
		}
		for name, tt := range map[string]struct {
			method string
			args   []any
		}{
			"short secret":        {"allocate_buckets", allocate(testIndex, ok[:31], ok, banana.Set{int64(0)}, 5, canary)},
			"long secret":         {"allocate_buckets", allocate(testIndex, ok, append(ok, 'x'), banana.Set{int64(0)}, 5, canary)},
			"short index":         {"allocate_buckets", allocate(testIndex[:15], ok, ok, banana.Set{int64(0)}, 5, canary)},
			"long index":          {"allocate_buckets", allocate(append(testIndex, 'x'), ok, ok, banana.Set{int64(0)}, 5, canary)},
			"257 shares":          {"allocate_buckets", allocate(testIndex, ok, ok, many, 5, canary)},
			"share 256":           {"allocate_buckets", allocate(testIndex, ok, ok, far, 5, canary)},
			"negative share":      {"allocate_buckets", allocate(testIndex, ok, ok, banana.Set{int64(-1)}, 5, canary)},
			"negative size":       {"allocate_buckets", allocate(testIndex, ok, ok, banana.Set{int64(0)}, -5, canary)},
			"enormous size":       {"allocate_buckets", allocate(testIndex, ok, ok, banana.Set{int64(0)}, uint64(math.MaxUint64), canary)},
			"no canary":           {"allocate_buckets", allocate(testIndex, ok, ok, banana.Set{int64(0)}, 5, nil)},
			"canary of ours":      {"allocate_buckets", allocate(testIndex, ok, ok, banana.Set{int64(0)}, 5, ref)},
			"an argument missing": {"allocate_buckets", allocate(testIndex, ok, ok)},
			"text for an index":   {"get_buckets", []any{"a storage index."}},
			"kind of share":       {"advise_corrupt_share", []any{[]byte("mutant"), testIndex, 0, []byte("x")}},
			"long reason":         {"advise_corrupt_share", []any{[]byte("mutable"), testIndex, 0, make([]byte, maxReason+1)}},
			"two secrets":         {"slot_testv_and_readv_and_writev", []any{testIndex, banana.Tuple{ok, ok}, banana.Dict{}, banana.List{}}},
			"31 spans":            {"slot_testv_and_readv_and_writev", []any{testIndex, secrets, banana.Dict{}, spans(31)}},
			"31 tests":            {"slot_testv_and_readv_and_writev", []any{testIndex, secrets, vector(spans(31), banana.List{}, nil), banana.List{}}},
			"negative offset":     {"slot_testv_and_readv_and_writev", []any{testIndex, secrets, vector(banana.List{}, banana.List{banana.Tuple{int64(-1), []byte("x")}}, nil), banana.List{}}},
			"negative length":     {"slot_testv_and_readv_and_writev", []any{testIndex, secrets, vector(banana.List{}, banana.List{}, int64(-1)), banana.List{}}},
			"short slot index":    {"slot_testv_and_readv_and_writev", []any{testIndex[:3], secrets, banana.Dict{}, banana.List{}}},
			"too many reads":      {"slot_readv", []any{testIndex, banana.List{}, spans(maxSpans + 1)}},
			"long read":           {"slot_readv", []any{testIndex, banana.List{}, banana.List{banana.Tuple{int64(0), int64(1 << 31)}}}},
		} {
			wantRaised(t, name, call(t, ref, tt.method, tt.args...), classViolation, "")
		}
		less := banana.List{banana.Tuple{int64(0), int64(1), []byte("lt"), []byte("x")}}
		wantRaised(t, "operator", call(t, ref, "slot_testv_and_readv_and_writev", testIndex, secrets, vector(less, banana.List{}, nil), banana.List{}), classAssertion, "")
		wantRaised(t, "past the largest share", call(t, ref, "slot_testv_and_readv_and_writev", testIndex, secrets,
			vector(banana.List{}, banana.List{banana.Tuple{int64(math.MaxInt64), []byte("x")}}, nil), banana.List{}), classTooLarge, "")
		w := r.bucket(t, 0, 32<<20)
		wantRaised(t, "a write too long", call(t, w, "write", 0, make([]byte, maxWrite+1)), classViolation, "")
		must(t, call(t, w, "write", 0, make([]byte, maxWrite)))
		if got, err := ref.Call(t.Context(), "slot_readv", nil, testIndex, banana.List{int64(300)}, banana.List{}); err != nil || len(got.(banana.Dict)) != 0 {
			t.Errorf("slot_readv of share 300: %v, %v", got, err)
		}
		if n := len(r.client.Conns()); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestLongRead: an answer is never cut short, which would mean the end.
func TestLongRead(t *testing.T) {
	r := loopbackRig(t, nil, HandlerConfig{})
	w := r.bucket(t, 0, maxRead+1)
	for off := int64(0); off <= maxRead; off += 16 << 20 {
		must(t, call(t, w, "write", off, make([]byte, min(16<<20, maxRead+1-off))))
	}
	must(t, call(t, w, "close"))
	v, err := r.ref(t).Call(t.Context(), "get_buckets", nil, testIndex)
	must(t, err)
	b := v.(banana.Dict)[0].Value.(*foolscap.Ref)
	wantRaised(t, "too much", call(t, b, "read", int64(0), int64(maxRead+1)), classValue, "")
	got, err := b.Call(t.Context(), "read", nil, int64(1), int64(maxRead+1))
	if err != nil || len(got.([]byte)) != maxRead {
		t.Errorf("as much as there may be: %d bytes, %v", len(got.([]byte)), err)
	}
}

func wantNoUploads(t *testing.T, h *Handler) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open != 0 || len(h.uploads) != 0 {
		t.Errorf("%d uploads are remembered, %d counted", len(h.uploads), h.open)
	}
}

// TestCanary: a client that goes away takes its half-written shares along.
func TestCanary(t *testing.T) {
	for name, away := range map[string]func(r *rig){
		"closes": func(r *rig) { closeTub(r.client) },
		"is cut": func(r *rig) { r.net.Cut("client", "server") },
		"falls silent": func(r *rig) {
			r.net.Partition("client", "server")
			time.Sleep(15 * time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New(memstore.Config{Capacity: 100})
			bubble(t, store, HandlerConfig{}, func(t *testing.T, r *rig) {
				w := r.bucket(t, 0, 60)
				must(t, call(t, w, "write", 0, make([]byte, 50)))
				kept := r.bucket(t, 1, 40)
				must(t, call(t, kept, "write", 0, make([]byte, 40)))
				must(t, call(t, kept, "close"))
				away(r)
				time.Sleep(10 * time.Second)
				a, err := store.Allocate(t.Context(), storage.Index(testIndex), []storage.ShareNum{0}, 60, someLeases)
				if err != nil || a.Writers[0] == nil || !slices.Equal(a.Have, []storage.ShareNum{1}) {
					t.Errorf("afterwards: %+v, %v", a, err)
				}
				wantNoUploads(t, r.handler)
			})
		})
	}
}

// TestIdleUpload: one that nothing is written to ends; one that is slow does
// not.
func TestIdleUpload(t *testing.T) {
	bubble(t, nil, HandlerConfig{UploadIdle: time.Minute}, func(t *testing.T, r *rig) {
		slow, idle := r.bucket(t, 0, 10), r.bucket(t, 1, 10)
		for i := range 10 {
			time.Sleep(50 * time.Second)
			must(t, call(t, slow, "write", i, []byte{1}))
		}
		must(t, call(t, slow, "close"))
		wantRaised(t, "the idle one", call(t, idle, "write", 0, []byte{1}), classAssertion, "")
		time.Sleep(5 * time.Minute)
		wantNoUploads(t, r.handler)
	})
}

// TestPadding: old clients ask for more room than they fill, and the
// reference's shares hold zeros there.
func TestPadding(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		w := r.bucket(t, 0, 1000)
		must(t, call(t, w, "write", 10, []byte("some")))
		must(t, call(t, w, "write", 20, []byte("more")))
		must(t, call(t, w, "close"))
		want := make([]byte, 1000)
		copy(want[10:], "some")
		copy(want[20:], "more")
		shares, err := r.store.Shares(t.Context(), storage.Index(testIndex))
		must(t, err)
		got := make([]byte, 1001)
		if n, err := shares[0].ReadAt(t.Context(), got, 0); err != io.EOF || !bytes.Equal(got[:n], want) {
			t.Errorf("%d bytes, %v", n, err)
		}
		w = r.bucket(t, 1, maxPadding+11)
		must(t, call(t, w, "write", 0, make([]byte, 10)))
		wantRaised(t, "far too little", call(t, w, "close"), classValue, "")
		must(t, call(t, w, "write", 10, []byte("x")))
		must(t, call(t, w, "close"))
	})
}

// TestMaxUploads: more are refused, until one has ended.
func TestMaxUploads(t *testing.T) {
	bubble(t, nil, HandlerConfig{MaxUploads: 3}, func(t *testing.T, r *rig) {
		writers := r.allocate(t, 5, int64(1), int64(2), int64(3), int64(4), int64(5))[1].(banana.Dict)
		if len(writers) != 3 {
			t.Fatalf("%d writers; want 3", len(writers))
		}
		if more := r.allocate(t, 5, int64(9))[1].(banana.Dict); len(more) != 0 {
			t.Error("a fourth upload")
		}
		must(t, call(t, writers[0].Value.(*foolscap.Ref), "abort"))
		r.bucket(t, 9, 5)
		must(t, r.handler.Close(context.Background()))
		if err := call(t, r.ref(t), "allocate_buckets", testIndex, secretOf("R"), secretOf("C"), banana.Set{int64(1)}, 5, &foolscap.Object{}); err == nil {
			t.Error("an upload after Close")
		}
		synctest.Wait()
		wantNoUploads(t, r.handler)
	})
}
