package ssk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"tahoe-go/internal/codec/ids"
)

func TestRoundTrip(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		for _, tt := range []struct{ k, n, size int }{
			{1, 1, 0}, {1, 1, 1}, {3, 10, 0}, {3, 10, 1}, {3, 10, 2}, {3, 10, 3}, {3, 10, 4}, {3, 10, 1000},
			{3, 10, 131072}, {3, 10, 131073}, {3, 10, 131074}, {3, 10, 262146}, {3, 10, 400000}, {2, 255, 700}, {255, 255, 1000},
		} {
			t.Run(fmt.Sprintf("mdmf=%v/%d-%d/%d", mdmf, tt.k, tt.n, tt.size), func(t *testing.T) {
				t.Parallel()
				m := makeFile(t, mdmf, tt.k, tt.n, 1, pat(tt.size, 3))
				f := NewFile(m.verifier)
				first, last := map[ids.ShareNum][]byte{}, map[ids.ShareNum][]byte{}
				for i := range tt.k {
					first[ids.ShareNum(i)] = m.encoded.Share(ids.ShareNum(i))
					last[ids.ShareNum(tt.n-1-i)] = m.encoded.Share(ids.ShareNum(tt.n - 1 - i))
				}
				for _, shares := range []map[ids.ShareNum][]byte{first, last} {
					got, err := readFile(t.Context(), f, m.cap.Read(), shares)
					if err != nil || !bytes.Equal(got, m.text) {
						t.Errorf("read %d bytes, %v", len(got), err)
					}
				}
				s := open(t, f, tt.n-1, m.encoded.Share(ids.ShareNum(tt.n-1)))
				if err := s.Verify(t.Context()); err != nil {
					t.Error(err)
				}
				if s.Version() != m.encoded.Version || s.InPlace() != mdmf {
					t.Errorf("version %+v, want %+v", s.Version(), m.encoded.Version)
				}
			})
		}
	}
}

