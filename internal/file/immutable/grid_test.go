package immutable

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// testGrid is a slice of faulty memory servers.
type testGrid struct {
	peers  []storage.Peer
	faults []*faultstore.Store
	stores []*memstore.Store // behind the faults
}

func newGrid(t *testing.T, servers int) *testGrid {
	g := &testGrid{}
	for i := range servers {
		m := memstore.New(memstore.Config{})
		f := faultstore.For(t, m)
		g.stores = append(g.stores, m)
		g.faults = append(g.faults, f)
		id := fmt.Sprintf("v0-server%02d", i)
		g.peers = append(g.peers, storage.Peer{ID: id, Name: fmt.Sprintf("s%d", i), Seed: []byte(id), LeaseSeed: [20]byte{byte(i)}, Server: f})
	}
	return g
}

func (g *testGrid) ForUpload(si storage.Index) []storage.Peer {
	out := slices.Clone(g.peers)
	slices.SortFunc(out, func(a, b storage.Peer) int {
		ra, rb := tagged.Permutation(si, a.Seed), tagged.Permutation(si, b.Seed)
		return bytes.Compare(ra[:], rb[:])
	})
	return out
}

func (g *testGrid) ForRead(si storage.Index) []storage.Peer { return g.ForUpload(si) }

// held returns how many servers hold each share of si, by number.
func (g *testGrid) held(t *testing.T, si storage.Index) map[storage.ShareNum]int {
	t.Helper()
	out := map[storage.ShareNum]int{}
	for _, m := range g.stores {
		shares, err := m.Shares(context.Background(), si)
		if err != nil {
			continue
		}
		for num := range shares {
			out[num]++
		}
	}
	return out
}

func (g *testGrid) always(m faultstore.Method, f faultstore.Fault, servers ...int) {
	for _, i := range servers {
		g.faults[i].Always(m, f)
	}
}

func newClient(t *testing.T, g Servers, k, happy, n int) *Client {
	t.Helper()
	c, err := New(Config{Servers: g, K: k, Happy: happy, N: n, SegmentSize: 4096, LeaseSecret: redact.New("lease secret of the test, 32 byte"),
		Patience: Patience{Ask: 15 * time.Second, Straggle: 2 * time.Second, Stall: time.Minute, Hedge: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var circle = redact.New("convergence secret")

func content(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return b
}

func source(data []byte) Source {
	return Source{ReadSeeker: bytes.NewReader(data), Size: int64(len(data)), Convergence: circle}
}

func mustUpload(t *testing.T, c *Client, data []byte) (*Result, caps.CHK) {
	t.Helper()
	res, err := c.Upload(t.Context(), source(data), nil)
	if err != nil {
		t.Fatalf("upload of %d bytes: %v", len(data), err)
	}
	cap, ok := res.Cap.(caps.CHK)
	if !ok {
		t.Fatalf("cap is a %T", res.Cap)
	}
	return res, cap
}

func read(t *testing.T, c *Client, cap caps.CHK, off, n int64) ([]byte, error) {
	t.Helper()
	f, err := c.Open(cap)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = f.ReadRange(t.Context(), &b, off, n, nil)
	return b.Bytes(), err
}

func mustRead(t *testing.T, c *Client, cap caps.CHK, want []byte) {
	t.Helper()
	got, err := read(t, c, cap, 0, cap.Size)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d of %d bytes, equal %v: %v", len(got), len(want), bytes.Equal(got, want), err)
	}
}
