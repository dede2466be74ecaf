package chk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// Any k shares, in any order, give the plaintext back; every share verifies.
func TestAnyKOfN(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "n")
		k := rapid.IntRange(1, n).Draw(rt, "k")
		size := rapid.IntRange(1, 5000).Draw(rt, "size")
		segsize := rapid.Int64Range(1, 2000).Draw(rt, "segsize")
		plaintext := pat(size, size)
		m := encodeAll(t, Config{Key: testKey, Params: Params{k, n, segsize}, Workers: 3}, plaintext)
		seed := rapid.Uint64().Draw(rt, "shares")
		nums := rand.New(rand.NewPCG(seed, 0)).Perm(n)[:k]
		got, err := decodeAll(t.Context(), m, nums...)
		if err != nil || !bytes.Equal(got, plaintext) {
			rt.Fatalf("shares %v: wrong plaintext, %v", nums, err)
		}
		f, _ := NewFile(m.cap.Verifier())
		s, err := f.OpenShare(t.Context(), &memShare{data: m.shares[nums[0]]}, ids.ShareNum(nums[0]), -1)
		if err == nil {
			err = s.Verify(t.Context())
		}
		if err != nil {
			rt.Fatalf("verify: %v", err)
		}
	})
}

// What the reference wrote is read, with the guess right or wrong.
func TestReadGolden(t *testing.T) {
	for _, g := range readGolden(t) {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			m := g.encode(t) // equal to the reference's, see TestGoldenShares
			nums := rand.New(rand.NewPCG(1, 2)).Perm(g.N)[:g.K]
			got, err := decodeAll(t.Context(), m, nums...)
			if err != nil || !bytes.Equal(got, pat(g.Size, g.Seed)) {
				t.Fatalf("wrong plaintext from shares %v: %v", nums, err)
			}
		})
	}
}

// toV2 rewrites a share in layout version 2, as the reference does above 4 GiB.
func toV2(t *testing.T, l Layout, share []byte) []byte {
	t.Helper()
	h, err := ParseHeader(share)
	if err != nil {
		t.Fatal(err)
	}
	b := l.header(2).Append(nil)
	b = append(b, share[h.Data:h.UEB]...)
	b = binary.BigEndian.AppendUint64(b, uint64(binary.BigEndian.Uint32(share[h.UEB:])))
	return append(b, share[h.UEB+4:]...)
}

func TestReadLayout2(t *testing.T) {
	plaintext := pat(5000, 1)
	m := encodeAll(t, Config{Key: testKey, Params: Params{3, 10, 700}}, plaintext)
	for i := range m.shares {
		m.shares[i] = toV2(t, m.layout, m.shares[i])
	}
	got, err := decodeAll(t.Context(), m, 9, 0, 4)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("wrong plaintext: %v", err)
	}
	for i := range m.shares {
		if err := verify(t, m, i, m.shares[i]); err != nil {
			t.Error(err)
		}
	}
}

func verify(t *testing.T, m made, num int, share []byte) error {
	t.Helper()
	f, err := NewFile(m.cap.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.OpenShare(t.Context(), &memShare{data: share}, ids.ShareNum(num), 0)
	if err != nil {
		return err
	}
	return s.Verify(t.Context())
}

// damage is one way to spoil a share.
type damage struct {
	name  string
	share []byte
}

// damages spoils every field of share 1 of m: each byte flipped in one bit,
// the share cut at many places, and sections swapped with other shares'.
func damages(m made) []damage {
	var list []damage
	good := m.shares[1]
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		list = append(list, damage{fmt.Sprintf("byte %d flipped", i), bad})
	}
	for cut := 0; cut < len(good); cut += 1 + cut/7 {
		list = append(list, damage{fmt.Sprintf("cut at %d", cut), good[:cut]})
	}
	list = append(list, damage{"last byte gone", good[:len(good)-1]})
	h := m.layout.Header
	tree := h.BlockTree - h.CrypttextTree
	for _, s := range []struct {
		name string
		span ids.Span
	}{
		{"blocks", ids.Span{Off: h.Data, Len: h.DataSize}},
		{"first block", ids.Span{Off: h.Data, Len: m.layout.BlockSize}},
		{"block tree", ids.Span{Off: h.BlockTree, Len: tree}},
		{"chain", ids.Span{Off: h.ShareChain, Len: h.UEB - h.ShareChain}},
		{"all but the header", ids.Span{Off: h.Data, Len: int64(len(good)) - h.Data}},
	} {
		bad := slices.Clone(good)
		copy(bad[s.span.Off:s.span.End()], m.shares[2][s.span.Off:])
		list = append(list, damage{s.name + " of another share", bad})
	}
	swapped := slices.Clone(good)
	copy(swapped[h.Data:], good[h.Data+m.layout.BlockSize:h.Data+2*m.layout.BlockSize])
	copy(swapped[h.Data+m.layout.BlockSize:], good[h.Data:h.Data+m.layout.BlockSize])
	list = append(list, damage{"two blocks swapped", swapped})
	trees := slices.Clone(good)
	copy(trees[h.CrypttextTree:], good[h.BlockTree:h.BlockTree+tree])
	copy(trees[h.BlockTree:], good[h.CrypttextTree:h.BlockTree])
	list = append(list, damage{"trees swapped", trees})
	return list
}

