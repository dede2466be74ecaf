package chk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
)

func TestNewLayout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		params Params
		size   int64
		want   Layout // of which the fields below are compared
	}{
		{"one small segment", Params{3, 10, 0}, 56, Layout{SegmentSize: 57, Segments: 1, TailSize: 56, BlockSize: 19, TailBlock: 19, TreeSize: 32}},
		{"rounded up", Params{3, 10, 131072}, 131073, Layout{SegmentSize: 131073, Segments: 1, TailSize: 131073, BlockSize: 43691, TailBlock: 43691, TreeSize: 32}},
		{"just two", Params{3, 10, 0}, 1048579, Layout{SegmentSize: 1048578, Segments: 2, TailSize: 1, BlockSize: 349526, TailBlock: 1, TreeSize: 96}},
		{"five", Params{4, 4, 100}, 500, Layout{SegmentSize: 100, Segments: 5, TailSize: 100, BlockSize: 25, TailBlock: 25, TreeSize: 15 * 32}},
		{"fewer bytes than shares", Params{71, 255, 0}, 56, Layout{SegmentSize: 71, Segments: 1, TailSize: 56, BlockSize: 1, TailBlock: 1, TreeSize: 32}},
	} {
		l, err := NewLayout(tt.params, tt.size)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		got := Layout{SegmentSize: l.SegmentSize, Segments: l.Segments, TailSize: l.TailSize, BlockSize: l.BlockSize, TailBlock: l.TailBlock, TreeSize: l.TreeSize}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Version 1 as long as the UEB's offset fits in 32 bits.
func TestLayoutVersion(t *testing.T) {
	p := Params{K: 1, N: 1, SegmentSize: 1 << 20}
	trees := int64(3 * (2*4096 - 1) * hashSize)
	edge := int64(math.MaxUint32) - headerSizeV1 - trees - chainEntry
	for _, tt := range []struct {
		size int64
		want int
	}{{edge, 1}, {edge + 1, 2}, {1 << 32, 2}, {1 << 40, 2}} {
		l, err := NewLayout(p, tt.size)
		if err != nil || l.Header.Version != tt.want {
			t.Errorf("%d bytes: layout version %d, %v; want %d", tt.size, l.Header.Version, err, tt.want)
		}
		if h, err := ParseHeader(l.Header.Append(nil)); err != nil || h != l.Header {
			t.Errorf("%d bytes: header comes back as %+v, %v", tt.size, h, err)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	l, _ := NewLayout(Params{K: 3, N: 10}, 1000)
	for _, version := range []int{1, 2} {
		good := l.header(version).Append(nil)
		if _, err := ParseHeader(good); err != nil {
			t.Fatal(err)
		}
		field := 4 * version
		put := func(i int, v uint64) []byte {
			b := bytes.Clone(good)
			if version == 1 {
				binary.BigEndian.PutUint32(b[4+i*field:], uint32(v))
			} else {
				binary.BigEndian.PutUint64(b[4+i*field:], v)
			}
			return b
		}
		for name, b := range map[string][]byte{
			"empty":         nil,
			"no fields":     good[:4],
			"cut short":     good[:len(good)-1],
			"data early":    put(2, 4),
			"trees swapped": put(4, uint64(l.Header.BlockTree)+100),
			"UEB first":     put(7, 40),
		} {
			if _, err := ParseHeader(b); !errors.Is(err, errHeader) {
				t.Errorf("v%d, %s: %v", version, name, err)
			}
		}
	}
	for _, b := range []string{"\x00\x00\x00\x00", "\x00\x00\x00\x03", "\xff\xff\xff\xff", "\x01\x00\x00\x00"} {
		if _, err := ParseHeader([]byte(b + strings.Repeat("\x00", 100))); !errors.Is(err, errHeader) {
			t.Errorf("version %q: %v", b, err)
		}
	}
	huge := l.header(2)
	huge.UEB = math.MaxInt64
	if _, err := ParseHeader(huge.Append(nil)); !errors.Is(err, errHeader) {
		t.Errorf("offset of 2^63: %v", err)
	}
}

const someHash = "0123456789abcdef0123456789abcdef"

func TestParseUEB(t *testing.T) {
	least := "crypttext_root_hash:32:" + someHash + ",segment_size:3:300,share_root_hash:32:" + someHash + ","
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"least", least, true},
		{"unknown key", "a-Key:0:," + least, true},
		{"empty", "", false},
		{"one missing", "segment_size:3:300,share_root_hash:32:" + someHash + ",", false},
		{"junk after", least + "x", false},
		{"no comma", least[:len(least)-1], false},
		{"key twice", least + "share_root_hash:32:" + someHash + ",", false},
		{"keys out of order", least + "a:0:,", false},
		{"key of digits", least + "z1:0:,", false},
		{"no key", ":0:," + least, false},
		{"length with zero", strings.Replace(least, ":3:", ":03:", 1), false},
		{"length with sign", strings.Replace(least, ":3:", ":+3:", 1), false},
		{"length beyond", strings.Replace(least, ":3:", ":999:", 1), false},
		{"length of 2^64", strings.Replace(least, ":3:", ":18446744073709551616:", 1), false},
		{"number with zero", strings.Replace(least, "300", "030", 1), false},
		{"number with sign", strings.Replace(least, "300", "-30", 1), false},
		{"number of letters", strings.Replace(least, "300", "3_0", 1), false},
		{"short hash", strings.Replace(least, "32:0", "31:", 1), false},
		{"params", "codec_params:6:9-3-10," + least, true},
		{"two params", "codec_params:3:9-3," + least, false},
		{"long", least + "z:2000:" + strings.Repeat("z", 2000) + ",", false},
	} {
		if _, err := ParseUEB([]byte(tt.in)); (err == nil) != tt.ok || err != nil && !errors.Is(err, errUEB) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// An authentic UEB that contradicts its cap is the cap's fault, not the
// share's.
func TestUEBContradictsCap(t *testing.T) {
	plaintext := pat(1000, 1)
	for _, change := range [][2]string{
		{"codec_name:3:crs", "codec_name:3:xrs"},
		{"codec_params:7:300-2-5", "codec_params:7:298-2-5"},
		{"needed_shares:1:2", "needed_shares:1:3"},
		{"num_segments:1:4", "num_segments:1:5"},
		{"segment_size:3:300", "segment_size:3:301"},
		{"segment_size:3:300", "segment_size:1:0"},
		{"segment_size:3:300", "segment_size:12:900000000000"},
		{"\nsize:4:1000", "\nsize:4:1001"},
		{"tail_codec_params:7:100-2-5", "tail_codec_params:7:102-2-5"},
		{"total_shares:1:5", "total_shares:1:6"},
	} {
		m := encodeAll(t, Config{Key: testKey, Params: Params{2, 5, 300}}, plaintext)
		from, to := change[0], change[1]
		ueb := m.ueb()
		changed := replaceField(ueb, from, to)
		if bytes.Equal(ueb, changed) {
			t.Errorf("%q is not in %q", from, ueb)
		}
		m.setUEB(changed)
		f, err := NewFile(m.cap.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.OpenShare(t.Context(), &memShare{data: m.shares[0]}, 0, 0)
		if _, blame := errors.AsType[*CorruptError](err); !errors.Is(err, ErrBadEncoding) || blame {
			t.Errorf("%q: got %v", to, err)
		}
	}
}

// replaceField changes one "key:length:value"; a newline stands for the start
// of a field.
func replaceField(ueb []byte, from, to string) []byte {
	from, to = strings.Replace(from, "\n", ",", 1), strings.Replace(to, "\n", ",", 1)
	return bytes.Replace(ueb, []byte(from), []byte(to), 1)
}

// ueb cuts the UEB out of share 0.
func (m *made) ueb() []byte {
	h := m.layout.Header
	return m.shares[0][h.UEB+h.lengthField():]
}

// setUEB gives all shares another UEB, and the cap its hash.
func (m *made) setUEB(ueb []byte) {
	h := m.layout.Header
	for i, s := range m.shares {
		s = binary.BigEndian.AppendUint32(bytes.Clone(s[:h.UEB]), uint32(len(ueb)))
		m.shares[i] = append(s, ueb...)
	}
	m.cap.UEBHash = tagged.UEB(ueb)
}

// Files of the first years have a longer UEB and a real plaintext tree.
func TestAncientFile(t *testing.T) {
	plaintext := pat(1000, 2)
	m := encodeAll(t, Config{Key: testKey, Params: Params{2, 5, 300}}, plaintext)
	tree := merkle.Build([]Hash{{1}, {2}, {3}, {4}})
	root := tree.Root()
	for _, s := range m.shares {
		copy(s[m.layout.Header.PlaintextTree:], packTree(tree))
	}
	extra := "plaintext_hash:32:" + someHash + ",plaintext_root_hash:32:" + string(root[:]) + ",segment_size:"
	m.setUEB(replaceField(m.ueb(), "segment_size:", extra))
	got, err := decodeAll(t.Context(), m, 4, 2)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("wrong plaintext: %v", err)
	}
	if err := verify(t, m, 3, m.shares[3]); err != nil {
		t.Error(err)
	}
	m.shares[3][m.layout.Header.PlaintextTree+100] ^= 1
	if err := verify(t, m, 3, m.shares[3]); !blames(err, 3) {
		t.Errorf("damaged plaintext tree: %v", err)
	}
}
