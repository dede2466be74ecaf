package base62_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"tahoe-go/internal/codec/base62"
)

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/base62.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Bytes, B62 string }
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) != 6 {
		t.Fatalf("%d rows, want 6; %v", len(rows), err)
	}
	for _, row := range rows {
		b, _ := hex.DecodeString(row.Bytes)
		if got := base62.Encode(b); got != row.B62 {
			t.Errorf("Encode(%x) = %q, want %q", b, got, row.B62)
		}
		if got, err := base62.Decode(row.B62); err != nil || !bytes.Equal(got, b) {
			t.Errorf("Decode(%q) = %x, %v; want %x", row.B62, got, err, b)
		}
	}
}

func TestEverySizeComesBack(t *testing.T) {
	for size := range 740 {
		for _, fill := range []byte{0, 1, 0xff} {
			b := bytes.Repeat([]byte{fill}, size)
			if got, err := base62.Decode(base62.Encode(b)); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes of %d: %x, %v", size, fill, got, err)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, s := range []string{"0", "zzzzz", "48", "zz", "4-", "4 ", "4é", "00\n", strings.Repeat("0", 1001)} {
		if got, err := base62.Decode(s); !errors.Is(err, base62.ErrSyntax) {
			t.Errorf("Decode(%.20q) = %x, %v; want ErrSyntax", s, got, err)
		}
	}
}

// What Decode accepts is what Encode makes.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "0", "00", "47", "48", "6U6", "zzz", "003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := base62.Decode(s)
		if err != nil {
			return
		}
		if again := base62.Encode(b); again != s {
			t.Errorf("Decode accepts %q for %q", s, again)
		}
	})
}
