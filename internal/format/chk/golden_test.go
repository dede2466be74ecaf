package chk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

type goldenFile struct {
	Name        string
	K, N        int
	SegmentSize int64  `json:"max_segment_size"`
	Convergence string `json:"convergence_hex"`
	Size        int
	Seed        int `json:"content_seed"`
	Cap         string
	Shares      []struct {
		Num, Size     int
		SHA256, Lease string
	}
}

func readGolden(t *testing.T) []goldenFile {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Files []goldenFile }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Files) < 12 {
		t.Fatalf("only %d golden files", len(all.Files))
	}
	return all.Files
}

// Every share is what the reference stored for the same plaintext, byte for
// byte; so is the cap.
func TestGoldenShares(t *testing.T) {
	for _, g := range readGolden(t) {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			if len(g.Shares) == 0 {
				t.Fatal("no shares to compare with")
			}
			m := g.encode(t)
			for _, s := range g.Shares {
				got := m.shares[s.Num]
				if s.Lease != "" {
					got = container(got, s.Lease)
				}
				if len(m.shares[s.Num]) != s.Size || fmt.Sprintf("%x", sha256.Sum256(got)) != s.SHA256 {
					t.Errorf("share %d: %d bytes differ from the reference's %d", s.Num, len(m.shares[s.Num]), s.Size)
				}
			}
			whole, _ := filepath.Glob(filepath.Join("testdata/shares", g.Name, "*"))
			for _, name := range whole {
				var num int
				fmt.Sscan(filepath.Base(name), &num)
				want, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(m.shares[num], want) {
					t.Errorf("share %d:\n got %x\nwant %x", num, m.shares[num], want)
				}
			}
		})
	}
}

// container is the file in which a storage server keeps a share with one
// lease, given in hex.
func container(share []byte, lease string) []byte {
	b := binary.BigEndian.AppendUint32(nil, 2)
	b = binary.BigEndian.AppendUint32(b, uint32(len(share)))
	b = append(binary.BigEndian.AppendUint32(b, 1), share...)
	tail, _ := hex.DecodeString(lease)
	return append(b, tail...)
}

// encode makes g's shares and checks the cap.
func (g *goldenFile) encode(t *testing.T) made {
	t.Helper()
	plaintext := pat(g.Size, g.Seed)
	secret, err := hex.DecodeString(g.Convergence)
	if err != nil {
		t.Fatal(err)
	}
	p := Params{K: g.K, N: g.N, SegmentSize: g.SegmentSize}
	key, err := ConvergentKey(t.Context(), bytes.NewReader(plaintext), int64(g.Size), p, secret)
	if err != nil {
		t.Fatal(err)
	}
	m := encodeAll(t, Config{Key: key, Params: p}, plaintext)
	if got := m.cap.Reveal(); got != g.Cap {
		t.Errorf("cap is\n%s, want\n%s", got, g.Cap)
	}
	return m
}
