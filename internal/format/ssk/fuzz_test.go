package ssk

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzParseHeader(f *testing.F) {
	for _, g := range readGolden(f) {
		for _, data := range g.shares(f) {
			f.Add(data[:headerMDMF])
			break
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, s, err := parseHeader(b)
		if err != nil {
			if !errors.Is(err, errHeader) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("error %v", err)
			}
			return
		}
		if v.MDMF && s.publicKey.End() > s.data.Off || v.dataSize() < 0 || v.treeSize() < hashSize {
			t.Errorf("%+v %+v", v, s)
		}
		if again := s.appendHeader(nil, &v); !bytes.Equal(again, b[:headerSize(b)]) {
			t.Errorf("%x is packed again as %x", b[:headerSize(b)], again)
		}
	})
}

// Any bytes as a share: right blocks or an error, without reading much more
// than there is.
func FuzzShare(f *testing.F) {
	// The same in every process that fuzzes.
	sdmf, mdmf := makeWith(f, zeroReader{}, false, 2, 5, 1, pat(100, 1)), makeWith(f, zeroReader{}, true, 2, 5, 2, pat(100, 2))
	both := NewFile(sdmf.verifier)
	for _, m := range []*made{sdmf, mdmf} {
		f.Add(m.encoded.Share(1), 4096)
		f.Add(m.encoded.Share(1), 0)
		f.Add(m.encoded.Share(2), 500)
		if s := open(f, both, 1, m.encoded.Share(1)); s.Version() != m.encoded.Version {
			f.Fatal("another version")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, head int) {
		src := &memShare{data: data}
		defer func() {
			if src.bytes > int64(20*len(data))+20 {
				t.Errorf("%d bytes read of a share of %d", src.bytes, len(data))
			}
		}()
		for _, file := range []*File{both, NewFile(sdmf.verifier)} {
			s, err := file.Open(t.Context(), src, 1, bytes.Clone(data[:max(0, min(head, len(data)))]))
			if err != nil {
				fuzzError(t, err)
				continue
			}
			want := sdmf
			if s.Version() == mdmf.encoded.Version {
				want = mdmf
			}
			if s.Version() != want.encoded.Version {
				t.Fatalf("version %+v was never signed", s.Version())
			}
			b, err := s.Blocks(t.Context(), 0, 1)
			if err != nil {
				fuzzError(t, err)
			} else if !bytes.Contains(want.encoded.Share(1), b[0].Data) || len(b[0].Data) != 50 {
				t.Error("a wrong block")
			}
			if _, err := s.Leaves(t.Context()); err != nil {
				fuzzError(t, err)
			}
			if err := s.Verify(t.Context()); err != nil {
				fuzzError(t, err)
			}
			if k, err := s.PrivateKey(t.Context(), sdmf.cap); err != nil {
				fuzzError(t, err)
			} else if !bytes.Equal(k.Reveal(), sdmf.key.Reveal()) {
				t.Error("a wrong private key")
			}
		}
	})
}

func fuzzError(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*CorruptError](err); !ok && !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add(testKey(f).Reveal())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (*PrivateKey, error){ParsePEM, ParseDER} {
			k, err := parse(b)
			if err != nil {
				if !errors.Is(err, ErrBadKey) {
					t.Errorf("error %v", err)
				}
				continue
			}
			if again, err := ParseDER(k.Reveal()); err != nil || again.Cap(false) != k.Cap(false) {
				t.Errorf("read back: %v", err)
			}
		}
		parsePublic(b)
	})
}
