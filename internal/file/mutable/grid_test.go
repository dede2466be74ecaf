package mutable

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// testGrid is a slice of faulty memory servers.
type testGrid struct {
	mu     sync.Mutex // guards peers
	peers  []storage.Peer
	faults []*faultstore.Store
	stores []*memstore.Store // behind the faults
}

func newGrid(t testing.TB, servers int) *testGrid {
	g := &testGrid{}
	for range servers {
		g.add(t, memstore.Config{})
	}
	return g
}

// add brings one more server.
func (g *testGrid) add(t testing.TB, c memstore.Config) {
	m := memstore.New(c)
	f := faultstore.For(t, m)
	i := len(g.stores)
	g.stores, g.faults = append(g.stores, m), append(g.faults, f)
	id := fmt.Sprintf("v0-server%02d", i)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peers = append(g.peers, storage.Peer{ID: id, Name: fmt.Sprintf("s%d", i), Seed: []byte(id), LeaseSeed: [20]byte{byte(i)}, Server: f})
}

func (g *testGrid) ForUpload(si storage.Index) []storage.Peer {
	g.mu.Lock()
	out := slices.Clone(g.peers)
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b storage.Peer) int {
		ra, rb := tagged.Permutation(si, a.Seed), tagged.Permutation(si, b.Seed)
		return bytes.Compare(ra[:], rb[:])
	})
	return out
}

func (g *testGrid) ForRead(si storage.Index) []storage.Peer { return g.ForUpload(si) }

// order returns the indexes of servers in si's order.
func (g *testGrid) order(si storage.Index) (list []int) {
	for _, p := range g.ForRead(si) {
		list = append(list, int(p.LeaseSeed[0]))
	}
	return list
}

// calls sums the calls of all servers.
func (g *testGrid) calls(m faultstore.Method) (n int) {
	for _, f := range g.faults {
		n += f.Calls(m)
	}
	return n
}

// held returns the sequence numbers on each server, by share number.
func (g *testGrid) held(t testing.TB, si storage.Index) map[storage.ShareNum]map[int]uint64 {
	t.Helper()
	out := map[storage.ShareNum]map[int]uint64{}
	for i, m := range g.stores {
		shares, err := m.ReadSlot(context.Background(), si, nil, []storage.Span{{Len: ssk.MaxCheckstring}})
		if err != nil {
			t.Fatal(err)
		}
		for num, pieces := range shares {
			if out[num] == nil {
				out[num] = map[int]uint64{}
			}
			c, _ := ssk.ParseCheckstring(pieces[0])
			out[num][i] = c.Seqnum
		}
	}
	return out
}

// testKeys are made once for all tests: a key takes a twentieth of a second.
var testKeys struct {
	sync.Mutex
	made []*ssk.PrivateKey
}

// testKey returns the key of that number.
func testKey(t testing.TB, i int) *ssk.PrivateKey {
	t.Helper()
	testKeys.Lock()
	defer testKeys.Unlock()
	for len(testKeys.made) <= i {
		k, err := ssk.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		testKeys.made = append(testKeys.made, k)
	}
	return testKeys.made[i]
}

func newClient(t testing.TB, g Servers, k, n int) *Client {
	t.Helper()
	c, err := New(Config{Servers: g, K: k, N: n, LeaseSecret: redact.New("lease secret of the test, 32 byte")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func content(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)}).Read(b)
	return b
}

// mustCreate makes a file with the first of the test keys.
func mustCreate(t testing.TB, c *Client, mdmf bool, data []byte) *File {
	t.Helper()
	cap, err := c.Create(t.Context(), CreateOptions{MDMF: mdmf, Key: testKey(t, 0)}, func(caps.SSK) ([]byte, error) { return data, nil }, nil)
	if err != nil {
		t.Fatalf("creating: %v", err)
	}
	return mustOpen(t, c, cap)
}

func mustOpen(t testing.TB, c *Client, cap caps.Cap) *File {
	t.Helper()
	f, err := c.Open(cap)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustRead(t testing.TB, f *File, want []byte) ssk.Version {
	t.Helper()
	got, v, err := f.Read(t.Context(), nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d of %d bytes, equal %v: %v", len(got), len(want), bytes.Equal(got, want), err)
	}
	return v
}
