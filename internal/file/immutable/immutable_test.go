package immutable

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// bubble runs f in a virtual-time bubble.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestRoundTrip(t *testing.T) {
	for _, size := range []int{56, 1000, 4096, 4097, 100_000, 3_000_000} {
		bubble(t, func(t *testing.T) {
			g := newGrid(t, 10)
			c := newClient(t, g, 3, 7, 10)
			data := content(size)
			res, cap := mustUpload(t, c, data)
			if res.Happy != 10 || res.Pushed != 10 || res.Existing != 0 {
				t.Errorf("size %d: result %+v", size, res)
			}
			if held := g.held(t, cap.Index()); len(held) != 10 {
				t.Errorf("size %d: shares on servers: %v", size, held)
			}
			mustRead(t, c, cap, data)
		})
	}
}

func TestLiteralTouchesNoServer(t *testing.T) {
	c := newClient(t, servers{}, 3, 7, 10)
	for _, size := range []int{0, 1, caps.MaxLIT} {
		res, err := c.Upload(t.Context(), source(content(size)), nil)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		lit, ok := res.Cap.(caps.LIT)
		if !ok || !bytes.Equal(lit.Data(), content(size)) {
			t.Errorf("size %d: cap %v", size, res.Cap)
		}
	}
}

// servers fails the test that asks for any.
type servers struct{}

func (servers) ForUpload(storage.Index) []storage.Peer { panic("asked for servers") }
func (servers) ForRead(storage.Index) []storage.Peer   { panic("asked for servers") }

func TestConvergence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		data := content(50_000)
		_, first := mustUpload(t, c, data)
		res, second := mustUpload(t, c, data)
		if first != second {
			t.Errorf("equal files got different caps")
		}
		if res.Existing != 10 || res.Pushed != 0 {
			t.Errorf("second upload: %d existing, %d pushed, want 10, 0", res.Existing, res.Pushed)
		}
		res, err := c.Upload(t.Context(), Source{ReadSeeker: bytes.NewReader(data), Size: int64(len(data))}, nil)
		if err != nil || res.Cap == first {
			t.Errorf("random key gave %v, %v", res, err)
		}
	})
}

func TestRanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		c := newClient(t, g, 3, 5, 5)
		data := content(50_000)
		_, cap := mustUpload(t, c, data)
		for _, r := range [][2]int64{{0, 1}, {0, 0}, {4095, 2}, {4098, 4098}, {49_999, 1}, {50_000, 0}, {12_345, 30_000}} {
			got, err := read(t, c, cap, r[0], r[1])
			if err != nil || !bytes.Equal(got, data[r[0]:r[0]+r[1]]) {
				t.Errorf("range %v: %d bytes, %v", r, len(got), err)
			}
		}
		for _, r := range [][2]int64{{-1, 1}, {0, 50_001}, {50_001, 0}, {1, 1<<63 - 1}} {
			if _, err := read(t, c, cap, r[0], r[1]); err == nil {
				t.Errorf("range %v was accepted", r)
			}
		}
	})
}

func TestAnyKServersSuffice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		c := newClient(t, g, 3, 5, 5)
		data := content(30_000)
		_, cap := mustUpload(t, c, data)
		gone := faultstore.Fault{Err: errors.New("gone")}
		for a := range 5 {
			for b := range a {
				g.always(faultstore.Shares, gone, a, b)
				mustRead(t, c, cap, data)
				g.always(faultstore.Shares, faultstore.Fault{}, a, b)
			}
		}
		g.always(faultstore.Shares, gone, 0, 1, 2)
		_, err := read(t, c, cap, 0, cap.Size)
		e, ok := errors.AsType[*NotEnoughSharesError](err)
		if !ok || e.Have != 2 || e.Need != 3 || !strings.Contains(err.Error(), "s0: gone") {
			t.Errorf("with two servers: %v", err)
		}
	})
}

