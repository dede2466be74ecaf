package directory

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/diskstore"
	"tahoe-go/internal/storage/memstore"
)

// servers are some storage servers without a network.
type servers []storage.Peer

func (s servers) ForUpload(si storage.Index) []storage.Peer {
	out := slices.Clone([]storage.Peer(s))
	slices.SortFunc(out, func(a, b storage.Peer) int {
		ra, rb := tagged.Permutation(si, a.Seed), tagged.Permutation(si, b.Seed)
		return bytes.Compare(ra[:], rb[:])
	})
	return out
}

func (s servers) ForRead(si storage.Index) []storage.Peer { return s.ForUpload(si) }

func (s *servers) add(server storage.Server) {
	id := fmt.Sprintf("v0-server%02d", len(*s))
	*s = append(*s, storage.Peer{ID: id, Name: id, Seed: []byte(id), LeaseSeed: [20]byte{byte(len(*s))}, Server: server})
}

func inMemory(n int) (s servers) {
	for range n {
		s.add(memstore.New(memstore.Config{}))
	}
	return s
}

// golden are servers that hold what the reference has stored: a share of each
// kind on each.
func golden(t *testing.T, root, imm storage.Index) (s servers) {
	t.Helper()
	for num := range 2 {
		dir := t.TempDir()
		for si, name := range map[storage.Index]string{root: "root", imm: "imm-dir"} {
			share, err := os.ReadFile(fmt.Sprintf("testdata/%s/%d", name, num))
			if err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(dir, "shares", si.String()[:2], si.String())
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(at, fmt.Sprint(num)), share, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		store, err := diskstore.Open(diskstore.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		s.add(store)
	}
	return s
}

var clients atomic.Int32

func newClient(t testing.TB, s servers, k, n int, convergence string) *Client {
	t.Helper()
	lease := redact.New(fmt.Sprintf("lease secret %d of the test", clients.Add(1)))
	happy := cmp.Or(min(n, len(s)), 1)
	i, err := immutable.New(immutable.Config{Servers: s, K: k, Happy: happy, N: n, LeaseSecret: lease})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mutable.New(mutable.Config{Servers: s, K: k, N: n, LeaseSecret: lease})
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Mutable: m, Immutable: i, Convergence: redact.New(convergence)})
}
