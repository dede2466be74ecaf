package foolscapstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/redact/redacttest"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

func begun(t *testing.T, c *Client, si storage.Index, size int64) storage.ShareWriter {
	t.Helper()
	a, err := c.Allocate(t.Context(), si, []storage.ShareNum{0}, size, someLeases)
	if err != nil || a.Writers[0] == nil {
		t.Fatalf("Allocate: %+v, %v", a, err)
	}
	return a.Writers[0]
}

// TestPipeline: over a path with a long way, an upload in small pieces does
// not wait for each of them.
func TestPipeline(t *testing.T) {
	store := &counting{Server: memstore.New(memstore.Config{})}
	bubble(t, store, HandlerConfig{}, func(t *testing.T, r *rig) {
		r.net.SetDefault(memnet.Link{Latency: 500 * time.Millisecond, Buffer: 16 << 20})
		c := r.newClient(t, Config{})
		w := begun(t, c, storage.Index{1}, 8<<20)
		start := time.Now()
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
		for off := int64(0); off < 8<<20; off += int64(len(data)) {
			must(t, w.WriteAt(t.Context(), data, off))
		}
		must(t, w.Close(t.Context()))
		// 8 batches, 3 at a time, and close: a second each.
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("512 pieces took %v", d)
		}
		if n := store.writes.Load(); n != 8 || store.largest.Load() != batch {
			t.Errorf("%d writes of up to %d bytes; want 8 of %d", n, store.largest.Load(), batch)
		}
	})
}

// counting counts writes to buckets.
type counting struct {
	storage.Server
	writes, largest atomic.Int64
}

func (s *counting) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	a, err := s.Server.Allocate(ctx, si, nums, size, ls)
	if err == nil {
		for num, w := range a.Writers {
			a.Writers[num] = countingWriter{w, s}
		}
	}
	return a, err
}

type countingWriter struct {
	storage.ShareWriter
	s *counting
}

func (w countingWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	w.s.writes.Add(1)
	w.s.largest.Store(max(w.s.largest.Load(), int64(len(p))))
	return w.ShareWriter.WriteAt(ctx, p, off)
}

// TestLateError: a write that failed after WriteAt has returned keeps the
// share from being closed.
func TestLateError(t *testing.T) {
	f := faultstore.For(t, memstore.New(memstore.Config{}))
	bubble(t, f, HandlerConfig{}, func(t *testing.T, r *rig) {
		c := r.newClient(t, Config{})
		f.Next(faultstore.WriteAt, faultstore.Fault{Err: storage.ErrNoSpace})
		w := begun(t, c, storage.Index{1}, 3)
		must(t, w.WriteAt(t.Context(), []byte("abc"), 0))
		for range 2 {
			if err := w.Close(t.Context()); !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("Close: %v", err)
			}
		}
		if err := w.WriteAt(t.Context(), nil, 0); !errors.Is(err, storage.ErrNoSpace) {
			t.Errorf("WriteAt: %v", err)
		}
		must(t, w.Abort(t.Context()))
		shares, err := c.Shares(t.Context(), storage.Index{1})
		if err != nil || len(shares) != 0 {
			t.Errorf("%d shares, %v", len(shares), err)
		}
	})
}

