package mutable

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
)

// liar is a server that always says it holds a share of a version far newer.
type liar struct{ storage.Server }

func (l liar) TestAndWrite(context.Context, storage.Index, storage.WriteEnabler, storage.LeaseSecrets, map[storage.ShareNum]storage.SlotWrite, []storage.Span) (*storage.SlotResult, error) {
	data, _ := l.ReadSlot(context.Background(), storage.Index{}, nil, nil)
	return &storage.SlotResult{Data: data}, nil
}

func (liar) ReadSlot(context.Context, storage.Index, []storage.ShareNum, []storage.Span) (map[storage.ShareNum][][]byte, error) {
	return map[storage.ShareNum][][]byte{0: {ssk.Checkstring{Seqnum: 99}.Append(nil)}}, nil
}

// One server that lies about what it holds keeps nobody from making a file and
// changing it.
func TestLiar(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			g := newGrid(t, 5)
			g.peers[2].Server = liar{g.peers[2].Server}
			c := newClient(t, g, 3, 10)
			cap, err := c.Create(t.Context(), CreateOptions{MDMF: mdmf}, nil, nil)
			if err != nil {
				t.Fatalf("making a file: %v", err)
			}
			f := mustOpen(t, c, cap)
			g.only(t, f, 1, 10)
			// Of a key that is given, others may have made a file before.
			if _, err := c.Create(t.Context(), CreateOptions{MDMF: mdmf, Key: testKey(t, 0)}, nil, nil); !isClash(err) {
				t.Errorf("making a file of a given key: %v", err)
			}
			time.Sleep(time.Minute)
			if err := f.Overwrite(t.Context(), content(300_001), nil); err != nil {
				t.Fatalf("overwriting: %v", err)
			}
			mustRead(t, f, content(300_001))
			add := func(old []byte) ([]byte, error) { return append(bytes.Clone(old), "more"...), nil }
			if err := f.Modify(t.Context(), add, nil); err != nil {
				t.Fatalf("editing: %v", err)
			}
			mustRead(t, mustOpen(t, newClient(t, g, 3, 10), f.write.Read()), append(content(300_001), "more"...))
		})
	}
}

// A share that a write comes upon where none was known is put right by the
// next one, though that does not look again.
func TestShareComeUpon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		f := mustCreate(t, newClient(t, g, 3, 5), false, content(100))
		old := g.snapshot(t, f.o.si)
		if err := f.Overwrite(t.Context(), content(101), nil); err != nil {
			t.Fatal(err)
		}
		order := g.order(f.o.si)
		for num, data := range old[order[0]] {
			g.plant(t, f, order[1], num, data)
		}
		for i := range 2 {
			if err := f.Overwrite(t.Context(), content(102+i), nil); err != nil {
				t.Fatal(err)
			}
		}
		g.only(t, f, 4, 5)
	})
}

// Who writes again and again past a server that hangs does not pile up
// questions to it.
func TestQuestionsDoNotPileUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGrid(t, 5)
		f := mustCreate(t, newClient(t, g, 3, 5), false, content(100))
		hung := g.faults[g.order(f.o.si)[0]]
		for _, m := range []faultstore.Method{faultstore.TestAndWrite, faultstore.ReadSlot} {
			hung.Always(m, faultstore.Fault{Hang: true})
		}
		for i := range 200 {
			time.Sleep(3 * time.Second)
			if err := f.Overwrite(t.Context(), content(100+i), nil); err != nil {
				t.Fatal(err)
			}
		}
		before := hung.Calls(faultstore.TestAndWrite)
		time.Sleep(f.c.c.Patience.Ask + time.Second)
		synctest.Wait()
		between := hung.Calls(faultstore.TestAndWrite)
		time.Sleep(time.Hour)
		synctest.Wait()
		if after := hung.Calls(faultstore.TestAndWrite); after > between {
			t.Errorf("%d questions in the writes, %d right after, %d in the hour after that", before, between-before, after-between)
		}
	})
}