// Reads cost as many calls as they say.
func TestCalls(t *testing.T) {
	m := makeFile(t, true, 3, 10, 1, pat(3<<20, 1))
	src := &memShare{data: m.encoded.Share(4)}
	f := NewFile(m.verifier)
	if _, err := f.Open(t.Context(), src, 4, nil); err != nil || src.calls != 1 {
		t.Fatalf("opening without head: %d calls, %v", src.calls, err)
	}
	src.reset()
	s, err := f.Open(t.Context(), src, 4, src.data[:HeadSize])
	if err != nil || src.calls != 0 {
		t.Fatalf("opening with head: %d calls, %v", src.calls, err)
	}
	if _, err := s.Blocks(t.Context(), 7, 1); err != nil || src.calls != 1 || src.bytes > 50<<10 {
		t.Errorf("first block: %d calls, %d bytes, %v", src.calls, src.bytes, err)
	}
	src.reset()
	v := s.Version()
	if _, err := s.Blocks(t.Context(), 8, 5); err != nil || src.calls != 1 || src.spans != 1 || src.bytes != 5*v.blockStride() {
		t.Errorf("more blocks: %d calls, %d bytes, %v", src.calls, src.bytes, err)
	}
	src.reset()
	if l, err := s.Leaves(t.Context()); err != nil || src.calls != 1 || int64(len(l)) != v.Segments() {
		t.Errorf("leaves: %d calls, %v", src.calls, err)
	}
	// A small file that came whole with the head needs no source.
	small := makeFile(t, false, 3, 10, 1, pat(300, 1))
	whole, err := f.Open(t.Context(), nil, 2, small.encoded.Share(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Blocks(t.Context(), 0, 1); err != nil {
		t.Error(err)
	}
	if err := whole.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := whole.PrivateKey(t.Context(), small.cap); err != nil {
		t.Error(err)
	}
}

func TestBlocksRange(t *testing.T) {
	m := makeFile(t, true, 3, 4, 1, pat(300000, 1))
	s := open(t, NewFile(m.verifier), 0, m.encoded.Share(0))
	for _, r := range [][2]int{{-1, 1}, {0, 0}, {0, 4}, {3, 1}, {2, 2}, {0, -1}, {0, MaxBlocks + 1}} {
		if _, err := s.Blocks(t.Context(), int64(r[0]), r[1]); err == nil {
			t.Errorf("Blocks(%d, %d) gave something", r[0], r[1])
		}
	}
	b, err := s.Blocks(t.Context(), 0, 3)
	if err != nil || len(b) != 3 || len(b[0].Data) != 43691 || len(b[2].Data) != (300000-2*131073+2)/3 {
		t.Errorf("Blocks = %d blocks, %v", len(b), err)
	}
	v := s.Version()
	if first, last := v.SegmentsOf(131072, 2); first != 0 || last != 1 {
		t.Errorf("segments %d to %d", first, last)
	}
}

func TestDecoderRefuses(t *testing.T) {
	m := makeFile(t, true, 2, 4, 1, pat(1000, 1))
	other := makeFile(t, true, 2, 4, 1, pat(1000, 1))
	f := NewFile(m.verifier)
	block := func(m *made, num int) Block {
		b, err := open(t, f, num, m.encoded.Share(ids.ShareNum(num))).Blocks(t.Context(), 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		return b[0]
	}
	d, err := NewDecoder(m.encoded.Version, m.cap.Read())
	if err != nil {
		t.Fatal(err)
	}
	a, b := block(m, 0), block(m, 3)
	if _, err := d.Segment(0, map[ids.ShareNum]Block{0: a, 3: block(other, 3)}, nil); !errors.Is(err, ErrBadEncoding) {
		t.Errorf("two salts: %v", err)
	}
	for name, blocks := range map[string]map[ids.ShareNum]Block{
		"too few":  {0: a},
		"too many": {0: a, 1: a, 3: b},
		"short":    {0: a, 3: {b.Data[1:], b.Salt}},
		"number":   {0: a, 200: b},
		"none":     nil,
	} {
		if _, err := d.Segment(0, blocks, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, seg := range []int64{-1, 1} {
		if _, err := d.Segment(seg, map[ids.ShareNum]Block{0: a, 3: b}, nil); err == nil {
			t.Errorf("segment %d: no error", seg)
		}
	}
	buf := make([]byte, 0, 2000)
	got, err := d.Segment(0, map[ids.ShareNum]Block{0: a, 3: b}, buf)
	if err != nil || !bytes.Equal(got, m.text) || &got[0] != &buf[:1][0] {
		t.Errorf("Segment = %d bytes, %v, buffer not used", len(got), err)
	}
}

// One bit turned anywhere in a share: Verify finds it, except where it says it
// does not look; and reading gives right contents or an error, never others.
func TestEveryBit(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		m := makeFile(t, mdmf, 2, 5, 1, pat(200, 1))
		good := m.encoded.Share(3)
		if mdmf { // one with more than one segment, cut down
			m = makeFile(t, mdmf, 20, 25, 1, pat(131072+200, 1))
			good = m.encoded.Share(3)
		}
		_, s, err := parseHeader(good)
		if err != nil {
			t.Fatal(err)
		}
		f := NewFile(m.verifier)
		want := map[int64]Block{}
		intact := open(t, f, 3, good)
		for seg := range m.encoded.Version.Segments() {
			b, err := intact.Blocks(t.Context(), seg, 1)
			if err != nil {
				t.Fatal(err)
			}
			want[seg] = b[0]
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for at := 0; at < len(good); at++ {
			off := int64(at)
			if off > s.data.Off+300 && off < s.data.End()-300 && rnd.IntN(500) > 0 {
				continue // few of the bytes of long blocks
			}
			bad := bytes.Clone(good)
			bad[at] ^= 1 << rnd.IntN(8)
			// Not even the private key's length is known without the write cap.
			unseen := off >= s.privateKey.Off && off < s.privateKey.End() || mdmf && off >= s.publicKey.End() && off < s.data.Off
			unsure := !mdmf && off >= headerSDMF-8 && off < headerSDMF
			for _, file := range []*File{f, NewFile(m.verifier)} { // the version known, and not
				share, err := file.Open(t.Context(), &memShare{data: bad}, 3, nil)
				if err != nil {
					checkCorrupt(t, at, err)
					continue
				}
				for seg, w := range want {
					b, err := share.Blocks(t.Context(), seg, 1)
					if err != nil {
						checkCorrupt(t, at, err)
					} else if !bytes.Equal(b[0].Data, w.Data) || b[0].Salt != w.Salt {
						t.Fatalf("byte %d changed: wrong block of segment %d", at, seg)
					}
				}
				if err := share.Verify(t.Context()); (err == nil) != unseen && !unsure {
					t.Errorf("byte %d changed: Verify = %v", at, err)
				}
				if off < s.privateKey.Off || off >= s.privateKey.End() {
					continue // it would be parsed, at some cost
				}
				if _, err := share.PrivateKey(t.Context(), m.cap); err == nil {
					t.Errorf("byte %d changed: the private key is taken", at)
				}
			}
		}
	}
}

func checkCorrupt(t *testing.T, at int, err error) {
	t.Helper()
	if _, ok := errors.AsType[*CorruptError](err); !ok && !errors.Is(err, ErrUnsupported) {
		t.Errorf("byte %d changed: %v", at, err)
	}
}

// A share cut short anywhere is an error wherever the missing part is needed.
func TestEveryLength(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		m := makeFile(t, mdmf, 2, 5, 1, pat(200, 1))
		good := m.encoded.Share(1)
		for size := range good {
			s, err := NewFile(m.verifier).Open(t.Context(), &memShare{data: good[:size]}, 1, nil)
			if err == nil {
				err = s.Verify(t.Context())
			}
			if _, ok := errors.AsType[*CorruptError](err); !ok {
				t.Errorf("mdmf=%v, %d of %d bytes: %v", mdmf, size, len(good), err)
			}
		}
	}
}

// Shares of other versions, files and numbers do not pass for one.
func TestSwapped(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		old, m := makeFile(t, mdmf, 2, 5, 1, pat(200, 1)), makeFile(t, mdmf, 2, 5, 2, pat(200, 2))
		f := NewFile(m.verifier)
		blocks := func(num ids.ShareNum, data []byte) error {
			s, err := f.Open(t.Context(), &memShare{data: data}, num, nil)
			if err != nil {
				return err
			}
			_, err = s.Blocks(t.Context(), 0, 1)
			return err
		}
		if err := blocks(1, m.encoded.Share(1)); err != nil {
			t.Fatal(err)
		}
		wrong := func(name string, err error) {
			if _, ok := errors.AsType[*CorruptError](err); !ok {
				t.Errorf("mdmf=%v, %s: %v", mdmf, name, err)
			}
		}
		wrong("another number", blocks(2, m.encoded.Share(1)))
		wrong("a number beyond n", blocks(200, m.encoded.Share(1)))
		mixed := bytes.Clone(old.encoded.Share(1))
		copy(mixed, m.encoded.Share(1)[:signedMDMF]) // a new version before old blocks
		wrong("half written", blocks(1, mixed))

		another := readKey(t, "keys/key1.pem").Cap(mdmf)
		_, err := NewFile(another.Read().Verifier()).Open(t.Context(), &memShare{data: m.encoded.Share(1)}, 1, nil)
		wrong("another file", err)
		s := open(t, f, 1, m.encoded.Share(1))
		_, err = s.PrivateKey(t.Context(), another)
		wrong("private key of another file", err)

		if s.Version().Compare(open(t, f, 1, old.encoded.Share(1)).Version()) <= 0 {
			t.Error("sequence number 2 is not newer than 1")
		}
	}
}

// Signed nonsense: whoever has the write cap may sign any numbers.
func TestSignedNonsense(t *testing.T) {
	m := makeFile(t, true, 2, 5, 1, pat(200, 1))
	share := m.encoded.Share(1)
	_, s, err := parseHeader(share)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Version){
		"huge":               func(v *Version) { v.Size = MaxSize; v.SegmentSize = 1 << 28 },
		"too huge":           func(v *Version) { v.Size = MaxSize + 1 },
		"negative":           func(v *Version) { v.Size = -1 },
		"huge segments":      func(v *Version) { v.SegmentSize = 1 << 40 },
		"no segment size":    func(v *Version) { v.SegmentSize = 0 },
		"odd segment size":   func(v *Version) { v.SegmentSize = 131073 },
		"tiny segments":      func(v *Version) { v.Size = 1 << 40; v.SegmentSize = 2 },
		"k 0":                func(v *Version) { v.K = 0 },
		"k above n":          func(v *Version) { v.K = 6 },
		"n 0":                func(v *Version) { v.N = 0 },
		"other size":         func(v *Version) { v.Size = 201 },
		"much larger":        func(v *Version) { v.Size = 1 << 40 },
		"SDMF in an MDMF":    func(v *Version) { v.MDMF = false },
		"another n":          func(v *Version) { v.N = 200 },
		"empty":              func(v *Version) { v.Size = 0 },
		"large last segment": func(v *Version) { v.SegmentSize = MaxSegment; v.Size = MaxSegment * 5 },
	} {
		t.Run(name, func(t *testing.T) {
			v := m.encoded.Version
			change(&v)
			bad := bytes.Clone(share)
			copy(bad, s.appendHeader(nil, &v))
			sig, err := m.key.sign(&zeroReader{}, v.signed())
			if err != nil {
				t.Fatal(err)
			}
			copy(bad[s.signature.Off:], sig)
			src := &memShare{data: bad}
			opened, err := NewFile(m.verifier).Open(t.Context(), src, 1, nil)
			if err == nil {
				if opened.version.Segments() > 0 {
					_, err = opened.Blocks(t.Context(), opened.version.Segments()-1, 1)
				} else {
					err = opened.Verify(t.Context())
				}
			}
			checkCorrupt(t, 0, err)
			if src.bytes > int64(3*len(bad)) {
				t.Errorf("%d bytes read", src.bytes)
			}
		})
	}
}

type sourceFunc func([]ids.Span) ([][]byte, error)

func (f sourceFunc) ReadSpans(_ context.Context, s []ids.Span) ([][]byte, error) { return f(s) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A source that fails or answers nonsense.
func TestBadSource(t *testing.T) {
	m := makeFile(t, true, 2, 5, 1, pat(300000, 1))
	broken := errors.New("broken")
	f := NewFile(m.verifier)
	if _, err := f.Open(t.Context(), sourceFunc(func([]ids.Span) ([][]byte, error) { return nil, broken }), 1, nil); !errors.Is(err, broken) {
		t.Errorf("Open = %v", err)
	}
	for name, src := range map[string]sourceFunc{
		"fails":    func([]ids.Span) ([][]byte, error) { return nil, broken },
		"too few":  func([]ids.Span) ([][]byte, error) { return nil, nil },
		"too many": func(s []ids.Span) ([][]byte, error) { return make([][]byte, len(s)+1), nil },
		"nothing":  func(s []ids.Span) ([][]byte, error) { return make([][]byte, len(s)), nil },
		"more": func(s []ids.Span) ([][]byte, error) {
			out := make([][]byte, len(s))
			for i := range s {
				out[i] = make([]byte, s[i].Len+7)
			}
			return out, nil
		},
	} {
		s, err := f.Open(t.Context(), src, 1, m.encoded.Share(1)[:HeadSize])
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Blocks(t.Context(), 1, 1)
		if err == nil || name == "fails" && !errors.Is(err, broken) {
			t.Errorf("%s: Blocks = %v", name, err)
		}
		if _, err := s.Leaves(t.Context()); err == nil {
			t.Errorf("%s: leaves", name)
		}
	}
}