// TestReaders: readers outlive their references and connections.
func TestReaders(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		c := r.newClient(t, Config{})
		w := begun(t, c, storage.Index{1}, 4)
		must(t, w.WriteAt(t.Context(), []byte("data"), 0))
		must(t, w.Close(t.Context()))
		shares, err := c.Shares(t.Context(), storage.Index{1})
		must(t, err)
		read := func(when string) {
			t.Helper()
			p := make([]byte, 5)
			if n, err := shares[0].ReadAt(t.Context(), p, 0); err != io.EOF || string(p[:n]) != "data" {
				t.Errorf("%s: %q, %v", when, p[:n], err)
			}
		}
		read("at first")
		for range maxReaders + 10 {
			if _, err := c.Shares(t.Context(), storage.Index{1}); err != nil {
				t.Fatal(err)
			}
		}
		if shares[0].(*shareReader).ref != nil || c.readers.recent.Len() != maxReaders {
			t.Errorf("%d references are kept", c.readers.recent.Len())
		}
		read("after many others")
		r.net.Cut("client", "server")
		time.Sleep(100 * time.Millisecond) // less than the Tub waits
		read("after a lost connection")
		r.store.(*memstore.Store).Delete(storage.Index{1}, 0)
		if _, err := shares[0].ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("of a share that has gone: %v", err)
		}
		if s := c.Status(); s.State == foolscap.Stopped {
			t.Errorf("status %+v", s)
		}
		must(t, c.Close())
		if _, err := c.Version(t.Context()); !errors.Is(err, foolscap.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestLeftAllocate: who stops waiting for an allocation leaves no uploads.
func TestLeftAllocate(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		c := r.newClient(t, Config{})
		_, err := c.Version(t.Context())
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r.net.SetLink("client", "server", memnet.Link{Latency: time.Second})
		if _, err := c.Allocate(ctx, storage.Index{1}, []storage.ShareNum{0}, 5, someLeases); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Allocate: %v", err)
		}
		time.Sleep(10 * time.Second)
		w := begun(t, c, storage.Index{1}, 5)
		must(t, w.Abort(t.Context()))
	})
}

// TestSilence: a server that takes calls and does not answer is given up, by
// the time for all that is under way.
func TestSilence(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		c := r.newClient(t, Config{Call: time.Minute})
		w := begun(t, c, storage.Index{1}, 3<<20)
		r.net.Partition("client", "server")
		start := time.Now()
		if _, err := c.Version(t.Context()); err == nil || time.Since(start) > time.Minute+time.Second {
			t.Errorf("Version: %v after %v", err, time.Since(start))
		}
		start = time.Now()
		err := w.WriteAt(t.Context(), make([]byte, 3<<20), 0)
		if err == nil {
			err = w.Close(t.Context())
		}
		if err == nil || time.Since(start) > 5*time.Minute {
			t.Errorf("an upload: %v after %v", err, time.Since(start))
		}
		// The Tub has dropped a connection that takes nothing, so there is
		// nothing left to abort.
		must(t, w.Abort(t.Context()))
		r.net.Heal("client", "server")
		time.Sleep(20 * time.Minute)
		if _, err := c.Version(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		must(t, begun(t, c, storage.Index{1}, 5).Abort(t.Context()))
	})
}

// answering is a server that says what it is told to.
func answering(answers map[string]any) *foolscap.Object {
	methods := map[string]*foolscap.Method{}
	for name, v := range answers {
		var args []foolscap.Arg
		for i := range 6 {
			args = append(args, foolscap.Arg{Name: fmt.Sprint("a", i), Schema: banana.Any(), Optional: true})
		}
		methods[name] = &foolscap.Method{Args: args, Do: func(context.Context, *foolscap.Call) (any, error) {
			if err, ok := v.(error); ok {
				return nil, err
			}
			return v, nil
		}}
	}
	return &foolscap.Object{Iface: serverIface, Methods: methods}
}

