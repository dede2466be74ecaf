package netstring_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"tahoe-go/internal/codec/netstring"
)

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/netstring.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ In, Out string }
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, want 4; %v", len(rows), err)
	}
	for _, row := range rows {
		in, _ := hex.DecodeString(row.In)
		want, _ := hex.DecodeString(row.Out)
		if got := netstring.Append(nil, in); !bytes.Equal(got, want) {
			t.Errorf("Append(%q) = %q, want %q", in, got, want)
		}
		got, rest, err := netstring.Next(want, 100)
		if err != nil || !bytes.Equal(got, in) || len(rest) != 0 {
			t.Errorf("Next(%q) = %q, %q, %v; want %q", want, got, rest, err, in)
		}
	}
}

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		in         string
		limit      int
		data, rest string
		err        error
	}{
		{"0:,", 0, "", "", nil},
		{"3:abc,4:next,", 3, "abc", "4:next,", nil},
		{"2:,,,", 2, ",,", "", nil},
		{"10:0123456789,", 10, "0123456789", "", nil},

		{"", 9, "", "", netstring.ErrTooShort},
		{"3", 9, "", "", netstring.ErrTooShort},
		{"3:", 9, "", "", netstring.ErrTooShort},
		{"3:abc", 9, "", "", netstring.ErrTooShort},
		{"1:,", 9, "", "", netstring.ErrTooShort},

		{"3:abc,", 2, "", "", netstring.ErrTooLong},
		{"999999999999999999:", 1 << 30, "", "", netstring.ErrTooLong},
		{"9999999999999999999:", 1 << 30, "", "", netstring.ErrTooLong},
		{strings.Repeat("9", 1000), 1 << 30, "", "", netstring.ErrTooLong},

		{"3:abcd,", 9, "", "", netstring.ErrSyntax},
		{":,", 9, "", "", netstring.ErrSyntax},
		{"00:,", 9, "", "", netstring.ErrSyntax},
		{"03:abc,", 9, "", "", netstring.ErrSyntax},
		{"-1:a,", 9, "", "", netstring.ErrSyntax},
		{"+1:a,", 9, "", "", netstring.ErrSyntax},
		{" 1:a,", 9, "", "", netstring.ErrSyntax},
		{"1 :a,", 9, "", "", netstring.ErrSyntax},
		{"1_0:0123456789,", 99, "", "", netstring.ErrSyntax},
		{"a", 9, "", "", netstring.ErrSyntax},
	} {
		data, rest, err := netstring.Next([]byte(tt.in), tt.limit)
		if string(data) != tt.data || string(rest) != tt.rest || !errors.Is(err, tt.err) {
			t.Errorf("Next(%.30q, %d) = %q, %q, %v; want %q, %q, %v", tt.in, tt.limit, data, rest, err, tt.data, tt.rest, tt.err)
		}
	}
}

func TestLen(t *testing.T) {
	for _, size := range []int{0, 1, 9, 10, 99, 100, 12345} {
		if got, want := netstring.Len(size), len(netstring.Append(nil, make([]byte, size))); got != want {
			t.Errorf("Len(%d) = %d, want %d", size, got, want)
		}
	}
}

// What Next accepts is what Append makes.
func FuzzNext(f *testing.F) {
	for _, s := range []string{"", "0:,", "3:abc,rest", "03:abc,", "5:abc,", "99999999999999999999:"} {
		f.Add([]byte(s), 10)
	}
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		data, rest, err := netstring.Next(in, limit)
		if err != nil {
			return
		}
		if len(data) > limit {
			t.Errorf("%d bytes, limit %d", len(data), limit)
		}
		if again := append(netstring.Append(nil, data), rest...); !bytes.Equal(again, in) {
			t.Errorf("Next(%q) accepts %q", in, again)
		}
	})
}
