package caps

import (
	"errors"
	"strings"
	"testing"
)

// Fields for hand-made caps.
const (
	k16  = "yzxcoagbetwet65ltjpbqyli3m"
	h32  = "6b7inuiha2xdtgqzd55i6aeggutnxzr6qfwpv2ep5xlln6pgef7a"
	nums = ":3:10:56"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		kind Kind
		out  string // "" means in
	}{
		{"URI:CHK:" + k16 + ":" + h32 + nums, "chk", ""},
		{"URI:CHK:" + k16 + ":" + h32 + ":1:1:0", "chk", ""},
		{"URI:CHK:" + k16 + ":" + h32 + ":256:256:9223372036854775807", "chk", ""},
		{"URI:CHK-Verifier:" + k16 + ":" + h32 + nums, "chk-verifier", ""},
		{"URI:CHK-Verifier:" + k16 + ":" + h32 + nums + "/junk", "chk-verifier", "URI:CHK-Verifier:" + k16 + ":" + h32 + nums},
		{"URI:CHK-Verifier:" + k16 + ":" + h32 + nums + ":7", "chk-verifier", "URI:CHK-Verifier:" + k16 + ":" + h32 + nums},
		{"URI:LIT:", "lit", ""},
		{"URI:LIT:nbswy3dpebwgs5dfojqwy", "lit", ""},
		{"URI:SSK:" + k16 + ":" + h32, "ssk", ""},
		{"URI:SSK-RO:" + k16 + ":" + h32, "ssk-ro", ""},
		{"URI:SSK-Verifier:" + k16 + ":" + h32, "ssk-verifier", ""},
		{"URI:MDMF:" + k16 + ":" + h32, "mdmf", ""},
		{"URI:MDMF-RO:" + k16 + ":" + h32, "mdmf-ro", ""},
		{"URI:MDMF-Verifier:" + k16 + ":" + h32, "mdmf-verifier", ""},
		{"URI:MDMF:" + k16 + ":" + h32 + ":3:131073", "mdmf", "URI:MDMF:" + k16 + ":" + h32},
		{"URI:MDMF-RO:" + k16 + ":" + h32 + ":", "mdmf-ro", "URI:MDMF-RO:" + k16 + ":" + h32},
		{"URI:DIR2:" + k16 + ":" + h32, "dir2", ""},
		{"URI:DIR2-RO:" + k16 + ":" + h32, "dir2-ro", ""},
		{"URI:DIR2-Verifier:" + k16 + ":" + h32, "dir2-verifier", ""},
		{"URI:DIR2-MDMF:" + k16 + ":" + h32, "dir2-mdmf", ""},
		{"URI:DIR2-MDMF-RO:" + k16 + ":" + h32, "dir2-mdmf-ro", ""},
		{"URI:DIR2-MDMF-Verifier:" + k16 + ":" + h32 + ":x", "dir2-mdmf-verifier", "URI:DIR2-MDMF-Verifier:" + k16 + ":" + h32},
		{"URI:DIR2-CHK:" + k16 + ":" + h32 + nums, "dir2-chk", ""},
		{"URI:DIR2-CHK-Verifier:" + k16 + ":" + h32 + nums, "dir2-chk-verifier", ""},
		{"URI:DIR2-LIT:", "dir2-lit", ""},
		{"URI:DIR2-LIT:giztumj2", "dir2-lit", ""},
		// Prefixes are checked and dropped.
		{"ro.URI:CHK:" + k16 + ":" + h32 + nums, "chk", "URI:CHK:" + k16 + ":" + h32 + nums},
		{"imm.URI:DIR2-LIT:", "dir2-lit", "URI:DIR2-LIT:"},
		{"ro.URI:SSK-RO:" + k16 + ":" + h32, "ssk-ro", "URI:SSK-RO:" + k16 + ":" + h32},
		{"imm.URI:SSK-Verifier:" + k16 + ":" + h32, "ssk-verifier", "URI:SSK-Verifier:" + k16 + ":" + h32},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.out
			if want == "" {
				want = tt.in
			}
			if got.Kind() != tt.kind || got.Reveal() != want {
				t.Errorf("got %s %q, want %s %q", got.Kind(), got.Reveal(), tt.kind, want)
			}
			if again, err := Parse(got.Reveal()); err != nil || again != got {
				t.Errorf("parsed again: %v, %v", again, err)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	chk := "URI:CHK:" + k16 + ":" + h32
	for _, tt := range []struct {
		in  string
		err error
	}{
		{"", ErrUnknownKind},
		{"URI:", ErrUnknownKind},
		{"URI:CHK", ErrUnknownKind},
		{"uri:CHK:" + k16, ErrUnknownKind},
		{" " + chk + nums, ErrUnknownKind},
		{"URI:NEW:abc", ErrUnknownKind},
		{"URI:SSK-NEW:" + k16 + ":" + h32, ErrUnknownKind},
		{"URI:DIR2-DIR2:" + k16 + ":" + h32, ErrUnknownKind},
		{"ro.ro." + chk + nums, ErrUnknownKind},
		{"ro.imm." + chk + nums, ErrUnknownKind},
		{"x-tahoe-future-test-writeable:a", ErrUnknownKind},
		{"URI:NEW:" + strings.Repeat("a", MaxLength), ErrUnknownKind},

		{"URI:CHK:", ErrSyntax},
		{chk, ErrSyntax},
		{chk + ":3:10", ErrSyntax},
		{chk + nums + ":1", ErrSyntax},
		{chk + nums + "x", ErrSyntax},
		{chk + nums + "\n", ErrSyntax},
		{chk + ":0:10:56", ErrSyntax},
		{chk + ":4:3:56", ErrSyntax},
		{chk + ":3:257:56", ErrSyntax},
		{chk + ":3:10:", ErrSyntax},
		{chk + ":3:10:-1", ErrSyntax},
		{chk + ":+3:10:1", ErrSyntax},
		{chk + ":03:10:1", ErrSyntax},
		{chk + ":3:10:00", ErrSyntax},
		{chk + ":3:10:9223372036854775808", ErrSyntax},
		{chk + ":3:18446744073709551619:1", ErrSyntax},
		{"URI:CHK:" + k16[1:] + ":" + h32 + nums, ErrSyntax},
		{"URI:CHK:" + k16 + "a:" + h32 + nums, ErrSyntax},
		{"URI:CHK:" + k16[:25] + "b:" + h32 + nums, ErrSyntax}, // trailing bits
		{"URI:CHK:" + k16[:25] + "1:" + h32 + nums, ErrSyntax},
		{"URI:CHK:" + strings.ToUpper(k16) + ":" + h32 + nums, ErrSyntax},
		{"URI:CHK:" + k16 + ":" + h32[:51] + "b" + nums, ErrSyntax},
		{"URI:CHK:" + k16 + ":" + h32[:51] + nums, ErrSyntax},
		{"URI:CHK-Verifier:" + k16 + ":" + h32 + ":3:10:x", ErrSyntax},
		{"URI:CHK-Verifier:" + k16 + ":" + h32 + ":3:10", ErrSyntax},
		{"URI:LIT:a", ErrSyntax},
		{"URI:LIT:ab", ErrSyntax},
		{"URI:LIT:AA", ErrSyntax},
		{"URI:LIT:aa======", ErrSyntax},
		{"URI:LIT:aa\n", ErrSyntax},
		{"URI:LIT:" + strings.Repeat("a", MaxLength), ErrSyntax},
		{"URI:SSK:" + k16, ErrSyntax},
		{"URI:SSK:" + k16 + ":" + h32 + ":3", ErrSyntax},
		{"URI:MDMF:" + k16 + ":" + h32 + "a:3", ErrSyntax},
		{"URI:MDMF:" + k16 + ":" + h32 + ":" + strings.Repeat("a", MaxLength), ErrSyntax},
		{"URI:DIR2-CHK:" + k16 + ":" + h32, ErrSyntax},

		{"ro.URI:SSK:" + k16 + ":" + h32, ErrWritable},
		{"ro.URI:DIR2:" + k16 + ":" + h32, ErrWritable},
		{"ro.URI:DIR2-MDMF:" + k16 + ":" + h32, ErrWritable},
		{"imm.URI:MDMF:" + k16 + ":" + h32, ErrMutable},
		{"imm.URI:SSK-RO:" + k16 + ":" + h32, ErrMutable},
		{"imm.URI:DIR2-RO:" + k16 + ":" + h32, ErrMutable},
		{"ro.x-tahoe-future-test-writeable:a", ErrWritable},
		{"imm.x-tahoe-future-test-writeable:a", ErrMutable},
		{"ro.x-tahoe-future-test-mutable:a", ErrUnknownKind},
		{"imm.x-tahoe-future-test-mutable:a", ErrMutable},
	} {
		got, err := Parse(tt.in)
		if got != nil || !errors.Is(err, tt.err) {
			t.Errorf("Parse(%.120q) = %v, %v; want %v", tt.in, got, err, tt.err)
		}
		if err != nil && (strings.Contains(err.Error(), k16[:6]) || strings.Contains(err.Error(), h32[:6])) {
			t.Errorf("error of %.120q shows the cap: %v", tt.in, err)
		}
	}
}

func TestKeep(t *testing.T) {
	ssk := "URI:SSK:" + k16 + ":" + h32
	for _, tt := range []struct {
		in       string
		where    Context
		kind     Kind
		why      error // for Unknown
		ro, imm  bool  // for Unknown
		readable bool  // whether Read gives it back
	}{
		{ssk, Anywhere, "ssk", nil, false, false, true},
		{ssk, ReadOnly, KindUnknown, ErrWritable, false, false, false},
		{ssk, Immutable, KindUnknown, ErrMutable, false, false, false},
		{"URI:SSK-RO:" + k16 + ":" + h32, ReadOnly, "ssk-ro", nil, false, false, true},
		{"URI:SSK-RO:" + k16 + ":" + h32, Immutable, KindUnknown, ErrMutable, false, false, false},
		{"URI:LIT:", Immutable, "lit", nil, false, false, true},
		{"future:x", Anywhere, KindUnknown, ErrUnknownKind, false, false, false},
		{"ro.future:x", Anywhere, KindUnknown, ErrUnknownKind, true, false, true},
		{"imm.future:x", Immutable, KindUnknown, ErrUnknownKind, true, true, true},
		{"ro." + ssk, Anywhere, KindUnknown, ErrWritable, false, false, false}, // never passed on as a read cap
		{"ro.URI:SSK-RO:x", Anywhere, KindUnknown, ErrSyntax, false, false, false},
		{"URI:CHK:x", Anywhere, KindUnknown, ErrSyntax, false, false, false},
		{"x-tahoe-future-test-writeable:x", Anywhere, KindUnknown, ErrUnknownKind, false, false, false},
		{"x-tahoe-future-test-writeable:x", ReadOnly, KindUnknown, ErrWritable, false, false, false},
		{"", Anywhere, KindUnknown, ErrUnknownKind, false, false, false},
		{strings.Repeat("long", MaxLength), Anywhere, KindUnknown, ErrUnknownKind, false, false, false},
	} {
		got := Keep(tt.in, tt.where)
		if got.Kind() != tt.kind || got.Reveal() != tt.in || got != Keep(tt.in, tt.where) {
			t.Errorf("Keep(%.60q, %d) = %v", tt.in, tt.where, got)
		}
		if _, ok := Read(got); ok != tt.readable {
			t.Errorf("Read(%.60q) ok = %v", tt.in, ok)
		}
		u, ok := got.(Unknown)
		if ok != (tt.why != nil) {
			t.Errorf("Keep(%.60q, %d) is a %T", tt.in, tt.where, got)
		}
		if ok && (u.Err() != tt.why || u.ReadOnly() != tt.ro || u.Immutable() != tt.imm || Writable(u) == tt.ro || Mutable(u) == tt.imm) {
			t.Errorf("Keep(%.60q, %d): %v, ReadOnly %v, Immutable %v", tt.in, tt.where, u.Err(), u.ReadOnly(), u.Immutable())
		}
	}
}

func TestMark(t *testing.T) {
	for _, tt := range []struct {
		in    string
		where Context
		out   string
		err   error
	}{
		{"URI:LIT:", Anywhere, "URI:LIT:", nil},
		{"URI:LIT:", ReadOnly, "ro.URI:LIT:", nil},
		{"URI:LIT:", Immutable, "imm.URI:LIT:", nil},
		{"URI:SSK:" + k16 + ":" + h32, ReadOnly, "", ErrWritable},
		{"URI:SSK-RO:" + k16 + ":" + h32, Immutable, "", ErrMutable},
		{"future:x", ReadOnly, "ro.future:x", nil},
		{"ro.future:x", Immutable, "imm.future:x", nil},
		{"imm.future:x", ReadOnly, "imm.future:x", nil},
		{"imm.future:x", Anywhere, "imm.future:x", nil},
		{"ro.URI:SSK:" + k16 + ":" + h32, ReadOnly, "", ErrWritable},
		{"URI:SSK:x", ReadOnly, "", ErrSyntax},
		{"URI:SSK:x", Anywhere, "URI:SSK:x", nil},
	} {
		if got, err := Mark(Keep(tt.in, Anywhere), tt.where); got != tt.out || !errors.Is(err, tt.err) {
			t.Errorf("Mark(%q, %d) = %q, %v; want %q, %v", tt.in, tt.where, got, err, tt.out, tt.err)
		}
	}
}

// What a cap grants, by kind.
func TestPowers(t *testing.T) {
	for _, tt := range []struct {
		kind, rest                                    string
		writable, mutable, dir, hasIndex, hasSize     bool
		readKind, verifierKind, repairKind, writeKind Kind // "" means none
	}{
		{"CHK", nums, false, false, false, true, true, "chk", "chk-verifier", "chk-verifier", ""},
		{"CHK-Verifier", nums, false, false, false, true, true, "chk-verifier", "chk-verifier", "chk-verifier", ""},
		{"SSK", "", true, true, false, true, false, "ssk-ro", "ssk-verifier", "ssk", "ssk"},
		{"SSK-RO", "", false, true, false, true, false, "ssk-ro", "ssk-verifier", "", ""},
		{"SSK-Verifier", "", false, false, false, true, false, "ssk-verifier", "ssk-verifier", "", ""},
		{"MDMF", "", true, true, false, true, false, "mdmf-ro", "mdmf-verifier", "mdmf", "mdmf"},
		{"MDMF-RO", "", false, true, false, true, false, "mdmf-ro", "mdmf-verifier", "", ""},
		{"DIR2", "", true, true, true, true, false, "dir2-ro", "dir2-verifier", "dir2", "ssk"},
		{"DIR2-RO", "", false, true, true, true, false, "dir2-ro", "dir2-verifier", "", ""},
		{"DIR2-MDMF", "", true, true, true, true, false, "dir2-mdmf-ro", "dir2-mdmf-verifier", "dir2-mdmf", "mdmf"},
		{"DIR2-CHK", nums, false, false, true, true, true, "dir2-chk", "dir2-chk-verifier", "dir2-chk-verifier", ""},
		{"LIT", "", false, false, false, false, true, "lit", "", "", ""},
		{"DIR2-LIT", "", false, false, true, false, true, "dir2-lit", "", "", ""},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			s := "URI:" + tt.kind + ":" + k16 + ":" + h32 + tt.rest
			if strings.HasSuffix(tt.kind, "LIT") {
				s = "URI:" + tt.kind + ":nbswy3dpebwgs5dfojqwy"
			}
			c, err := Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			si, hasIndex := Index(c)
			_, hasSize := Size(c)
			if Writable(c) != tt.writable || Mutable(c) != tt.mutable || IsDir(c) != tt.dir || hasIndex != tt.hasIndex || hasSize != tt.hasSize {
				t.Errorf("writable %v, mutable %v, dir %v, index %v, size %v", Writable(c), Mutable(c), IsDir(c), hasIndex, hasSize)
			}
			for _, a := range []struct {
				what string
				do   func(Cap) (Cap, bool)
				want Kind
			}{{"Read", Read, tt.readKind}, {"Verifier", Verifier, tt.verifierKind}, {"Repair", Repair, tt.repairKind}} {
				got, ok := a.do(c)
				if ok != (a.want != "") || ok && got.Kind() != a.want {
					t.Errorf("%s = %v, %v; want %s", a.what, got, ok, a.want)
				}
				if !ok {
					continue
				}
				if gsi, _ := Index(got); gsi != si {
					t.Errorf("%s has another storage index", a.what)
				}
				if again, err := Parse(got.Reveal()); err != nil || again != got {
					t.Errorf("%s parsed again: %v, %v", a.what, again, err)
				}
			}
			w, err := Write(c)
			if (err == nil) != (tt.writeKind != "") || err == nil && w.Kind() != tt.writeKind || err != nil && !errors.Is(err, ErrNotWritable) {
				t.Errorf("Write = %v, %v", w, err)
			}
		})
	}
}

func TestNewDir(t *testing.T) {
	lit := NewLIT([]byte("x"))
	d, err := NewDir(lit)
	if err != nil || d.File() != lit || d.Reveal() != "URI:DIR2-LIT:pa" {
		t.Errorf("NewDir(lit) = %q, %v", d.Reveal(), err)
	}
	for _, c := range []Cap{nil, d, Keep("x", Anywhere)} {
		if _, err := NewDir(c); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("NewDir(%v): %v", c, err)
		}
	}
	// The zero Dir is useless, but harmless.
	var z Dir
	if _, ok := Read(z); ok || z.String() != "cap:dir2-invalid" || z.Reveal() != "" {
		t.Errorf("zero Dir: %v %v", z, ok)
	}
}

func TestLIT(t *testing.T) {
	if NewLIT(nil) != (LIT{}) || NewLIT([]byte{}).Reveal() != "URI:LIT:" {
		t.Error("an empty LIT differs from the zero LIT")
	}
	b := []byte("abc")
	c := NewLIT(b)
	b[0] = 'x'
	c.Data()[0] = 'y'
	if string(c.Data()) != "abc" || c.Size() != 3 {
		t.Errorf("data = %q", c.Data())
	}
}
