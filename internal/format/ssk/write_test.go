package ssk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/kit/redact/redacttest"
)

func TestEncodeRefuses(t *testing.T) {
	key := testKey(t)
	good := Config{Key: key, K: 3, N: 10, Seqnum: 1, Random: rand.Reader}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		change func(*Config)
		r      io.Reader
		size   int64
		err    error
	}{
		{"no key", func(c *Config) { c.Key = nil }, nil, 0, nil},
		{"no randomness", func(c *Config) { c.Random = nil }, nil, 0, nil},
		{"broken randomness", func(c *Config) { c.Random = iotest.ErrReader(broken) }, nil, 0, broken},
		{"broken randomness, MDMF", func(c *Config) { c.MDMF = true; c.Random = iotest.ErrReader(broken) }, strings.NewReader("x"), 1, broken},
		{"sequence number 0", func(c *Config) { c.Seqnum = 0 }, nil, 0, nil},
		{"k 0", func(c *Config) { c.K = 0 }, nil, 0, ErrUnsupported},
		{"k negative", func(c *Config) { c.K = -1 }, nil, 0, ErrUnsupported},
		{"k above n", func(c *Config) { c.K = 11 }, nil, 0, ErrUnsupported},
		{"n 256", func(c *Config) { c.N = 256 }, nil, 0, ErrUnsupported},
		{"size negative", func(*Config) {}, nil, -1, ErrUnsupported},
		{"huge SDMF", func(*Config) {}, nil, MaxSegment + 1000, ErrUnsupported},
		{"huge MDMF", func(c *Config) { c.MDMF = true }, nil, MaxSize + 1, ErrUnsupported},
		{"source short", func(*Config) {}, strings.NewReader("abc"), 4, ErrSourceSize},
		{"source empty", func(*Config) {}, strings.NewReader(""), 4, ErrSourceSize},
		{"source long", func(*Config) {}, strings.NewReader("abcd"), 3, ErrSourceSize},
		{"source long, empty file", func(*Config) {}, strings.NewReader("abcd"), 0, ErrSourceSize},
		{"source broken", func(*Config) {}, iotest.ErrReader(broken), 3, broken},
		{"source broken at the end", func(*Config) {}, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 3, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			r := tt.r
			if r == nil {
				r = strings.NewReader("")
			}
			_, err := Encode(t.Context(), c, r, tt.size)
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("Encode = %v, want %v", err, tt.err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Encode(ctx, good, strings.NewReader("abc"), 3); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	e, err := Encode(t.Context(), good, iotest.OneByteReader(strings.NewReader("abc")), 3)
	if err != nil || int64(len(e.Share(9))) != e.ShareSize() {
		t.Errorf("byte by byte: %v", err)
	}
}

// Contents never meet one key stream twice.
func TestSaltsAreFresh(t *testing.T) {
	for _, mdmf := range []bool{false, true} {
		seen := map[[saltSize]byte]bool{}
		for range 2 {
			m := makeFile(t, mdmf, 1, 1, 1, pat(300000, 1))
			s := open(t, NewFile(m.verifier), 0, m.encoded.Share(0))
			for seg := range s.version.Segments() {
				b, err := s.Blocks(t.Context(), seg, 1)
				if err != nil {
					t.Fatal(err)
				}
				if seen[b[0].Salt] {
					t.Errorf("mdmf=%v: a salt came twice", mdmf)
				}
				seen[b[0].Salt] = true
			}
		}
	}
}

func apply(share []byte, patches []Patch, length int64) []byte {
	out := bytes.Clone(share)
	for _, p := range patches {
		if short := int(p.Off) + len(p.Data) - len(out); short > 0 {
			out = append(out, make([]byte, short)...)
		}
		copy(out[p.Off:], p.Data)
	}
	return out[:length]
}

func (m *made) leaves(t testing.TB) map[ids.ShareNum][]Hash {
	t.Helper()
	f := NewFile(m.verifier)
	all := map[ids.ShareNum][]Hash{}
	for i := range m.encoded.Version.N {
		l, err := open(t, f, i, m.encoded.Share(ids.ShareNum(i))).Leaves(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all[ids.ShareNum(i)] = l
	}
	return all
}

func TestUpdate(t *testing.T) {
	const seg = 131073 // 128 KiB rounded to 3
	for _, tt := range []struct {
		from, to int
		more     []int64 // segments put besides those that must be
		must     []int64
	}{
		{400000, 400000, []int64{1}, nil},
		{400000, 400000, []int64{3, 0}, nil},
		{400000, 400000, nil, nil},
		{400000, 400001, nil, []int64{3}},
		{400000, 399999, nil, []int64{3}},
		{400000, seg, nil, nil},
		{400000, seg - 1, nil, []int64{0}},
		{400000, 2 * seg, []int64{0}, nil},
		{400000, 0, nil, nil},
		{0, 400000, nil, []int64{0, 1, 2, 3}},
		{0, 0, nil, nil},
		{100, 3 * seg, nil, []int64{0, 1, 2}},
		{seg, seg + 1, nil, []int64{1}},
		{4 * seg, 5 * seg, []int64{2}, []int64{4}}, // a larger tree
		{5 * seg, 4 * seg, nil, nil},
	} {
		t.Run(fmt.Sprintf("%d-%d-%v", tt.from, tt.to, tt.more), func(t *testing.T) {
			t.Parallel()
			m := makeFile(t, true, 3, 5, 7, pat(tt.from, 1))
			leaves := m.leaves(t)
			want := append(bytes.Clone(m.text), pat(tt.to, 2)...)[:tt.to]
			u, err := NewUpdate(Config{Key: m.key, MDMF: true, K: 3, N: 5, Seqnum: 9, Random: rand.Reader}, m.encoded.Version, leaves, int64(tt.to))
			if err != nil {
				t.Fatal(err)
			}
			if got := u.Must(); !slices.Equal(got, tt.must) {
				t.Errorf("Must = %v, want %v", got, tt.must)
			}
			v := u.Version()
			for _, s := range tt.more {
				copy(want[s*seg:], pat(int(v.SegmentLen(s)), 3))
			}
			for _, s := range append(tt.more, tt.must...) {
				if err := u.Put(s, want[s*seg:][:v.SegmentLen(s)]); err != nil {
					t.Fatal(err)
				}
			}
			v, patches, length, err := u.Finish()
			if err != nil {
				t.Fatal(err)
			}
			f := NewFile(m.verifier)
			shares := map[ids.ShareNum][]byte{}
			for i, p := range patches {
				num := ids.ShareNum(i)
				shares[num] = apply(m.encoded.Share(num), p, length)
				s := open(t, f, i, shares[num])
				if s.Version() != v || v.Seqnum != 9 {
					t.Errorf("version %+v, want %+v", s.Version(), v)
				}
				if err := s.Verify(t.Context()); err != nil {
					t.Error(err)
				}
				if int64(len(shares[num])) != s.sections.end {
					t.Errorf("share of %d bytes, want %d", len(shares[num]), s.sections.end)
				}
			}
			delete(shares, 0)
			delete(shares, 2)
			got, err := readFile(t.Context(), f, m.cap.Read(), shares)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestUpdateRefuses(t *testing.T) {
	m := makeFile(t, true, 3, 5, 7, pat(400000, 1))
	leaves := m.leaves(t)
	good := Config{Key: m.key, MDMF: true, K: 3, N: 5, Seqnum: 8, Random: rand.Reader}
	for name, change := range map[string]func(*Config, map[ids.ShareNum][]Hash, *int64){
		"same seqnum":  func(c *Config, _ map[ids.ShareNum][]Hash, _ *int64) { c.Seqnum = 7 },
		"other k":      func(c *Config, _ map[ids.ShareNum][]Hash, _ *int64) { c.K = 2 },
		"other n":      func(c *Config, _ map[ids.ShareNum][]Hash, _ *int64) { c.N = 4 },
		"SDMF":         func(c *Config, _ map[ids.ShareNum][]Hash, _ *int64) { c.MDMF = false },
		"no key":       func(c *Config, _ map[ids.ShareNum][]Hash, _ *int64) { c.Key = nil },
		"a share less": func(_ *Config, l map[ids.ShareNum][]Hash, _ *int64) { delete(l, 3) },
		"a leaf less":  func(_ *Config, l map[ids.ShareNum][]Hash, _ *int64) { l[3] = l[3][1:] },
		"huge":         func(_ *Config, _ map[ids.ShareNum][]Hash, n *int64) { *n = MaxSize + 1 },
		"negative":     func(_ *Config, _ map[ids.ShareNum][]Hash, n *int64) { *n = -1 },
	} {
		c, l, n := good, m.leaves(t), int64(400000)
		change(&c, l, &n)
		if _, err := NewUpdate(c, m.encoded.Version, l, n); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	sdmf := makeFile(t, false, 3, 5, 7, pat(100, 1))
	if _, err := NewUpdate(good, sdmf.encoded.Version, sdmf.leaves(t), 100); err == nil {
		t.Error("an SDMF file is updated")
	}
	u, err := NewUpdate(good, m.encoded.Version, leaves, 400001)
	if err != nil {
		t.Fatal(err)
	}
	v := u.Version()
	if _, _, _, err := u.Finish(); err == nil {
		t.Error("finished without the last segment")
	}
	text := make([]byte, v.SegmentLen(3))
	for _, err := range []error{u.Put(3, text[1:]), u.Put(4, text), u.Put(-1, text)} {
		if err == nil {
			t.Error("a wrong segment was put")
		}
	}
	if err := u.Put(3, text); err != nil {
		t.Fatal(err)
	}
	if err := u.Put(3, text); err == nil {
		t.Error("a segment was put twice")
	}
	if _, _, _, err := u.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := u.Finish(); err == nil {
		t.Error("finished twice")
	}
	if err := u.Put(0, text); err == nil {
		t.Error("put after the end")
	}
}

func TestCompare(t *testing.T) {
	a := Version{Seqnum: 1, Root: Hash{9}}
	b := Version{Seqnum: 2, Root: Hash{1}}
	c := Version{Seqnum: 2, Root: Hash{2}}
	list := []Version{c, a, b}
	slices.SortFunc(list, Version.Compare)
	if list[0] != a || list[1] != b || list[2] != c {
		t.Errorf("sorted %v", list)
	}
	if a.Compare(a) != 0 {
		t.Error("a version is not equal to itself")
	}
}

func TestParseCheckstringRefuses(t *testing.T) {
	sdmf := Checkstring{Seqnum: 1 << 63, Root: Hash{1}, Salt: [saltSize]byte{2}}
	mdmf := Checkstring{MDMF: true, Seqnum: 5, Root: Hash{1}}
	for _, c := range []Checkstring{sdmf, mdmf} {
		b := c.Append(nil)
		if got, err := ParseCheckstring(append(b, "more"...)); err != nil || got != c {
			t.Errorf("ParseCheckstring = %+v, %v", got, err)
		}
		if _, err := ParseCheckstring(b[:len(b)-1]); err == nil {
			t.Error("a short one is taken")
		}
	}
	if _, err := ParseCheckstring(bytes.Repeat([]byte{2}, 100)); err == nil {
		t.Error("version 2 is taken")
	}
}

func TestKeys(t *testing.T) {
	k, err := GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k.Reveal()})
	back, err := ParsePEM(text)
	if err != nil || back.Cap(true) != k.Cap(true) {
		t.Errorf("ParsePEM = %v", err)
	}
	opened, err := openKey(k.Cap(false), k.encrypted())
	if err != nil || !bytes.Equal(opened.Reveal(), k.Reveal()) {
		t.Errorf("openKey = %v", err)
	}
	if w := k.Cap(true); !w.MDMF || w.WriteKey != k.Cap(false).WriteKey || w.Read().ReadKey.Reveal() != k.readKey() {
		t.Errorf("cap %+v", w)
	}
	redacttest.Check(t, k, string((*k.s).rsa.D.Bytes()), string(k.Reveal()[100:200]), string((*k.s).rsa.Primes[0].Bytes()))
	redacttest.Check(t, Config{Key: k, K: 1, N: 1}, string((*k.s).rsa.D.Bytes()), string(k.Reveal()[100:200]))
	m := makeFile(t, false, 1, 1, 1, pat(10, 1))
	d, err := NewDecoder(m.encoded.Version, m.cap.Read())
	if err != nil {
		t.Fatal(err)
	}
	key := m.cap.Read().ReadKey.Reveal()
	redacttest.Check(t, d, string(key[:]))
}

func TestParseKeyRefuses(t *testing.T) {
	k := testKey(t)
	der := k.Reveal()
	for name, text := range map[string]string{
		"empty":     "",
		"DER":       string(der),
		"public":    string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: (*k.s).public})),
		"cut":       string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:500]})),
		"PKCS1 cut": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})),
		"encrypted": string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})),
		"ed25519":   "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n",
		"1024 bits": small1024,
		"long":      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: make([]byte, maxPrivateKey+1)})),
	} {
		if _, err := ParsePEM([]byte(text)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const small1024 = "-----BEGIN RSA PRIVATE KEY-----\nMIICXQIBAAKBgQC6tZuSfkn7Y/4UGCrTRosMsndcJnnejFf2ZtVIFNgBmkvt2g/k\nyzRK0ZDpPLZN2qgu8/gjDxG06xlooX9iZacmGOwBlvWkM7ZkIIV58RkJzuIdpJ+X\nqDHIg8VZ1UZG3Zz9qoHJOy7y5HIH3C/WZOOXnPI7uxLtljTuCoczTDo4xQIDAQAB\nAoGBAI3jLVLqfjZ5CsEijIj6dvkzNtnks4CYjtBF3Zdln7G4HDOpH6Lzec3R7JoS\n9Ue8/0qPROb/sKkYcLq+4BtavOY+bwkbH75lt2lySRh5YWk4H7OA5LtSZP3usofm\nxtlhHXJ6gL081iO1sMzIYPMGO2OpSBb6n0/dIlFL1yJZo6aRAkEA3/ws0y8OMh3/\ndURfuOFMh+DNrAZtOuTV7zGG9Pia3LOYkqfhXmintC5eYW90OStvK6S4Az9WqkkO\njKUQzX9cmwJBANVlezESTYXKZqJRZI3Shth3dJtlWhdF/xUzwFLk36wqvRJ9KH8v\nmi7nmXov/U4AhYRX2uwUbMUiBGMMrxWdJh8CQQDa98fGiRkCq8rilH5T2oWbzIyk\n4P+F9NKkbTG3aRbULgs5TEAJsJxKjI4eCPyBK1IaQ4TVP+V0wckke/ZqP1mDAkAM\nUjeytaPUPcN/S8PKjIVMqlkJP+jbvybjSoGoR57CihUwpBlafp0gaC7sZyjxAAa1\nhX0WdHdzSmuGbI0PamtxAkAZiIewyN2aoQYrX7MMGtfTChxSoISlZXPAYAlK8qaq\nqW9H/q4FNMBS4PWA3rS8STEOBPeyiyOB9vpTMaT1CdAG\n-----END RSA PRIVATE KEY-----\n"
