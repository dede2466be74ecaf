package chk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/caps"
)

// pat is the content the golden files were made of.
func pat(size int, seed int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		h := sha256.Sum256(fmt.Appendf(nil, "tahoe-golden:%d:%d", seed, i))
		b = append(b, h[:]...)
	}
	return b[:size]
}

// testKey is some key.
var testKey = caps.NewKey([16]byte([]byte("0123456789abcdef")))

// made is a file's shares and what a cap would say of it.
type made struct {
	layout Layout
	shares [][]byte
	cap    caps.CHK
}

// encodeAll runs the encoder into memory, at the offsets it says.
func encodeAll(t testing.TB, c Config, plaintext []byte) made {
	t.Helper()
	c.Size = int64(len(plaintext))
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	l := e.Layout()
	m := made{layout: l, shares: make([][]byte, l.N)}
	for i := range m.shares {
		m.shares[i] = append(make([]byte, 0, l.ShareSize), e.Header()...)
	}
	for seg, err := range e.Segments(t.Context(), bytes.NewReader(plaintext)) {
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range seg.Blocks {
			if int64(len(m.shares[i])) != l.BlockSpan(seg.Num).Off {
				t.Fatalf("block %d of share %d comes at %d, want %d", seg.Num, i, len(m.shares[i]), l.BlockSpan(seg.Num).Off)
			}
			m.shares[i] = append(m.shares[i], block...)
		}
		seg.Release()
	}
	trailer, err := e.Trailer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.shares {
		rest, err := io.ReadAll(trailer.Share(ids.ShareNum(i)))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(m.shares[i])) != l.TrailerOffset() {
			t.Fatalf("trailer comes at %d, want %d", len(m.shares[i]), l.TrailerOffset())
		}
		m.shares[i] = append(m.shares[i], rest...)
		if int64(len(m.shares[i])) != e.ShareSize() {
			t.Fatalf("share %d has %d bytes, ShareSize is %d", i, len(m.shares[i]), e.ShareSize())
		}
	}
	m.cap = trailer.Cap
	return m
}

// memShare serves a share from memory and notes what was read.
type memShare struct {
	data []byte

	mu    sync.Mutex // guards below
	reads []ids.Span
}

func (m *memShare) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	m.mu.Lock()
	m.reads = append(m.reads, ids.Span{Off: off, Len: int64(len(p))})
	m.mu.Unlock()
	return bytes.NewReader(m.data).ReadAt(p, off)
}

// decodeAll reads the whole file from the shares numbered nums, which must be
// k, as a download would.
func decodeAll(ctx context.Context, m made, nums ...int) ([]byte, error) {
	f, err := NewFile(m.cap.Verifier())
	if err != nil {
		return nil, err
	}
	cipher, err := NewCipher(m.cap.Key)
	if err != nil {
		return nil, err
	}
	var shares []*Share
	for _, num := range nums {
		s, err := f.OpenShare(ctx, &memShare{data: m.shares[num]}, ids.ShareNum(num), 0)
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	l, _ := f.Layout()
	var out []byte
	for seg := range l.Segments {
		blocks := make(map[ids.ShareNum][]byte)
		for _, s := range shares {
			if blocks[s.Num()], err = s.Block(ctx, seg, nil); err != nil {
				return nil, err
			}
		}
		text, err := f.Decode(seg, blocks, nil)
		if err != nil {
			return nil, err
		}
		cipher.XOR(text, text, seg*l.SegmentSize)
		out = append(out, text...)
	}
	return out, nil
}

// moduleRoot walks up to go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