// Verify finds every damage; a reader either finds it or is not misled by it.
func TestDamage(t *testing.T) {
	plaintext := pat(1000, 3)
	m := encodeAll(t, Config{Key: testKey, Params: Params{2, 5, 300}}, plaintext)
	for _, version := range []int{1, 2} {
		if version == 2 {
			for i := range m.shares {
				m.shares[i] = toV2(t, m.layout, m.shares[i])
			}
			m.layout.Header = m.layout.header(2)
		}
		list := damages(m)
		harmless := 0
		for _, d := range list {
			if err := verify(t, m, 1, d.share); !blames(err, 1) {
				t.Errorf("v%d, %s: verify says %v", version, d.name, err)
			}
			spoiled := m
			spoiled.shares = slices.Clone(m.shares)
			spoiled.shares[1] = d.share
			got, err := decodeAll(t.Context(), spoiled, 1, 3)
			switch {
			case err == nil && !bytes.Equal(got, plaintext):
				t.Errorf("v%d, %s: wrong plaintext", version, d.name)
			case err == nil:
				harmless++
			case !blames(err, 1):
				t.Errorf("v%d, %s: reading says %v", version, d.name, err)
			}
		}
		// Bytes a reader does without: two sizes and an offset in the header,
		// the plaintext tree, the inner nodes of two trees of depth 2.
		field := 4 * version
		if limit := 3*field + 7*hashSize + 2*3*hashSize; harmless > limit {
			t.Errorf("v%d: %d of %d damages go unseen by readers, expected at most %d", version, harmless, len(list), limit)
		}
	}
}

func blames(err error, num ids.ShareNum) bool {
	c, ok := errors.AsType[*CorruptError](err)
	return ok && c.Share == num
}

// Shares of another encoding of the same file under the same storage index
// are told apart, and a share under a wrong number is.
func TestForeignShares(t *testing.T) {
	plaintext := pat(3000, 4)
	m := encodeAll(t, Config{Key: testKey, Params: Params{2, 4, 500}}, plaintext)
	other := encodeAll(t, Config{Key: testKey, Params: Params{2, 4, 1000}}, plaintext)
	if err := verify(t, m, 0, other.shares[0]); !blames(err, 0) {
		t.Errorf("share of another encoding: %v", err)
	}
	if err := verify(t, m, 1, m.shares[0]); !blames(err, 1) {
		t.Errorf("share 0 as share 1: %v", err)
	}
	if err := verify(t, m, 4, m.shares[0]); !blames(err, 4) {
		t.Errorf("share 0 as share 4 of 4: %v", err)
	}
}

