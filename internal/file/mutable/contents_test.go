package mutable

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// A file that claims a size, rightly signed, and has nothing behind it costs a
// reader little memory, whatever its segments.
func TestClaimedSizeIsNotBelieved(t *testing.T) {
	const size = 48 << 20
	for _, mdmf := range []bool{false, true} {
		g := newGrid(t, 1)
		f := mustCreate(t, newClient(t, g, 1, 1), mdmf, nil)
		e, err := ssk.Encode(t.Context(), ssk.Config{Key: testKey(t, 0), MDMF: mdmf, K: 1, N: 1, Seqnum: 2, Random: f.c.c.Random}, bytes.NewReader(make([]byte, size)), size)
		if err != nil {
			t.Fatal(err)
		}
		g.plant(t, f, 0, storage.ShareNum(0), e.Share(0)[:100_000])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := f.Read(t.Context(), nil); err == nil {
			t.Error("it was read")
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > rereads*(eager+eager/2) {
			t.Errorf("mdmf %v: %d bytes were allocated for a file that is not there", mdmf, n)
		}
	}
}

// Files of more than is given memory at once are read whole, whatever the size
// of their last segment.
func TestLargeRead(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		for _, size := range []int{eager - 1, eager + 1, 2*eager + 100_001} {
			bubble(t, func(t *testing.T) {
				g := newGrid(t, 3)
				f := mustCreate(t, newClient(t, g, 3, 3), mdmf, content(size))
				mustRead(t, f, content(size))
			})
		}
	}
}

// used is how much memory is in use.
func used() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is remembered of a file after a write or a read does not keep its
// shares in memory.
func TestSharesAreNotKept(t *testing.T) {
	const size = 4 << 20
	for _, mdmf := range []bool{false, true} {
		g := newGrid(t, 5)
		c := newClient(t, g, 1, 5)
		data := content(size)
		f := mustCreate(t, c, mdmf, nil)
		before := used()
		look := func(what string) {
			t.Helper()
			if kept := used() - before - 5*size; kept > size {
				t.Errorf("mdmf %v: %s of %d bytes leaves %d in memory besides what servers hold", mdmf, what, size, kept)
			}
		}
		if err := f.Overwrite(t.Context(), data, nil); err != nil {
			t.Fatal(err)
		}
		look("a write")
		mustRead(t, f, data)
		look("a read")
		if err := f.WriteAt(t.Context(), []byte("x"), size/2, nil); err != nil {
			t.Fatal(err)
		}
		look("a change")
		runtime.KeepAlive(f)
		runtime.KeepAlive(g)
		runtime.KeepAlive(data)
	}
}

// staller is a server that says what it holds, and never ends a write.
type staller struct{ storage.Server }

func (s staller) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	if len(writes) > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Server.TestAndWrite(ctx, si, we, ls, writes, spans)
}

// A server that never ends a write does not make the shares of all versions
// pile up in memory.
func TestStragglersAreGivenUp(t *testing.T) {
	const size = 1 << 20
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		f := mustCreate(t, newClient(t, g, 1, 5), false, content(size))
		g.peers[1].Server = staller{g.peers[1].Server}
		before := used()
		for i := range 12 {
			time.Sleep(11 * time.Second)
			if err := f.Overwrite(t.Context(), content(size+i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if kept := used() - before; kept > 12*size {
			t.Errorf("after 12 writes of %d bytes there are %d more in memory", size, kept)
		}
		runtime.KeepAlive(g)
	})
}
