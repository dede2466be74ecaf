package gbs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/semaphore"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// begin allocates shares under an upload secret of the test's choice, as a
// client of another make might.
func (r *rig) begin(t testing.TB, secret string, size int, nums ...storage.ShareNum) allocateAnswer {
	t.Helper()
	set := numSet(nums)
	got := r.ask(t, ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, secret),
		body: string(encode(map[string]any{"share-numbers": set, "allocated-size": size}))})
	if got.code != 200 {
		t.Fatalf("allocating %v: %d %q", nums, got.code, got.body)
	}
	var a allocateAnswer
	if err := decode(got.body, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// patch writes p at off of share num.
func (r *rig) patch(t testing.TB, secret string, num storage.ShareNum, p []byte, off int) answer {
	t.Helper()
	return r.ask(t, ask{method: "PATCH", path: fmt.Sprintf("%s/%d", indexPath, num),
		header: head(secret, fmt.Sprintf("Content-Range: bytes %d-%d/*", off, off+len(p)-1)), body: string(p)})
}

func wantNums(t testing.TB, what string, got *numSet, want ...storage.ShareNum) {
	t.Helper()
	if d := cmp.Diff(numSet(append([]storage.ShareNum{}, want...)), *got); d != "" {
		t.Errorf("%s differs (-want +got)\n%s", what, d)
	}
}

func required(t testing.TB, a answer) string {
	t.Helper()
	var w writeAnswer
	if err := decode(a.body, &w); err != nil {
		t.Fatalf("decoding %x: %v", a.body, err)
	}
	s := ""
	for _, p := range *w.Required {
		s += fmt.Sprintf("[%d,%d)", *p.Begin, *p.End)
	}
	return s
}

func wantShare(t testing.TB, s storage.Server, num storage.ShareNum, want []byte) {
	t.Helper()
	shares, err := s.Shares(t.Context(), testIndex(t))
	if err != nil || shares[num] == nil {
		t.Fatalf("share %d is not there: %v", num, err)
	}
	p := make([]byte, len(want)+1)
	n, _ := shares[num].ReadAt(t.Context(), p, 0)
	if !bytes.Equal(p[:n], want) {
		t.Errorf("share %d: %d bytes, which differ from the %d sent", num, n, len(want))
	}
}

// TestRepeatedCalls repeats each call of an upload, as a client does that lost
// the answer: the same call gets the same answer and changes nothing.
func TestRepeatedCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		data := shareBytes(1, 100)
		for range 2 {
			a := r.begin(t, uploadLine, 100, 1, 2)
			wantNums(t, "allocated", a.Allocated, 1, 2)
			wantNums(t, "already-have", a.Have)
		}
		for range 2 {
			if got := r.patch(t, uploadLine, 1, data[:60], 0); got.code != 200 || required(t, got) != "[60,100)" {
				t.Fatalf("first part: %d %x", got.code, got.body)
			}
		}
		// In the middle of it all, the first call once more.
		wantNums(t, "allocated", r.begin(t, uploadLine, 100, 1, 2).Allocated, 1, 2)
		for range 3 {
			if got := r.patch(t, uploadLine, 1, data[60:], 60); got.code != 201 || required(t, got) != "" {
				t.Fatalf("last part: %d %x", got.code, got.body)
			}
		}
		wantShare(t, r.store, 1, data)

		// Finished: other bytes are a conflict, another secret is refused,
		// and there is nothing to abort.
		if got := r.patch(t, uploadLine, 1, []byte("other"), 0); got.code != 409 {
			t.Errorf("other bytes after the end: %d; want 409", got.code)
		}
		if got := r.patch(t, upload2Line, 1, data[60:], 60); got.code != 401 {
			t.Errorf("another secret after the end: %d; want 401", got.code)
		}
		if got := r.ask(t, ask{method: "PUT", path: indexPath + "/1/abort", header: head(uploadLine)}); got.code != 405 {
			t.Errorf("abort after the end: %d; want 405", got.code)
		}
		for i, want := range []int{200, 404, 404} {
			if got := r.ask(t, ask{method: "PUT", path: indexPath + "/2/abort", header: head(uploadLine)}); got.code != want {
				t.Errorf("abort %d: %d; want %d", i, got.code, want)
			}
		}
		a := r.begin(t, uploadLine, 100, 1, 2)
		wantNums(t, "already-have", a.Have, 1)
		wantNums(t, "allocated", a.Allocated, 2)
		wantShare(t, r.store, 1, data)
	})
}

// TestOtherClient checks that a second client neither gets nor harms the
// shares that a first one is uploading.
func TestOtherClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		data := shareBytes(1, 100)
		r.begin(t, uploadLine, 100, 1)
		r.patch(t, uploadLine, 1, data[:50], 0)
		a := r.begin(t, upload2Line, 100, 1, 3)
		wantNums(t, "allocated to the second", a.Allocated, 3)
		wantNums(t, "already-have", a.Have)
		// The same secret with another size is another upload, too.
		wantNums(t, "allocated", r.begin(t, uploadLine, 99, 1).Allocated)
		if got := r.patch(t, upload2Line, 1, data[50:], 50); got.code != 401 {
			t.Errorf("second client writing: %d; want 401", got.code)
		}
		if got := r.patch(t, uploadLine, 1, data[50:], 50); got.code != 201 {
			t.Errorf("first client finishing: %d; want 201", got.code)
		}
		wantShare(t, r.store, 1, data)
	})
}

