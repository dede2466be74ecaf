package gridtest

import (
	"bytes"
	"context"
	"sync"

	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// rsaKeys are made once for all grids of a test program: each takes a
// twentieth of a second.
var rsaKeys struct {
	sync.Mutex
	made []*ssk.PrivateKey
}

// Key returns a key for a mutable file that no other file of the grid has.
func (g *Grid) Key() *ssk.PrivateKey {
	g.mu.Lock()
	i := g.keys
	g.keys++
	g.mu.Unlock()
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	for len(rsaKeys.made) <= i {
		k, err := ssk.GenerateKey(nil)
		must(err)
		rsaKeys.made = append(rsaKeys.made, k)
	}
	return rsaKeys.made[i]
}

// Make creates a mutable file. Its cap and contents become secrets to look
// for; the error is heard.
func (c *Client) Make(ctx context.Context, mdmf bool, data []byte, tr *mutable.Trace) (*mutable.File, error) {
	if len(data) >= 16 {
		c.g.Secret("plaintext", string(data[:min(len(data), 48)]))
	}
	cap, err := c.Mutable.Create(ctx, mutable.CreateOptions{MDMF: mdmf, Key: c.g.Key()},
		func(caps.SSK) ([]byte, error) { return data, nil }, tr)
	if err != nil {
		return nil, c.g.Heard(err)
	}
	c.g.SecretSSK(cap)
	return c.OpenMutable(cap), nil
}

// SecretSSK makes a mutable file's caps and keys secrets to look for.
func (g *Grid) SecretSSK(cap caps.SSK) {
	write, read := cap.WriteKey.Reveal(), cap.Read().ReadKey.Reveal()
	g.Secret("a write cap", cap.Reveal())
	g.Secret("a read cap", cap.Read().Reveal())
	g.Secret("a write key", string(write[:]))
	g.Secret("a read key", string(read[:]))
}

// MustMake is Make of a file that has to come to be.
func (c *Client) MustMake(mdmf bool, data []byte) *mutable.File {
	c.g.t.Helper()
	f, err := c.Make(c.g.t.Context(), mdmf, data, nil)
	if err != nil {
		c.g.t.Fatalf("making a mutable file of %d bytes: %v", len(data), err)
	}
	return f
}

// OpenMutable opens a file by its write or read cap.
func (c *Client) OpenMutable(cap caps.Cap) *mutable.File {
	c.g.t.Helper()
	f, err := c.Mutable.Open(cap)
	if err != nil {
		c.g.t.Fatalf("opening a mutable file: %v", err)
	}
	return f
}

// MustRead reads a mutable file, which has to be want.
func (c *Client) MustRead(f *mutable.File, want []byte) ssk.Version {
	c.g.t.Helper()
	got, v, err := f.Read(c.g.t.Context(), nil)
	if c.g.Heard(err) != nil || !bytes.Equal(got, want) {
		c.g.t.Fatalf("read %d of %d bytes, equal %v: %v", len(got), len(want), bytes.Equal(got, want), err)
	}
	return v
}

// HeldMutable returns the version that each server, by index, holds of each
// mutable share of si, past any fault.
func (g *Grid) HeldMutable(si storage.Index) map[storage.ShareNum]map[int]ssk.Checkstring {
	g.t.Helper()
	held := map[storage.ShareNum]map[int]ssk.Checkstring{}
	for i, s := range g.Servers {
		shares, err := s.Store.ReadSlot(context.Background(), si, nil, []storage.Span{{Len: ssk.MaxCheckstring}})
		if err != nil {
			g.t.Fatalf("gridtest: server %d: %v", i, err)
		}
		for num, pieces := range shares {
			if held[num] == nil {
				held[num] = map[int]ssk.Checkstring{}
			}
			held[num][i], _ = ssk.ParseCheckstring(pieces[0]) // the zero one: damaged
		}
	}
	return held
}
