package base32_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"tahoe-go/internal/codec/base32"
)

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/base32.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Encode []struct{ Bytes, B32 string } `json:"base32_b2a"`
		Decode []struct {
			In, Out string
			OK      bool
		} `json:"base32_a2b"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Encode) != 13 || len(file.Decode) != 10 {
		t.Fatalf("%d and %d rows, want 13 and 10", len(file.Encode), len(file.Decode))
	}
	for _, row := range file.Encode {
		b, _ := hex.DecodeString(row.Bytes)
		if got := base32.Encode(b); got != row.B32 {
			t.Errorf("Encode(%x) = %q, want %q", b, got, row.B32)
		}
		if got, err := base32.Decode(row.B32); err != nil || !bytes.Equal(got, b) {
			t.Errorf("Decode(%q) = %x, %v; want %x", row.B32, got, err, b)
		}
	}
	for _, row := range file.Decode {
		got, err := base32.Decode(row.In)
		if row.OK != (err == nil) || hex.EncodeToString(got) != row.Out {
			t.Errorf("Decode(%q) = %x, %v; want %s, ok %v", row.In, got, err, row.Out, row.OK)
		}
	}
}

// What the library below would let through, or what looks close.
func TestDecodeIsStrict(t *testing.T) {
	for _, s := range []string{"me\n", "m\re", "\nme", "ME", "me======", "me=", "mf", "m", "m e", "me ", "m8", "m0", "mé", "aaaaaaaab"} {
		if got, err := base32.Decode(s); !errors.Is(err, base32.ErrSyntax) {
			t.Errorf("Decode(%q) = %x, %v; want ErrSyntax", s, got, err)
		}
	}
}

// What Decode accepts is what Encode makes.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "me", "mfra", "aaaqe", "aaaqeay", "aaaqeaye", "mf", "ME", "me\n", "me======"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := base32.Decode(s)
		if err != nil {
			return
		}
		if again := base32.Encode(b); again != s {
			t.Errorf("Decode accepts %q for %q", s, again)
		}
	})
}
