package dirtable

import (
	"errors"
	"strings"
	"testing"

	"tahoe-go/internal/format/caps"
)

// Entries that are next to nothing each are not taken without end.
func TestTooManyEntries(t *testing.T) {
	c, err := caps.Parse("URI:DIR2-LIT:")
	if err != nil {
		t.Fatal(err)
	}
	entry := "15:1:a,0:,0:,2:{},,"
	for n, want := range []error{nil, nil, nil, ErrSyntax} {
		if _, err := parse(c.(caps.Dir), []byte(strings.Repeat(entry, n)), 2); n < 3 != (err == nil) || err != nil && !errors.Is(err, want) {
			t.Errorf("%d entries of at most 2: %v", n, err)
		}
	}
}