// TestHostileAnswers cost nothing and are errors.
func TestHostileAnswers(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		bucket := answering(map[string]any{"read": make([]byte, 100), "write": nil, "close": nil, "abort": nil})
		one := func(num int64, v any) banana.Dict { return banana.Dict{{Key: num, Value: v}} }
		try := func(name string, answers map[string]any, f func(c *Client) error) {
			t.Helper()
			c := NewClient(Config{Tub: r.client, FURL: r.server.Register(foolscap.NewSwissnum(), answering(answers))})
			if err := f(c); err == nil {
				t.Errorf("%s: no error", name)
			}
			c.Close()
		}
		read := func(c *Client) error {
			_, err := c.ReadSlot(t.Context(), storage.Index{}, nil, []storage.Span{{Off: 0, Len: 5}})
			return err
		}
		version := func(c *Client) error { _, err := c.Version(t.Context()); return err }
		shares := func(c *Client) error { _, err := c.Shares(t.Context(), storage.Index{}); return err }
		try("version", map[string]any{"get_version": banana.List{}}, version)
		try("too many keys", map[string]any{"get_version": func() (d banana.Dict) {
			for i := range 101 {
				d = append(d, banana.Pair{Key: fmt.Appendf(nil, "%d", i), Value: 0})
			}
			return d
		}()}, version)
		try("share 256", map[string]any{"get_buckets": one(256, bucket)}, shares)
		try("no reference", map[string]any{"get_buckets": one(0, []byte("x"))}, shares)
		try("a longer piece", map[string]any{"slot_readv": one(0, banana.List{make([]byte, 6)})}, read)
		try("fewer pieces", map[string]any{"slot_readv": one(0, banana.List{})}, read)
		try("more pieces", map[string]any{"slot_readv": one(0, banana.List{[]byte{}, []byte{}})}, read)
		try("a read that is too long", map[string]any{"get_buckets": one(0, bucket)}, func(c *Client) error {
			s, err := c.Shares(t.Context(), storage.Index{})
			must(t, err)
			p := make([]byte, 200)
			if n, err := s[0].ReadAt(t.Context(), p, 0); n != 100 || err != io.EOF {
				t.Errorf("ReadAt: %d, %v", n, err)
			}
			_, err = s[0].ReadAt(t.Context(), p[:99], 0)
			return err
		})
		// Shares that were not asked for are not taken.
		c := NewClient(Config{Tub: r.client, FURL: r.server.Register(foolscap.NewSwissnum(), answering(map[string]any{
			"allocate_buckets": banana.Tuple{banana.Set{int64(3), int64(3), int64(1)}, banana.Dict{{Key: int64(7), Value: bucket}, {Key: int64(0), Value: bucket}, {Key: int64(3), Value: bucket}}},
		}))})
		defer c.Close()
		a, err := c.Allocate(t.Context(), storage.Index{}, []storage.ShareNum{0, 3}, 5, someLeases)
		if err != nil || len(a.Writers) != 1 || a.Writers[0] == nil || len(a.Have) != 2 || a.Have[0] != 1 {
			t.Errorf("Allocate: %+v, %v", a, err)
		}
	})
}

// TestVersionNumbers: what servers say, and what they leave out.
func TestVersionNumbers(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		for _, tt := range []struct {
			limits any
			want   storage.Version
		}{
			{banana.Dict{{Key: []byte("available-space"), Value: uint64(math.MaxUint64)}, {Key: []byte("maximum-immutable-share-size"), Value: 7}, {Key: []byte("maximum-mutable-share-size"), Value: -7}},
				storage.Version{MaxImmutableShareSize: 7, AvailableSpace: math.MaxInt64}},
			{[]byte("?"), storage.Version{MaxImmutableShareSize: 1 << 32, MaxMutableShareSize: maxMutable, AvailableSpace: math.MaxInt64}},
		} {
			c := NewClient(Config{Tub: r.client, FURL: r.server.Register(foolscap.NewSwissnum(), answering(map[string]any{
				"get_version": banana.Dict{{Key: []byte(protocolKey), Value: tt.limits}},
			}))})
			if got, err := c.Version(t.Context()); err != nil || got != tt.want {
				t.Errorf("Version = %+v, %v; want %+v", got, err, tt.want)
			}
			c.Close()
		}
	})
}

