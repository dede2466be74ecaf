package chk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func FuzzParseUEB(f *testing.F) {
	l, err := NewLayout(Params{K: 3, N: 10}, 1000)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.packUEB(roots{}))
	f.Add([]byte("crypttext_root_hash:32:" + someHash + ",segment_size:1:0,share_root_hash:32:" + someHash + ","))
	f.Add([]byte("a:99999999999999999999:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ParseUEB(b)
		if err != nil {
			return
		}
		// A UEB with all of today's fields and no others is canonical.
		got, err := u.layout(3, 10, 1000)
		if err != nil || len(u.has) != 11 || u.Crypttext == nil {
			return
		}
		for _, key := range []string{"codec_name", "codec_params", "tail_codec_params", "size", "num_segments", "needed_shares", "total_shares"} {
			if !u.has[key] {
				return
			}
		}
		if again := got.packUEB(roots{*u.Crypttext, u.CrypttextRoot, u.ShareRoot}); !bytes.Equal(again, b) {
			t.Errorf("%q is packed again as %q", b, again)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	l, err := NewLayout(Params{K: 3, N: 10}, 1000)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.header(1).Append(nil))
	f.Add(l.header(2).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if again := h.Append(nil); !bytes.Equal(again, b[:h.size()]) {
			t.Errorf("%x is packed again as %x", b, again)
		}
		h.fits(&l)
	})
}

// A share of any bytes at all gives right blocks or an error, without reading
// or holding much more than the file.
func FuzzOpenShare(f *testing.F) {
	plaintext := pat(1000, 3)
	c := Config{Key: testKey, Params: Params{2, 5, 300}}
	m := encodeAll(f, c, plaintext)
	names, _ := filepath.Glob("testdata/shares/chk-2-5-*/1")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, int64(0))
	}
	f.Add(m.shares[1], int64(0))
	f.Add(m.shares[1], int64(3))
	f.Add(m.shares[2], int64(-1))
	f.Add(m.layout.header(2).Append(nil), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, first int64) {
		src := &memShare{data: b}
		defer func() {
			for _, r := range src.reads {
				if r.Off < 0 || r.Len > 128<<10 {
					t.Errorf("read %v of a share of %d bytes", r, len(b))
				}
			}
		}()
		file, err := NewFile(m.cap.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		s, err := file.OpenShare(t.Context(), src, 1, first)
		if err != nil {
			if !blames(err, 1) {
				t.Errorf("opening: %v", err)
			}
			return
		}
		for seg := range m.layout.Segments {
			block, err := s.Block(t.Context(), seg, nil)
			span := m.layout.BlockSpan(seg)
			switch {
			case err != nil && !blames(err, 1):
				t.Errorf("block %d: %v", seg, err)
			case err == nil && !bytes.Equal(block, m.shares[1][span.Off:span.End()]):
				t.Errorf("block %d is wrong", seg)
			}
		}
		if err := s.Verify(t.Context()); err != nil && !blames(err, 1) {
			t.Errorf("verify: %v", err)
		}
	})
}

// brokenSource fails from read number n on.
type brokenSource struct {
	memShare
	n int
}

var errBroken = errors.New("connection lost")

func (b *brokenSource) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	b.mu.Lock()
	broken := len(b.reads) >= b.n
	b.mu.Unlock()
	if broken {
		return 0, errBroken
	}
	return b.memShare.ReadAt(ctx, p, off)
}

// A server that fails is not a share that is corrupt.
func TestSourceFails(t *testing.T) {
	m := encodeAll(t, Config{Key: testKey, Params: Params{3, 10, 128 << 10}}, pat(2<<20, 6))
	for n := range 50 {
		src := &brokenSource{memShare{data: m.shares[7]}, n}
		f, err := NewFile(m.cap.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.OpenShare(t.Context(), src, 7, -1)
		if err == nil {
			_, err = s.Block(t.Context(), 9, nil)
		}
		if err == nil {
			err = s.Verify(t.Context())
		}
		if err == nil {
			if n < 5 {
				t.Errorf("only %d reads", n)
			}
			return
		}
		if !errors.Is(err, errBroken) || blames(err, 7) {
			t.Errorf("failing at read %d: %v", n, err)
		}
	}
	t.Error("50 reads are not enough")
}

// A source that lies about lengths is an error, not a panic.
type lyingSource struct{ n int }

func (l lyingSource) ReadAt(context.Context, []byte, int64) (int, error) { return l.n, nil }

func TestSourceLies(t *testing.T) {
	m := encodeAll(t, Config{Key: testKey, Params: Params{3, 10, 0}}, pat(1000, 6))
	for _, n := range []int{-1, 0, 1, 1 << 30} {
		f, _ := NewFile(m.cap.Verifier())
		if _, err := f.OpenShare(t.Context(), lyingSource{n}, 0, 0); err == nil || blames(err, 0) {
			t.Errorf("source that says %d: %v", n, err)
		}
	}
}

var _ BlockSource = (*memShare)(nil)
