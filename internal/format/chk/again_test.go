package chk

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/caps"
)

// again encodes the ciphertext of m anew, given a share, and returns all of
// share num.
func again(t *testing.T, m made, cap caps.CHKVerifier, ciphertext []byte, num ids.ShareNum, inFlight int) ([]byte, error) {
	t.Helper()
	f, err := NewFile(cap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Again(1, 1); err == nil {
		t.Error("encoded again before a share was opened")
	}
	if _, err := f.OpenShare(t.Context(), &memShare{data: m.shares[0]}, 0, 0); err != nil {
		t.Fatal(err)
	}
	e, err := f.Again(2, inFlight)
	if err != nil {
		return nil, err
	}
	out := e.Header()
	for seg, err := range e.Segments(t.Context(), bytes.NewReader(ciphertext)) {
		if err != nil {
			return nil, err
		}
		out = append(out, seg.Blocks[num]...)
		seg.Release()
	}
	trailer, err := e.Trailer()
	if err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(trailer.Share(num))
	return append(out, rest...), err
}

func encrypted(t *testing.T, plaintext []byte) []byte {
	t.Helper()
	c, err := NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(plaintext))
	c.XOR(out, plaintext, 0)
	return out
}

// From ciphertext and the verify cap come the shares that there were, whatever
// the segment size.
func TestAgain(t *testing.T) {
	for _, p := range []Params{{3, 10, 1000}, {3, 10, 0}, {1, 1, 7}, {5, 5, 900}, {2, 256, 64}} {
		for _, size := range []int{1, 56, 899, 5000} {
			plaintext := pat(size, 1)
			m := encodeAll(t, Config{Key: testKey, Params: p}, plaintext)
			for _, num := range []int{0, p.K - 1, p.N - 1} {
				for _, inFlight := range []int{0, 1} { // with one all workers but one wait
					got, err := again(t, m, m.cap.Verifier(), encrypted(t, plaintext), ids.ShareNum(num), inFlight)
					if err != nil || !bytes.Equal(got, m.shares[num]) {
						t.Errorf("%+v, %d bytes: share %d is another, %v", p, size, num, err)
					}
				}
			}
		}
	}
}

// Ciphertext that is not the file's makes no shares.
func TestAgainOther(t *testing.T) {
	plaintext := pat(5000, 1)
	m := encodeAll(t, Config{Key: testKey, Params: Params{3, 10, 1000}}, plaintext)
	ciphertext := encrypted(t, plaintext)
	ciphertext[4321] ^= 1
	if _, err := again(t, m, m.cap.Verifier(), ciphertext, 4, 0); !errors.Is(err, ErrBadEncoding) {
		t.Errorf("other ciphertext: %v", err)
	}
	if _, err := again(t, m, m.cap.Verifier(), ciphertext[:4999], 4, 0); !errors.Is(err, ErrSourceSize) {
		t.Errorf("too little: %v", err)
	}
}

// A UEB with more in it than this package writes cannot be made again.
func TestAgainOldUEB(t *testing.T) {
	for _, change := range []func(ueb []byte) []byte{
		func(ueb []byte) []byte {
			return replaceField(ueb, "segment_size:", "plaintext_root_hash:32:"+someHash+",segment_size:")
		},
		func(ueb []byte) []byte { return append(bytes.Clone(ueb), "zzz:1:x,"...) },
		func(ueb []byte) []byte { return bytes.TrimPrefix(ueb, []byte("codec_name:3:crs,")) },
	} {
		m := encodeAll(t, Config{Key: testKey, Params: Params{3, 10, 1000}}, pat(5000, 1))
		m.setUEB(change(m.ueb()))
		f, err := NewFile(m.cap.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.OpenShare(t.Context(), &memShare{data: m.shares[2]}, 2, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Again(1, 1); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: %v", m.ueb(), err)
		}
	}
}