// TestErrors: sentinels survive the way there and back.
func TestErrors(t *testing.T) {
	id := [20]byte{1, 2, 3}
	for _, want := range []error{storage.ErrConflict, storage.ErrTooLarge, storage.ErrNoSpace, storage.ErrNotFound, storage.ErrBadWriteEnabler} {
		if got := local(remote(fmt.Errorf("doing it: %w", want), id)); !errors.Is(got, want) {
			t.Errorf("%v became %v", want, got)
		}
	}
	for _, err := range []error{storage.ErrIncomplete, storage.ErrFragmented, storage.ErrRefused, violation("no")} {
		if got := local(remote(err, id)); !errors.Is(got, storage.ErrRefused) {
			t.Errorf("%v became %v", err, got)
		}
	}
	other := [20]byte{4}
	for err, want := range map[error][20]byte{storage.ErrBadWriteEnabler: id, &storage.BadWriteEnablerError{NodeID: other}: other} {
		if e, ok := errors.AsType[*storage.BadWriteEnablerError](local(remote(err, id))); !ok || e.NodeID != want {
			t.Errorf("%v: recorded by %+v", err, e)
		}
	}
	for _, text := range []string{"", noEnabler, noEnabler + "x'.", noEnabler + strings.Repeat("a", 32), noEnabler + strings.Repeat("a", 40) + "'"} {
		if _, ok := recordedBy(text); ok {
			t.Errorf("%q names a node", text)
		}
	}
	if err := remote(errors.New("disk on fire"), id); errors.As(err, new(*foolscap.RemoteError)) {
		t.Errorf("an inner error goes to the peer: %v", err)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		redacttest.Check(t, Config{FURL: r.furl}, testSwissnum)
		c := r.newClient(t, Config{})
		secret := "a renewal secret of 32 bytes, no"
		ls := storage.LeaseSecrets{Renew: redact.New(secret), Cancel: redact.New(secret)}
		_, err := c.Allocate(t.Context(), storage.Index{}, []storage.ShareNum{0}, 5, ls)
		must(t, err)
		if _, err := c.TestAndWrite(t.Context(), storage.Index{}, storage.NewWriteEnabler([32]byte([]byte(secret))), storage.LeaseSecrets{Renew: redact.New("short"), Cancel: redact.New(secret)}, nil, nil); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("TestAndWrite: %v", err)
		}
		if log := r.log.String(); strings.Contains(log, secret) || strings.Contains(log, testSwissnum) {
			t.Errorf("the log holds a secret:\n%s", log)
		}
	})
}

func TestCutReason(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"x", "x"}, {"a\xffb", "a\uFFFDb"}, {strings.Repeat("é", maxReason), strings.Repeat("é", maxReason/2)},
		{"x" + strings.Repeat("é", maxReason), "x" + strings.Repeat("é", maxReason/2-1)},
	} {
		if got := string(cutReason(tt.in)); got != tt.want {
			t.Errorf("%d bytes became %d; want %d", len(tt.in), len(got), len(tt.want))
		}
	}
}

// TestCloseDoesNotWait for a server that does not answer.
func TestCloseDoesNotWait(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		c := r.newClient(t, Config{})
		_, err := c.Version(t.Context())
		must(t, err)
		r.net.Partition("client", "server")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Allocate(ctx, storage.Index{1}, []storage.ShareNum{0}, 5, someLeases); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Allocate: %v", err)
		}
		start := time.Now()
		must(t, c.Close())
		if d := time.Since(start); d > time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}

func FuzzRecordedBy(f *testing.F) {
	f.Add("The write enabler was recorded by nodeid 'zznbwkuaspu22s353xxkhi2feeeobore'.")
	f.Add(noEnabler)
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := recordedBy(text)
		if e, found := errors.AsType[*foolscap.RemoteError](remote(&storage.BadWriteEnablerError{NodeID: id}, id)); ok && id != [20]byte{} && (!found || !strings.Contains(text, strings.TrimSuffix(e.Value, "."))) {
			t.Errorf("%q names %x", text, id)
		}
	})
}

// A share goes with the connection that it was begun over, and whoever writes
// it learns that there is no use in trying again.
func TestWriterEndsWithConnection(t *testing.T) {
	bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
		c := r.newClient(t, Config{})
		w := begun(t, c, storage.Index{1}, 10)
		must(t, w.WriteAt(t.Context(), []byte("some"), 0))
		r.net.Cut("client", "server")
		time.Sleep(time.Second)
		must(t, w.WriteAt(t.Context(), []byte("things"), 4)) // is not sent yet
		if err := w.Close(t.Context()); !errors.Is(err, storage.ErrClosed) || !errors.Is(err, foolscap.ErrLost) {
			t.Errorf("Close = %v; want it closed, for want of the connection", err)
		}
		must(t, w.Abort(t.Context()))
		begun(t, c, storage.Index{1}, 10).Abort(t.Context()) // another takes its place
	})
}