// TestResume writes in any order, is cut in the middle of a body, and goes on
// from what the server says is missing.
func TestResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		const size = 3*chunk + 1000
		data := shareBytes(0, size)
		r.begin(t, uploadLine, size, 0)
		if got := r.patch(t, uploadLine, 0, data[size-10:], size-10); required(t, got) != fmt.Sprintf("[0,%d)", size-10) {
			t.Fatalf("required after the end was written: %s", required(t, got))
		}
		// A client that leaves after one and a half buffers of its body.
		c := r.dialTLS(t)
		fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s: %s\r\nContent-Range: bytes 0-%d/*\r\nContent-Length: %d\r\n\r\n",
			sharePath, authorization(redact.New(testSwissnum)), secretsHeader, uploadLine, size-11, size-10)
		c.Write(data[:chunk+chunk/2])
		c.NetConn().Close()
		time.Sleep(time.Second)
		got := r.patch(t, uploadLine, 0, data[10:20], 10)
		if want := fmt.Sprintf("[%d,%d)", chunk, size-10); got.code != 200 || required(t, got) != want {
			t.Fatalf("after the cut: %d %s; want %s", got.code, required(t, got), want)
		}
		if got := r.patch(t, uploadLine, 0, data[chunk:], chunk); got.code != 201 {
			t.Fatalf("the rest: %d", got.code)
		}
		wantShare(t, r.store, 0, data)
	})
}

// TestConflict checks that bytes once written stay, and that the upload can
// still be completed with the right ones.
func TestConflict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		data := shareBytes(0, 100)
		r.begin(t, uploadLine, 100, 0)
		r.patch(t, uploadLine, 0, data[:50], 0)
		bad := bytes.Clone(data)
		bad[49] ^= 1
		if got := r.patch(t, uploadLine, 0, bad, 0); got.code != 409 {
			t.Errorf("conflicting bytes: %d; want 409", got.code)
		}
		if got := r.patch(t, uploadLine, 0, data, 0); got.code != 201 {
			t.Errorf("the right bytes: %d; want 201", got.code)
		}
		wantShare(t, r.store, 0, data)
	})
}

// TestGivenUp checks that an upload nobody writes to for half an hour is
// aborted, that writing keeps it alive, and that a slow body counts as writing.
func TestGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Capacity: 1000})
		r := newRig(t, store, HandlerConfig{MinRate: 1})
		r.begin(t, uploadLine, 900, 0)
		for range 3 {
			time.Sleep(29 * time.Minute)
			if got := r.patch(t, uploadLine, 0, []byte{7}, 0); got.code != 200 {
				t.Fatalf("writing after 29 minutes: %d", got.code)
			}
		}
		c := r.dialTLS(t)
		fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s: %s\r\nContent-Range: bytes 0-899/*\r\nContent-Length: 900\r\n\r\n",
			sharePath, authorization(redact.New(testSwissnum)), secretsHeader, uploadLine)
		// 15 minutes and the stall are granted for 900 bytes at 1 byte/s; the
		// idle time runs only from when that body is given up.
		time.Sleep(31 * time.Minute)
		if got := r.patch(t, uploadLine, 0, []byte{7}, 0); got.code != 200 {
			t.Fatalf("writing after a slow body: %d", got.code)
		}
		if r.log.has("given up") {
			t.Error("given up too early")
		}
		time.Sleep(31 * time.Minute)
		if !r.log.has("upload given up") {
			t.Error("not given up after 31 minutes")
		}
		if got := r.patch(t, uploadLine, 0, []byte{7}, 0); got.code != 404 {
			t.Errorf("writing to an upload given up: %d; want 404", got.code)
		}
		// The space is free again.
		wantNums(t, "allocated", r.begin(t, upload2Line, 900, 0).Allocated, 0)
	})
}

// TestBodyTooSlow checks that a body which stops is not waited for forever,
// and that what had arrived in whole buffers stays.
func TestBodyTooSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		r.begin(t, uploadLine, 100, 0)
		c := r.dialTLS(t)
		fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s: %s\r\nContent-Range: bytes 0-99/*\r\nContent-Length: 100\r\n\r\nabc",
			sharePath, authorization(redact.New(testSwissnum)), secretsHeader, uploadLine)
		start := time.Now()
		resp, _ := readResponse(t, c, nil)
		if took := time.Since(start); resp.StatusCode != 400 || took < 60*time.Second || took > 63*time.Second {
			t.Errorf("a stuck body: %d after %v; want 400 after a minute", resp.StatusCode, took)
		}
	})
}

// TestManyUploads checks the bound on uploads in progress, and that finished
// ones are forgotten in time.
func TestManyUploads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{MaxUploads: 4})
		a := r.begin(t, uploadLine, 1, 0, 1, 2, 3, 4, 5)
		wantNums(t, "allocated", a.Allocated, 0, 1, 2, 3)
		wantNums(t, "allocated when full", r.begin(t, upload2Line, 1, 4).Allocated)
		for num := range storage.ShareNum(20) {
			r.begin(t, uploadLine, 1, num)
			if got := r.patch(t, uploadLine, num, []byte{1}, 0); got.code != 201 {
				t.Fatalf("share %d: %d", num, got.code)
			}
		}
		us := r.handler.uploads
		us.mu.Lock()
		defer us.mu.Unlock()
		if us.open != 0 || len(us.byShare) != 4 || len(us.finished) != 4 {
			t.Errorf("%d open, %d known, %d finished; want 0, 4, 4", us.open, len(us.byShare), len(us.finished))
		}
	})
}

// TestFragments checks the bound on separate pieces.
func TestFragments(t *testing.T) {
	u := &upload{all: newUploads(nil, time.Hour, 1), w: nowhere{}, size: 1 << 20, ending: semaphore.NewWeighted(whole)}
	for i := range int64(storage.MaxPieces) {
		if err := u.write(t.Context(), []byte{1}, 2*i); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.write(t.Context(), []byte{1}, 2*storage.MaxPieces); !errors.Is(err, errFragmented) {
		t.Errorf("one piece too many: %v", err)
	}
	if err := u.write(t.Context(), []byte{1}, 1); err != nil {
		t.Errorf("joining two pieces: %v", err)
	}
	if err := u.write(t.Context(), []byte{1}, 2*storage.MaxPieces); err != nil {
		t.Errorf("a piece after joining two: %v", err)
	}
	if n := len(encode(newWriteAnswer(u.missing()))); n > maxAnswer {
		t.Errorf("the largest answer has %d bytes; a client takes %d", n, maxAnswer)
	}
}

// TestStoreLosesShare checks an upload whose store cannot complete it.
func TestStoreLosesShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &unclosable{Server: memstore.New(memstore.Config{})}
		r := newRig(t, store, HandlerConfig{})
		r.begin(t, uploadLine, 3, 0)
		if got := r.patch(t, uploadLine, 0, []byte("abc"), 0); got.code != 507 {
			t.Errorf("no space at the end: %d; want 507", got.code)
		}
		if got := r.patch(t, uploadLine, 0, []byte("abc"), 0); got.code != 404 {
			t.Errorf("writing after the loss: %d; want 404", got.code)
		}
		if store.aborted != 1 {
			t.Errorf("aborted %d times; want once", store.aborted)
		}
	})
}

type unclosable struct {
	storage.Server
	aborted int
}

type unclosableWriter struct {
	storage.ShareWriter
	of *unclosable
}

func (u *unclosable) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	a, err := u.Server.Allocate(ctx, si, nums, size, ls)
	for num, w := range a.Writers {
		a.Writers[num] = unclosableWriter{w, u}
	}
	return a, err
}

func (unclosableWriter) Close(context.Context) error { return storage.ErrNoSpace }

func (w unclosableWriter) Abort(ctx context.Context) error {
	w.of.aborted++
	return w.ShareWriter.Abort(ctx)
}

// TestConcurrentPatches sends the pieces of a share, each of them twice, all
// at once: the share is closed once and every request is answered well.
func TestConcurrentPatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		const pieces, size = 16, 16 * 1000
		data := shareBytes(0, size)
		r.begin(t, uploadLine, size, 0)
		var wg sync.WaitGroup
		created := make(chan bool, 2*pieces)
		for i := range 2 * pieces {
			wg.Go(func() {
				off := i % pieces * 1000
				got := r.patch(t, uploadLine, 0, data[off:off+1000], off)
				if got.code != 200 && got.code != 201 {
					t.Errorf("piece %d: %d", i, got.code)
				}
				created <- got.code == 201
			})
		}
		wg.Wait()
		close(created)
		n := 0
		for c := range created {
			if c {
				n++
			}
		}
		if n == 0 {
			t.Error("nobody was told that the share is complete")
		}
		wantShare(t, r.store, 0, data)
	})
}

// TestHandlerClose checks that uploads end with the handler and no new ones
// begin.
func TestHandlerClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Capacity: 100})
		r := newRig(t, store, HandlerConfig{})
		r.begin(t, uploadLine, 100, 0)
		if err := r.handler.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v, _ := store.Version(t.Context()); v.AvailableSpace != 100 {
			t.Errorf("%d bytes free after Close; want all 100", v.AvailableSpace)
		}
		got := r.ask(t, ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine), body: allocate0of10})
		if got.code != http.StatusServiceUnavailable {
			t.Errorf("allocating on a closed handler: %d; want 503", got.code)
		}
	})
}
