package ssk

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/caps"
)

// pat is the content of golden files.
func pat(n, seed int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		h := sha256.Sum256(fmt.Appendf(nil, "tahoe-golden:%d:%d", seed, i))
		b = append(b, h[:]...)
	}
	return b[:n]
}

func readKey(t testing.TB, name string) *PrivateKey {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParsePEM(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testKey is one key for all tests that need any.
func testKey(t testing.TB) *PrivateKey { return readKey(t, "keys/key0.pem") }

// memShare is a Source in memory that counts what was asked of it.
type memShare struct {
	mu    sync.Mutex // guards below
	data  []byte
	calls int
	spans int
	bytes int64
	most  int64 // bytes of the longest span asked for
}

func (m *memShare) ReadSpans(_ context.Context, spans []ids.Span) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	var out [][]byte
	for _, s := range spans {
		if s.Off < 0 || s.Len < 0 {
			return nil, fmt.Errorf("asked for %d bytes at %d", s.Len, s.Off)
		}
		m.spans++
		m.most = max(m.most, s.Len)
		from := min(s.Off, int64(len(m.data)))
		to := min(from+s.Len, int64(len(m.data)))
		m.bytes += to - from
		out = append(out, bytes.Clone(m.data[from:to]))
	}
	return out, nil
}

func (m *memShare) reset() { m.calls, m.spans, m.bytes, m.most = 0, 0, 0, 0 }

type made struct {
	key      *PrivateKey
	cap      caps.SSK
	text     []byte
	encoded  *Encoded
	verifier caps.SSKVerifier
}

func makeFile(t testing.TB, mdmf bool, k, n int, seqnum uint64, text []byte) *made {
	t.Helper()
	return makeWith(t, rand.Reader, mdmf, k, n, seqnum, text)
}

func makeWith(t testing.TB, random io.Reader, mdmf bool, k, n int, seqnum uint64, text []byte) *made {
	t.Helper()
	key := testKey(t)
	e, err := Encode(t.Context(), Config{Key: key, MDMF: mdmf, K: k, N: n, Seqnum: seqnum, Random: random}, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := key.Cap(mdmf)
	return &made{key, c, text, e, c.Read().Verifier()}
}

func open(t testing.TB, f *File, num int, data []byte) *Share {
	t.Helper()
	s, err := f.Open(t.Context(), &memShare{data: data}, ids.ShareNum(num), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readFile decodes the whole contents from shares, k of which are used.
func readFile(ctx context.Context, f *File, cap caps.SSKRead, shares map[ids.ShareNum][]byte) ([]byte, error) {
	var opened []*Share
	for num, data := range shares {
		s, err := f.Open(ctx, &memShare{data: data}, num, nil)
		if err != nil {
			return nil, err
		}
		opened = append(opened, s)
	}
	v := opened[0].Version()
	d, err := NewDecoder(v, cap)
	if err != nil {
		return nil, err
	}
	var text []byte
	for seg := range v.Segments() {
		blocks := map[ids.ShareNum]Block{}
		for _, s := range opened[:v.K] {
			if s.Version() != v {
				return nil, fmt.Errorf("versions %v and %v", v, s.Version())
			}
			b, err := s.Blocks(ctx, seg, 1)
			if err != nil {
				return nil, err
			}
			blocks[s.Num()] = b[0]
		}
		part, err := d.Segment(seg, blocks, nil)
		if err != nil {
			return nil, err
		}
		text = append(text, part...)
	}
	return text, nil
}

// pick returns some of the shares.
func (m *made) pick(nums ...int) map[ids.ShareNum][]byte {
	out := map[ids.ShareNum][]byte{}
	for _, n := range nums {
		out[ids.ShareNum(n)] = m.encoded.Share(ids.ShareNum(n))
	}
	return out
}
