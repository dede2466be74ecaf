package ids_test

import (
	"errors"
	"slices"
	"testing"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/ids"
)

func TestIndex(t *testing.T) {
	si := ids.Index{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	const text = "aaaqeayeaudaocajbifqydiob4"
	if got := si.String(); got != text {
		t.Errorf("String() = %q, want %q", got, text)
	}
	if got := si.Short(); got != "aaaqe" {
		t.Errorf("Short() = %q", got)
	}
	if got, err := ids.ParseIndex(text); err != nil || got != si {
		t.Errorf("ParseIndex(%q) = %v, %v", text, got, err)
	}
}

// Indexes come from paths of requests and names on disk.
func TestParseIndexRefuses(t *testing.T) {
	for _, s := range []string{
		"",
		"aaaqeayeaudaocajbifqydiob",        // 25 characters
		"aaaqeayeaudaocajbifqydiob5",       // a trailing bit set
		"AAAQEAYEAUDAOCAJBIFQYDIOB4",       // capitals
		"aaaqeayeaudaocajbifqydiob4\n",     // a line end
		"aaaqeayeaudaocajbifqydiob4/",      // a path
		"aaaqeayeaudaocajbifqydiob4a",      // 27 characters
		"../../../../../../etc/pass",       // another path
		"aaaqeayeaudaocajbifqydiob4======", // padding
	} {
		if got, err := ids.ParseIndex(s); !errors.Is(err, base32.ErrSyntax) && len(s) != 0 {
			t.Errorf("ParseIndex(%q) = %v, %v; want ErrSyntax", s, got, err)
		} else if err == nil {
			t.Errorf("ParseIndex(%q) = %v", s, got)
		}
	}
	if got, err := ids.ParseIndex(base32.Encode(make([]byte, 15))); err == nil {
		t.Errorf("ParseIndex of 15 bytes = %v", got)
	}
	if got, err := ids.ParseIndex(base32.Encode(make([]byte, 20))); err == nil {
		t.Errorf("ParseIndex of 20 bytes = %v", got)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add("aaaqeayeaudaocajbifqydiob4")
	f.Add("aaaqeayeaudaocajbifqydiob5")
	f.Fuzz(func(t *testing.T, s string) {
		if si, err := ids.ParseIndex(s); err == nil && si.String() != s {
			t.Errorf("ParseIndex accepts %q for %q", s, si)
		}
	})
}

func TestSpanEnd(t *testing.T) {
	if got := (ids.Span{Off: 1 << 40, Len: 5}).End(); got != 1<<40+5 {
		t.Errorf("End() = %d", got)
	}
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		in, want []ids.Span
		gap      int64
	}{
		{nil, nil, 0},
		{[]ids.Span{{5, 2}, {0, 3}}, []ids.Span{{0, 3}, {5, 2}}, 1},
		{[]ids.Span{{5, 2}, {0, 3}}, []ids.Span{{0, 7}}, 2},
		{[]ids.Span{{0, 10}, {2, 3}, {10, 1}}, []ids.Span{{0, 11}}, 0},
		{[]ids.Span{{4, 0}, {4, 4}, {4, 2}}, []ids.Span{{4, 4}}, 0},
	} {
		if got := ids.Merge(slices.Clone(tt.in), tt.gap); !slices.Equal(got, tt.want) {
			t.Errorf("Merge(%v, %d) = %v, want %v", tt.in, tt.gap, got, tt.want)
		}
	}
}