func TestFullAndReadOnlyServersAreReplanned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 12)
		g.always(faultstore.Allocate, faultstore.Fault{Refuse: true}, 0, 3, 5)
		c := newClient(t, g, 3, 7, 10)
		data := content(20_000)
		res, cap := mustUpload(t, c, data)
		if res.Happy != 9 || len(g.held(t, cap.Index())) != 10 {
			t.Errorf("happy %d, shares %v; want 9 servers and all 10 shares", res.Happy, g.held(t, cap.Index()))
		}
		mustRead(t, c, cap, data)
	})
}

func TestUnhappyNamesEveryServerAndLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 7)
		g.always(faultstore.Allocate, faultstore.Fault{Refuse: true}, 0)
		g.always(faultstore.Allocate, faultstore.Fault{Err: errors.New("disk on fire")}, 1)
		c := newClient(t, g, 3, 7, 10)
		_, err := c.Upload(t.Context(), source(content(20_000)), nil)
		e, ok := errors.AsType[*UnhappyError](err)
		if !ok || e.Happy != 5 || e.Want != 7 || len(e.Servers) != 7 {
			t.Fatalf("error %v", err)
		}
		for _, want := range []string{"s0: took no", "s1: disk on fire", "5 distinct servers", "7 are wanted"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error does not say %q: %v", want, err)
			}
		}
		for i, f := range g.faults[2:] {
			if f.Calls(faultstore.Abort) == 0 {
				t.Errorf("server %d was not told to forget its share", i+2)
			}
		}
	})
}

func TestNoServers(t *testing.T) {
	c := newClient(t, &testGrid{}, 3, 7, 10)
	c.c.Patience.Outage = time.Hour // none is lost: there was none
	if _, err := c.Upload(t.Context(), source(content(1000)), nil); !errors.Is(err, ErrNoServers) {
		t.Errorf("error %v, want ErrNoServers", err)
	}
}

func TestHungServerCostsSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		g.always(faultstore.Allocate, faultstore.Fault{Hang: true}, 4)
		g.always(faultstore.Shares, faultstore.Fault{Hang: true}, 4)
		c := newClient(t, g, 3, 7, 10)
		data := content(20_000)
		start := time.Now()
		res, cap := mustUpload(t, c, data)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("upload past a hung server took %v", took)
		}
		if res.Happy != 9 || len(g.held(t, cap.Index())) != 10 {
			t.Errorf("happy %d, shares %v", res.Happy, g.held(t, cap.Index()))
		}
		start = time.Now()
		mustRead(t, c, cap, data)
		if took := time.Since(start); took > time.Second {
			t.Errorf("read past a hung server took %v", took)
		}
	})
}

func TestServerStallsInMidUpload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		g.always(faultstore.WriteAt, faultstore.Fault{Hang: true}, 2, 6)
		g.always(faultstore.WriteAt, faultstore.Fault{Delay: 20 * time.Second}, 3) // slow, but alive
		c := newClient(t, g, 3, 7, 10)
		data := content(3_000_000)
		start := time.Now()
		res, cap := mustUpload(t, c, data)
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("took %v, want about the stall limit", took)
		}
		if res.Happy != 8 || res.Pushed != 8 {
			t.Errorf("happy %d, pushed %d, want 8", res.Happy, res.Pushed)
		}
		mustRead(t, c, cap, data)
	})
}

func TestTooManyServersVanishInMidUpload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		for i := range 4 {
			g.faults[i].Next(faultstore.WriteAt, faultstore.Fault{}, faultstore.Fault{Err: errors.New("connection reset")})
			g.always(faultstore.WriteAt, faultstore.Fault{Err: errors.New("connection reset")}, i)
		}
		c := newClient(t, g, 3, 7, 10)
		_, err := c.Upload(t.Context(), source(content(9_000_000)), nil)
		if e, ok := errors.AsType[*UnhappyError](err); !ok || e.Happy != 6 {
			t.Fatalf("error %v", err)
		}
		if !strings.Contains(err.Error(), "connection reset") {
			t.Errorf("error does not say what servers said: %v", err)
		}
	})
}

func TestCorruptSharesAreReplacedAndReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		data := content(60_000)
		_, cap := mustUpload(t, c, data)
		for i := range 7 {
			g.always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(2000)}, i)
		}
		mustRead(t, c, cap, data)
		g.always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(2000)}, 7)
		got, err := read(t, c, cap, 0, cap.Size)
		e, ok := errors.AsType[*NotEnoughSharesError](err)
		if !ok || e.Corrupt != 8 || e.Have != 2 {
			t.Errorf("with 8 damaged shares: %d bytes, %v", len(got), err)
		}
		if !bytes.HasPrefix(data, got) {
			t.Errorf("wrong bytes were written")
		}
		synctest.Wait()
		for i, f := range g.faults[:8] {
			if f.Calls(faultstore.ReportCorrupt) == 0 {
				t.Errorf("server %d was not told of its damaged share", i)
			}
		}
	})
}

func TestSlowShareIsHedged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 4)
		c := newClient(t, g, 3, 4, 4)
		data := content(400_000)
		_, cap := mustUpload(t, c, data)
		g.always(faultstore.ReadAt, faultstore.Fault{Delay: 30 * time.Second}, 1)
		start := time.Now()
		mustRead(t, c, cap, data)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("a slow server held the read up for %v", took)
		}
	})
}

func TestFewServersHoldManyShares(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 1)
		c := newClient(t, g, 3, 3, 10)
		if _, err := c.Upload(t.Context(), source(content(9000)), nil); err == nil {
			t.Errorf("one server made happy = 3")
		}
		c = newClient(t, g, 1, 1, 10)
		data := content(9000)
		_, cap := mustUpload(t, c, data)
		mustRead(t, c, cap, data)
	})
}

func TestOutageInMidRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 4)
		c := newClient(t, g, 3, 4, 4)
		c.c.Patience.Outage = 5 * time.Minute
		data := content(2_000_000)
		_, cap := mustUpload(t, c, data)
		f, err := c.Open(cap)
		if err != nil {
			t.Fatal(err)
		}
		out := &tripwire{after: 500_000, f: func() {
			down := faultstore.Fault{Err: errors.New("tor is away")}
			g.always(faultstore.ReadAt, down, 0, 1, 2, 3)
			g.always(faultstore.Shares, down, 0, 1, 2, 3)
			time.AfterFunc(2*time.Minute, func() {
				g.always(faultstore.ReadAt, faultstore.Fault{}, 0, 1, 2, 3)
				g.always(faultstore.Shares, faultstore.Fault{}, 0, 1, 2, 3)
			})
		}}
		if err := f.ReadRange(t.Context(), out, 0, cap.Size, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), data) {
			t.Errorf("the resumed read differs")
		}
	})
}

// tripwire calls f once so many bytes have been written.
type tripwire struct {
	bytes.Buffer
	after int
	f     func()
}

func (w *tripwire) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.f != nil && w.Len() > w.after {
		w.f()
		w.f = nil
	}
	return n, err
}

func TestSourceThatLies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		src := source(content(5000))
		src.Size = 6000
		if _, err := c.Upload(t.Context(), src, nil); !errors.Is(err, chk.ErrSourceSize) {
			t.Errorf("error %v, want ErrSourceSize", err)
		}
	})
}

func TestKeyerSparesAPass(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 10)
		c := newClient(t, g, 3, 7, 10)
		for _, size := range []int{100, 4095, 4096, 4097, 4098, 4099, 20_000} {
			data := content(size)
			_, want := mustUpload(t, c, data)
			k := c.NewKeyer(circle)
			k.Write(data[:size/2])
			k.Write(data[size/2:])
			if size >= 4098 && k.Key() != want.Key {
				t.Errorf("size %d: Keyer and Upload disagree", size)
			}
			if size < 4096 && !k.Key().IsZero() {
				t.Errorf("size %d: Keyer claims to know the key of a file smaller than a segment", size)
			}
			src := source(data)
			src.Key = k.Key()
			res, err := c.Upload(t.Context(), src, nil)
			if err != nil || res.Cap != want {
				t.Errorf("size %d: upload with a Keyer's key: %v, %v", size, res, err)
			}
		}
	})
}
