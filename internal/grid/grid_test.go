package grid

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// fake is a memory server whose Version can fail, hang or be counted.
type fake struct {
	storage.Server
	asked atomic.Int32
	down  atomic.Bool
	hang  atomic.Bool
}

var errDown = errors.New("connection refused")

func newFake() *fake { return &fake{Server: memstore.New(memstore.Config{})} }

func (f *fake) Version(ctx context.Context) (storage.Version, error) {
	f.asked.Add(1)
	if f.hang.Load() {
		<-ctx.Done()
		return storage.Version{}, ctx.Err()
	}
	if f.down.Load() {
		return storage.Version{}, errDown
	}
	return f.Server.Version(ctx)
}

func (f *fake) Shares(ctx context.Context, si storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	if f.down.Load() {
		return nil, errDown
	}
	return f.Server.Shares(ctx, si)
}

func known(id string, hosts ...string) Known {
	k := Known{ID: id, Name: "name-" + id, Seed: []byte("seed of " + id)}
	for _, h := range hosts {
		k.NURLs = append(k.NURLs, furl.NURL{Host: h, Port: 1})
	}
	return k
}

// open returns a Config.Open that finds fakes by host.
func open(fakes map[string]*fake) func(Known, Address) (storage.Server, error) {
	return func(_ Known, at Address) (storage.Server, error) {
		if at.Protocol == Foolscap {
			return fakes["foolscap"], nil
		}
		return fakes[at.NURL.Host], nil
	}
}

func TestPermutedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"a": newFake(), "b": newFake(), "c": newFake(), "d": newFake()}
		g := New(Config{Open: open(fakes)})
		defer g.Close()
		var ids []string
		for host := range fakes {
			g.Add(known(host, host))
			ids = append(ids, host)
		}
		if n := g.Wait(t.Context(), 4); n != 4 {
			t.Fatalf("Wait = %d, want 4", n)
		}
		for i := range byte(20) {
			si := storage.Index{i}
			slices.SortFunc(ids, func(a, b string) int {
				ra, rb := tagged.Permutation(si, []byte("seed of "+a)), tagged.Permutation(si, []byte("seed of "+b))
				return slices.Compare(ra[:], rb[:])
			})
			var got []string
			for _, p := range g.ForUpload(si) {
				got = append(got, p.ID)
			}
			if !slices.Equal(got, ids) {
				t.Errorf("order for %v = %v, want %v", si, got, ids)
			}
		}
	})
}

func TestFirstAddressThatAnswersIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"dead.example": newFake(), "live.example": newFake()}
		fakes["dead.example"].hang.Store(true)
		g := New(Config{Open: open(fakes), Timeout: time.Minute})
		defer g.Close()
		start := time.Now()
		g.Add(known("s", "dead.example", "live.example"))
		if n := g.Wait(t.Context(), 1); n != 1 || time.Since(start) > time.Second {
			t.Errorf("Wait = %d after %v, want 1 at once", n, time.Since(start))
		}
		st := g.Status()[0]
		if st.State != Connected || st.Address != "tcp" || st.Protocol != "GBS" {
			t.Errorf("status = %+v", st)
		}
	})
}

func TestLossIsLearnedFromTrafficAndMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := New(Config{Open: open(map[string]*fake{"h": f}), RetryMin: time.Second, RetryMax: time.Minute})
		defer g.Close()
		g.Add(known("s", "h"))
		g.Wait(t.Context(), 1)
		f.down.Store(true)
		if _, err := g.ForRead(storage.Index{})[0].Server.Shares(t.Context(), storage.Index{}); !errors.Is(err, errDown) {
			t.Fatalf("Shares error = %v", err)
		}
		synctest.Wait()
		if peers := g.ForRead(storage.Index{}); len(peers) != 0 {
			t.Errorf("a server that refuses connections is still handed out")
		}
		if st := g.Status()[0]; st.State != Disconnected || st.Reason != errDown.Error() {
			t.Errorf("status = %+v", st)
		}
		f.down.Store(false)
		time.Sleep(3 * time.Second)
		if peers := g.ForRead(storage.Index{}); len(peers) != 1 {
			t.Errorf("the server came back, but is not handed out")
		}
	})
}

func TestRefusalIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := New(Config{Open: open(map[string]*fake{"h": f})})
		defer g.Close()
		g.Add(known("s", "h"))
		g.Wait(t.Context(), 1)
		asked := f.asked.Load()
		err := g.ForRead(storage.Index{})[0].Server.AddLease(t.Context(), storage.Index{}, storage.LeaseSecrets{})
		if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("AddLease error = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f.hang.Store(true)
		g.ForRead(storage.Index{})[0].Server.Version(ctx)
		synctest.Wait()
		if n := f.asked.Load() - asked; n != 1 { // the one above
			t.Errorf("refusal and cancelled call caused %d probes", n-1)
		}
	})
}

func TestIdleServerIsRarelyAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := New(Config{Open: open(map[string]*fake{"h": f}), Idle: 10 * time.Minute})
		defer g.Close()
		g.Add(known("s", "h"))
		time.Sleep(24 * time.Hour)
		if n := f.asked.Load(); n < 24*4 || n > 24*12 {
			t.Errorf("%d questions in an idle day, want between one in 15 min and one in 5 min", n)
		}
	})
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.down.Store(true)
		g := New(Config{Open: open(map[string]*fake{"h": f}), RetryMin: 2 * time.Second, RetryMax: 5 * time.Minute})
		defer g.Close()
		g.Add(known("s", "h"))
		if n := g.Wait(t.Context(), 1); n != 0 {
			t.Errorf("Wait = %d, want 0 once every server has been tried", n)
		}
		time.Sleep(24 * time.Hour)
		if n := f.asked.Load(); n < 24*8 || n > 24*24+20 {
			t.Errorf("%d attempts in a day of absence, want about one in five minutes", n)
		}
	})
}

func TestReplaceAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"old": newFake(), "new": newFake()}
		g := New(Config{Open: open(fakes)})
		defer g.Close()
		g.Add(known("s", "old"))
		g.Wait(t.Context(), 1)
		g.Add(known("s", "old")) // the same: nothing happens
		synctest.Wait()
		if n := fakes["old"].asked.Load(); n != 1 {
			t.Errorf("the same announcement again caused %d more questions", n-1)
		}
		g.Add(known("s", "new"))
		g.Wait(t.Context(), 1)
		if fakes["new"].asked.Load() != 1 || len(g.Status()) != 1 {
			t.Errorf("a changed address was not taken up: %+v", g.Status())
		}
		g.Remove("s")
		if len(g.ForUpload(storage.Index{})) != 0 || len(g.Status()) != 0 {
			t.Errorf("a removed server is still known")
		}
	})
}

func TestServerWithoutAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Open: open(nil)})
		defer g.Close()
		g.Add(known("s"))
		g.Wait(t.Context(), 1)
		if st := g.Status()[0]; st.State != Disconnected || st.Reason == "" {
			t.Errorf("status = %+v, want a reason", st)
		}
	})
}

func TestRetryDoesNotWaitForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.down.Store(true)
		g := New(Config{Open: open(map[string]*fake{"s.example": f}), RetryMin: time.Hour, RetryMax: time.Hour})
		defer g.Close()
		g.Add(known("s", "s.example"))
		g.Wait(t.Context(), 1)
		synctest.Wait() // it waits for its time now
		f.down.Store(false)
		start, changed := time.Now(), g.Watch()
		g.Retry()
		<-changed
		if st := g.Status()[0]; st.State != Connected || time.Since(start) > time.Second {
			t.Errorf("state %q after %v, want connected at once", st.State, time.Since(start))
		}
	})
}
