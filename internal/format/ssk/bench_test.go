package ssk

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"tahoe-go/internal/codec/ids"
)

func BenchmarkEncode(b *testing.B) {
	key := testKey(b)
	for _, tt := range []struct {
		mdmf bool
		size int
	}{{false, 10 << 10}, {false, 1 << 20}, {true, 10 << 20}} {
		b.Run(fmt.Sprintf("mdmf=%v/%d", tt.mdmf, tt.size), func(b *testing.B) {
			text := pat(tt.size, 1)
			b.SetBytes(int64(tt.size))
			for b.Loop() {
				if _, err := Encode(b.Context(), Config{Key: key, MDMF: tt.mdmf, K: 3, N: 10, Seqnum: 1, Random: rand.Reader}, bytes.NewReader(text), int64(tt.size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, tt := range []struct {
		mdmf bool
		size int
	}{{false, 1 << 20}, {true, 10 << 20}} {
		b.Run(fmt.Sprintf("mdmf=%v/%d", tt.mdmf, tt.size), func(b *testing.B) {
			m := makeFile(b, tt.mdmf, 3, 10, 1, pat(tt.size, 1))
			b.SetBytes(int64(tt.size))
			for b.Loop() {
				if _, err := readFile(b.Context(), NewFile(m.verifier), m.cap.Read(), m.pick(1, 5, 9)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	m := makeFile(b, true, 3, 10, 1, pat(10<<20, 1))
	leaves := m.leaves(b)
	text := pat(131073, 1)
	for b.Loop() {
		u, err := NewUpdate(Config{Key: m.key, MDMF: true, K: 3, N: 10, Seqnum: 2, Random: rand.Reader}, m.encoded.Version, leaves, 10<<20)
		if err != nil {
			b.Fatal(err)
		}
		if err := u.Put(5, text); err != nil {
			b.Fatal(err)
		}
		if _, _, _, err := u.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	m := makeFile(b, false, 3, 10, 1, pat(1000, 1))
	for b.Loop() {
		f := NewFile(m.verifier)
		for i := range 10 {
			if _, err := f.Open(b.Context(), nil, ids.ShareNum(i), m.encoded.Share(ids.ShareNum(i))); err != nil {
				b.Fatal(err)
			}
		}
	}
}
