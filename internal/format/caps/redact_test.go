package caps

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/kit/redact/redacttest"
)

// Neither the text of a cap nor its key prints, in any way.
func TestNeverPrints(t *testing.T) {
	check := func(c Cap) {
		t.Helper()
		text := c.Reveal()
		fields := strings.Split(text, ":")
		secrets := []string{text}
		if key, err := base32.Decode(fields[2]); err == nil && len(key) > 0 && !strings.Contains(text, "Verifier") {
			secrets = append(secrets, fields[2], string(key))
		}
		switch c := c.(type) { // typed, so that the shapes hold the type itself
		case CHK:
			redacttest.Check(t, c, secrets...)
			redacttest.Check(t, c.Key, secrets...)
		case CHKVerifier:
			redacttest.Check(t, c, secrets...)
		case LIT:
			redacttest.Check(t, c, secrets...)
		case SSK:
			redacttest.Check(t, c, secrets...)
		case SSKRead:
			redacttest.Check(t, c, secrets...)
		case SSKVerifier:
			redacttest.Check(t, c, secrets...)
		case Dir:
			redacttest.Check(t, c, secrets...)
		case Unknown:
			redacttest.Check(t, c, secrets...)
		default:
			t.Fatalf("no case for %T", c)
		}
		redacttest.Check(t, c, secrets...) // as an interface
	}
	for _, s := range []string{
		"URI:CHK:" + k16 + ":" + h32 + nums,
		"URI:CHK-Verifier:" + k16 + ":" + h32 + nums,
		"URI:LIT:nbswy3dpebwgs5dfojqwy",
		"URI:SSK:" + k16 + ":" + h32,
		"URI:SSK-RO:" + k16 + ":" + h32,
		"URI:SSK-Verifier:" + k16 + ":" + h32,
		"URI:DIR2:" + k16 + ":" + h32,
		"URI:DIR2-MDMF-RO:" + k16 + ":" + h32,
		"URI:DIR2-CHK:" + k16 + ":" + h32 + nums,
		"URI:DIR2-LIT:nbswy3dpebwgs5dfojqwy",
		"ro.future:cap:" + k16,
	} {
		check(Keep(s, Anywhere))
	}
}

func TestTags(t *testing.T) {
	for _, tt := range []struct{ in, tag string }{
		// The storage index is of the golden file chk-3-10-segdefault-1000.
		{"URI:CHK:f2up6kisqhdhjmesuq6qr5or7a:7bduw3awcl4cjevmu4hxjn4kz4k56ppvdciprrvxl3asdnsngn5a:3:10:1000", "cap:chk:4kz2…"},
		{"URI:CHK-Verifier:" + k16 + ":" + h32 + nums, "cap:chk-verifier:yzxc…"},
		{"URI:DIR2-Verifier:" + k16 + ":" + h32, "cap:dir2-verifier:yzxc…"},
		{"URI:LIT:nbswy3dpebwgs5dfojqwy", "cap:lit"},
		{"URI:DIR2-LIT:nbswy3dpebwgs5dfojqwy", "cap:dir2-lit"},
		{"future:x", "cap:unknown:mn6j…"},
	} {
		c := Keep(tt.in, Anywhere)
		j, err := json.Marshal(c)
		if c.String() != tt.tag || fmt.Sprintf("%d", c) != tt.tag || err != nil || string(j) != `"`+tt.tag+`"` {
			t.Errorf("tags of %q: %s, %d, %s; want %s", tt.in, c.String(), c, j, tt.tag)
		}
	}
}