// A share whose UEB is damaged still gives its blocks when another share has
// given the UEB; Verify finds the damage.
func TestDamagedUEBOfOne(t *testing.T) {
	m := encodeAll(t, Config{Key: testKey, Params: Params{2, 4, 500}}, pat(3000, 4))
	m.shares[1][len(m.shares[1])-3] ^= 1
	f, err := NewFile(m.cap.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.OpenShare(t.Context(), &memShare{data: m.shares[1]}, 1, 0); !blames(err, 1) {
		t.Errorf("damaged UEB alone: %v", err)
	}
	for _, num := range []ids.ShareNum{0, 1} {
		s, err := f.OpenShare(t.Context(), &memShare{data: m.shares[num]}, num, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Block(t.Context(), 5, nil); err != nil {
			t.Error(err)
		}
		if err := s.Verify(t.Context()); (err == nil) != (num == 0) || err != nil && !blames(err, 1) {
			t.Errorf("verifying share %d: %v", num, err)
		}
	}
}

// One file, shares of which encode something else than the crypttext tree
// says: no share is wrong, the segment is.
func TestInconsistentFile(t *testing.T) {
	m := encodeAll(t, Config{Key: testKey, Params: Params{1, 2, 500}}, pat(900, 5))
	l, share := m.layout, shareRoot(t, m)
	var ueb []byte
	for i := range m.shares {
		tree := make([]byte, l.TreeSize)
		evil := []Hash{{2}, {3}}
		copy(tree[hashSize:], append(evil[0][:], evil[1][:]...))
		root := tagged.TreeNode(&evil[0], &evil[1])
		copy(tree, root[:])
		copy(m.shares[i][l.Header.CrypttextTree:], tree)
		ueb = l.packUEB(roots{crypttextRoot: root, shareRoot: share})
	}
	m.setUEB(ueb)
	_, err := decodeAll(t.Context(), m, 0)
	if s, ok := errors.AsType[*SegmentError](err); !ok || s.Segment != 0 || !errors.Is(err, ErrBadEncoding) {
		t.Errorf("got %v, want a SegmentError", err)
	}
}

func shareRoot(t *testing.T, m made) Hash {
	t.Helper()
	f, _ := NewFile(m.cap.Verifier())
	if _, err := f.OpenShare(t.Context(), &memShare{data: m.shares[0]}, 0, -1); err != nil {
		t.Fatal(err)
	}
	return f.UEB().ShareRoot
}

// The batch of speculative reads is enough when the guess is right; one more
// follows when it is wrong.
func TestRoundTrips(t *testing.T) {
	big := Params{3, 10, 128 << 10}
	for _, tt := range []struct {
		name        string
		params      Params
		size        int
		first       int64
		open, block int // reads
	}{
		{"one segment", Params{3, 10, 0}, 100_000, 0, 1, 0},
		{"several segments", Params{3, 10, 0}, 4 << 20, 0, 2, 0},
		{"a segment in the middle", Params{3, 10, 0}, 4 << 20, 2, 3, 0},
		{"no segment", Params{3, 10, 0}, 4 << 20, -1, 2, 1},
		{"wrong guess", big, 2 << 20, 0, 3, 0},
		{"wrong guess, layout 2", big, 2 << 20, 0, 3, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := encodeAll(t, Config{Key: testKey, Params: tt.params}, pat(tt.size, 6))
			if tt.name == "wrong guess, layout 2" {
				m.shares[7] = toV2(t, m.layout, m.shares[7])
			}
			f, _ := NewFile(m.cap.Verifier())
			src := &memShare{data: m.shares[7]}
			s, err := f.OpenShare(t.Context(), src, 7, tt.first)
			if err != nil {
				t.Fatal(err)
			}
			if len(src.reads) != tt.open {
				t.Errorf("opening took %d reads %v, want %d", len(src.reads), src.reads, tt.open)
			}
			src.reads = nil
			if _, err := s.Block(t.Context(), max(tt.first, 0), nil); err != nil {
				t.Fatal(err)
			}
			if len(src.reads) < tt.block || len(src.reads) > tt.block+1 {
				t.Errorf("the block took %d reads %v, want %d", len(src.reads), src.reads, tt.block)
			}
		})
	}
}

// Trees of several pages: more segments than a page has leaves.
func TestManySegments(t *testing.T) {
	plaintext := pat(5000, 7) // 2,500 segments: a page above and three below
	m := encodeAll(t, Config{Key: testKey, Params: Params{2, 3, 2}}, plaintext)
	got, err := decodeAll(t.Context(), m, 2, 0)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("wrong plaintext: %v", err)
	}
	if err := verify(t, m, 1, m.shares[1]); err != nil {
		t.Error(err)
	}
	h := m.layout.Header
	for off := h.CrypttextTree; off < h.ShareChain; off += 9973 {
		bad := slices.Clone(m.shares[1])
		bad[off] ^= 0x80
		if err := verify(t, m, 1, bad); !blames(err, 1) {
			t.Fatalf("tree byte %d flipped: %v", off-h.CrypttextTree, err)
		}
	}
	f, _ := NewFile(m.cap.Verifier())
	s, err := f.OpenShare(t.Context(), &memShare{data: m.shares[1]}, 1, -1)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := s.Blocks(t.Context(), 1000, MaxBlocks, nil)
	if err != nil || len(blocks) != MaxBlocks || !bytes.Equal(blocks[5], m.shares[1][h.Data+1005:h.Data+1006]) {
		t.Errorf("run of blocks across pages: %d blocks, %v", len(blocks), err)
	}
	if _, err := s.Blocks(t.Context(), 2000, 501, nil); err == nil {
		t.Error("blocks past the last segment were returned")
	}
}

// Caps with absurd numbers are refused or cost nothing.
func TestHostileCaps(t *testing.T) {
	for _, tt := range []struct {
		k, n int
		size int64
		ok   bool
	}{
		{0, 1, 100, false}, {2, 1, 100, false}, {1, 257, 100, false}, {1, 1, 0, false}, {1, 1, -1, false},
		{1, 1, 1 << 62, false}, {1, 1, MaxSize, true}, {256, 256, MaxSize, true}, {1, 256, 1, true},
	} {
		f, err := NewFile(caps.CHKVerifier{K: tt.k, N: tt.n, Size: tt.size})
		if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%d-of-%d, %d bytes: %v", tt.k, tt.n, tt.size, err)
			continue
		}
		if tt.ok {
			if _, err := f.OpenShare(t.Context(), &memShare{data: pat(3000, 8)}, 0, 0); !blames(err, 0) {
				t.Errorf("%d-of-%d, %d bytes, garbage: %v", tt.k, tt.n, tt.size, err)
			}
		}
	}
}
