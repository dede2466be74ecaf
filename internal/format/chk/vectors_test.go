package chk

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The reference project's own test vectors: the caps that 120 files get.
func TestVectors(t *testing.T) {
	path := filepath.Join(moduleRoot(t), "..", "shared", "vectors", "test_vectors.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Logf("THE OFFICIAL TEST VECTORS ARE MISSING (%s): the encoder is not compared with them", path)
		t.Skip("no test_vectors.yaml")
	}
	var file struct {
		Version string
		Vector  []struct {
			Convergence, Expected string
			Format                struct{ Kind string }
			Sample                struct {
				Seed   string
				Length int
			}
			ZFEC struct {
				SegmentSize     int64 `yaml:"segmentSize"`
				Required, Total int
			} `yaml:"zfec"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if file.Version != "2023-01-16.2" {
		t.Errorf("vectors are of version %q", file.Version)
	}
	seen := 0
	t.Run("all", func(t *testing.T) {
		for _, v := range file.Vector {
			if v.Format.Kind != "chk" {
				continue
			}
			seen++
			t.Run("", func(t *testing.T) {
				t.Parallel()
				seed, err := base64.StdEncoding.DecodeString(v.Sample.Seed)
				if err != nil {
					t.Fatal(err)
				}
				secret, err := base64.StdEncoding.DecodeString(v.Convergence)
				if err != nil {
					t.Fatal(err)
				}
				plaintext := bytes.Repeat(seed, v.Sample.Length/len(seed)+1)[:v.Sample.Length]
				p := Params{K: v.ZFEC.Required, N: v.ZFEC.Total, SegmentSize: v.ZFEC.SegmentSize}
				if got := capOf(t, p, secret, plaintext); got != v.Expected {
					t.Errorf("%d-of-%d, %d bytes:\n got %s\nwant %s", p.K, p.N, v.Sample.Length, got, v.Expected)
				}
			})
		}
	})
	if seen != 120 {
		t.Errorf("%d vectors, want 120", seen)
	}
}

// capOf runs the encoder, drops the shares and returns the cap.
func capOf(t *testing.T, p Params, secret, plaintext []byte) string {
	t.Helper()
	size := int64(len(plaintext))
	key, err := ConvergentKey(t.Context(), bytes.NewReader(plaintext), size, p, secret)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(Config{Key: key, Size: size, Params: p})
	if err != nil {
		t.Fatal(err)
	}
	for seg, err := range e.Segments(t.Context(), bytes.NewReader(plaintext)) {
		if err != nil {
			t.Fatal(err)
		}
		seg.Release()
	}
	trailer, err := e.Trailer()
	if err != nil {
		t.Fatal(err)
	}
	return trailer.Cap.Reveal()
}
