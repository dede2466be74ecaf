package dirtable

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/codec/netstring"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact/redacttest"
)

const (
	lit     = "URI:LIT:nbswy3dpebwgs5dfojqwy"
	file    = "URI:CHK:55c2akfi2xtvuo5zzre6kcklwe:cxunc3nxxye7yrm64x27lcvcdcjj6mc3azkerixsakndzl7lhcpq:1:2:5000"
	mutable = "URI:SSK:y67cf3jczqozg42mghq2ldmalu:kmktndxymthlfhfg7y73fi4cgqd27rkklhcsbza6bvxhmgeekvha"
	mutRO   = "URI:SSK-RO:hot25bo5l3tmzfkz24oo3ldqay:kmktndxymthlfhfg7y73fi4cgqd27rkklhcsbza6bvxhmgeekvha"
	subdir  = "URI:DIR2:upmpo7rouxpboettrix353gx6e:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"
	subRO   = "URI:DIR2-RO:5zba2ubvvnmhiumom7ivsp2yla:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"
	verify  = "URI:SSK-Verifier:udzy257qewihqzch32dq24v6ja:kmktndxymthlfhfg7y73fi4cgqd27rkklhcsbza6bvxhmgeekvha"
	immDir  = "URI:DIR2-CHK:fgrqns3az6jtuepouttgkvugdy:sxmyc4oue2ug655uepui6rljxotz6pf5ujgclxpzzhayt54t3itq:1:2:188"
	future  = "x-tahoe-future-rw:foo"
	futurRO = "x-tahoe-future-ro:foo"
	root    = "URI:DIR2:khw37xyluthirivmkm2p6sktjy:xlydi5s3w7d4ktn6524k3zswyibvtul3rm3me23eonddy7loc3za"
	rootRO  = "URI:DIR2-RO:42huig35ajrkrftlea3arqhmuy:xlydi5s3w7d4ktn6524k3zswyibvtul3rm3me23eonddy7loc3za"
)

var now = time.Unix(1700000000, 250000000)

func mustChild(t testing.TB, rw, ro string) Child {
	t.Helper()
	c, err := NewChild(rw, ro, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustSet(t testing.TB, table *Table, name, rw string) {
	t.Helper()
	if err := table.Set(name, mustChild(t, rw, ""), nil, Always, now); err != nil {
		t.Fatal(err)
	}
}

func newTable(t testing.TB) *Table {
	t.Helper()
	return mustParse(t, mustDir(t, root), nil)
}

func names(t *Table) (list []string) {
	for name := range t.All() {
		list = append(list, name)
	}
	return list
}

func TestNewChild(t *testing.T) {
	for _, tt := range []struct {
		name, rw, ro string
		immutable    bool
		write, read  string
		err          error
	}{
		{"nothing", "", "", false, "", "", nil},
		{"file", file, "", false, "", file, nil},
		{"file as ro", "", file, false, "", file, nil},
		{"marked file", "imm." + file, "", false, "", file, nil},
		{"LIT", lit, "", true, "", lit, nil},
		{"write cap", mutable, "", false, mutable, mutRO, nil},
		{"write cap and a wrong ro", mutable, file, false, mutable, mutRO, nil},
		{"read cap", mutRO, "", false, "", mutRO, nil},
		{"write cap as ro", "", mutable, false, "", mutRO, nil},
		{"marked write cap", "ro." + mutable, "", false, "", "", ErrNotStorable},
		{"marked write cap as ro", "", "ro." + mutable, false, "", "", ErrNotStorable},
		{"write cap, immutable", mutable, "", true, "", "", ErrNotImmutable},
		{"read cap, immutable", "", mutRO, true, "", "", ErrNotImmutable},
		{"marked read cap", "", "imm." + mutRO, false, "", "", ErrNotStorable},
		{"directory", subdir, "", false, subdir, subRO, nil},
		{"immutable directory", immDir, "", true, "", immDir, nil},
		{"verifier", "", verify, false, "", verify, nil},
		{"trailing spaces", mutable + "  ", mutRO + " ", false, mutable, mutRO, nil},
		{"only spaces", "  ", " ", false, "", "", nil},
		{"unknown, both", future, futurRO, false, future, "ro." + futurRO, nil},
		{"unknown, both, marked", future, "ro." + futurRO, false, future, "ro." + futurRO, nil},
		{"unknown, both, immutable mark", future, "imm." + futurRO, false, "", "", ErrNotStorable},
		{"unknown, both, immutable", future, futurRO, true, "", "", ErrNotImmutable},
		{"unknown ro", "", futurRO, false, "", "ro." + futurRO, nil},
		{"unknown imm", "", "imm." + futurRO, false, "", "imm." + futurRO, nil},
		{"unknown ro, immutable", "", "ro." + futurRO, true, "", "imm." + futurRO, nil},
		{"unknown imm, immutable", "", "imm." + futurRO, true, "", "imm." + futurRO, nil},
		{"unknown bare, immutable", "", futurRO, true, "", "imm." + futurRO, nil},
		{"unknown rw", future, "", false, "", "", ErrNotStorable},
		{"unknown rw, immutable", future, "", true, "", "", ErrNotImmutable},
		{"marked in the wrong place", "ro." + futurRO, "", false, "", "ro." + futurRO, nil},
		{"marked imm in the wrong place", "imm." + futurRO, "", true, "", "imm." + futurRO, nil},
		{"marked ro in the wrong place, immutable", "ro." + futurRO, "", true, "", "", ErrNotImmutable},
		{"unknown with known ro", future, mutRO, false, future, mutRO, nil},
		{"malformed", "URI:CHK:nonsense", "", false, "", "", ErrNotStorable},
		{"malformed ro", "", "URI:CHK:nonsense", false, "", "", ErrNotStorable},
		{"malformed with ro", "URI:SSK:nonsense", futurRO, false, "URI:SSK:nonsense", "ro." + futurRO, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewChild(tt.rw, tt.ro, tt.immutable)
			if !errors.Is(err, tt.err) || reveal(c.Write) != tt.write || reveal(c.Read) != tt.read {
				t.Errorf("NewChild = %q, %q, %v; want %q, %q, %v", reveal(c.Write), reveal(c.Read), err, tt.write, tt.read, tt.err)
			}
		})
	}
}

// entry packs the four strings of an entry.
func entry(name, ro, rw, meta string) string {
	var b []byte
	for _, s := range []string{name, ro, rw, meta} {
		b = netstring.Append(b, s)
	}
	return string(netstring.Append(nil, b))
}

func TestParseRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"text":           "hello",
		"cut":            entry("a", lit, "", "{}")[:20],
		"rest":           entry("a", lit, "", "{}") + "x",
		"three strings":  "9:1:a,1:b,1:c,,",
		"empty entry":    "0:,",
		"not UTF-8":      entry("\xff", lit, "", "{}"),
		"long number":    "99999999999999999999:",
		"huge":           "9999999999:",
		"leading zero":   "0" + entry("a", lit, "", "{}"),
		"inner is short": "5:9:abc,",
	} {
		if table, err := Parse(mustDir(t, root), []byte(data)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v, %v", name, table, err)
		}
	}
	if _, err := Parse(mustDir(t, immDir), []byte(entry("a", lit, strings.Repeat("x", 48), "{}"))); !errors.Is(err, ErrSyntax) {
		t.Errorf("a write cap in an immutable directory: %v", err)
	}
	if _, err := Parse(mustDir(t, "URI:DIR2-Verifier:yl77ugxpfoq3lnqoktuv56amy4:xlydi5s3w7d4ktn6524k3zswyibvtul3rm3me23eonddy7loc3za"), nil); !errors.Is(err, ErrNotStorable) {
		t.Errorf("through a verifier: %v", err)
	}
}

// Names are found in any form; of two that are the same the last counts, and
// an entry in another form stays as it is.
func TestNames(t *testing.T) {
	nfd, nfc := "e\u0301", "\u00e9"
	data := entry(nfd, lit, "", "{}") + entry("z", lit, "", "{}") + entry("a", lit, "", "{}") + entry("a", file, "", "{}")
	table := mustParse(t, mustDir(t, root), []byte(data))
	if got := names(table); !slices.Equal(got, []string{"a", "z", nfc}) {
		t.Errorf("names %q", got)
	}
	for _, name := range []string{nfd, nfc} {
		if e, ok := table.Entry(name); !ok || e.Name() != nfc {
			t.Errorf("Entry(%q) = %v, %v", name, e, ok)
		}
	}
	e, _ := table.Entry("a")
	if c, err := e.Child(); err != nil || reveal(c.Read) != file {
		t.Errorf("of two: %v, %v", c, err)
	}
	want := entry("a", file, "", "{}") + entry("z", lit, "", "{}") + entry(nfd, lit, "", "{}")
	if string(table.Bytes()) != want {
		t.Errorf("Bytes = %q, want %q", table.Bytes(), want)
	}
	if err := table.Set(nfd, mustChild(t, file, ""), nil, Never, now); !errors.Is(err, ErrExists) {
		t.Errorf("Set in another form: %v", err)
	}
	mustSet(t, table, nfd, file)
	if table.Len() != 3 || !bytes.Contains(table.Bytes(), []byte("2:"+nfc)) {
		t.Errorf("Bytes = %q", table.Bytes())
	}
}

// A child that makes no sense is an error of its own, and stays when others
// change.
func TestNonsenseStays(t *testing.T) {
	bad := entry("bad cap", "URI:CHK:nonsense", "", "{}") + entry("bad meta", lit, "", "[1]") +
		entry("short rw", mutRO, "short", "{}") + entry("more", lit, "", "{}")
	bad = strings.Replace(bad, entry("more", lit, "", "{}"), string(netstring.Append(nil, "4:more,29:"+lit+",0:,2:{},3:new,")), 1)
	dir := mustDir(t, root)
	table := mustParse(t, dir, []byte(bad))
	e, _ := table.Entry("bad cap")
	if _, err := e.Child(); !errors.Is(err, ErrNotStorable) {
		t.Errorf("Child = %v", err)
	}
	e, _ = table.Entry("bad meta")
	if _, err := e.Metadata(); !errors.Is(err, ErrSyntax) {
		t.Errorf("Metadata = %v", err)
	}
	e, _ = table.Entry("short rw")
	if c, err := e.Child(); err != nil || c.Write != nil || reveal(c.Read) != mutRO {
		t.Errorf("Child = %v, %v", c, err)
	}
	mustSet(t, table, "new", lit)
	back := mustParse(t, dir, table.Bytes())
	if err := back.Delete("new", Any); err != nil {
		t.Fatal(err)
	}
	want := mustParse(t, dir, []byte(bad)) // sorted
	if !bytes.Equal(back.Bytes(), want.Bytes()) {
		t.Errorf("%q, want %q", back.Bytes(), want.Bytes())
	}
	// Renaming carries what cannot be read; replacing heals it.
	if err := back.Rename("bad cap", "worse", Always, now); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(back.Bytes(), []byte("5:worse,16:URI:CHK:nonsense,")) {
		t.Errorf("%q", back.Bytes())
	}
	mustSet(t, back, "bad meta", file)
	e, _ = back.Entry("bad meta")
	if m, err := e.Metadata(); err != nil {
		t.Errorf("Metadata = %s, %v", m.JSON(), err)
	}
	noWrite, err := ParseMetadata([]byte(`{"no-write": true}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := back.SetMetadata("worse", noWrite, now); !errors.Is(err, ErrNotStorable) {
		t.Errorf("made read-only what nobody can read: %v", err)
	}
	gone, _ := back.Entry("worse")
	if err := back.Delete("worse", File); err != nil { // its type is unknown
		t.Error(err)
	}
	if _, err := gone.Child(); !errors.Is(err, ErrNoChild) {
		t.Errorf("a deleted child: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	table := newTable(t)
	mustSet(t, table, "file", mutable)
	for _, dir := range []string{rootRO, immDir} {
		if dir == immDir { // without write caps
			table = NewImmutable()
			if err := table.Put("file", mustChild(t, lit, ""), Metadata{}); err != nil {
				t.Fatal(err)
			}
		}
		ro := mustParse(t, mustDir(t, dir), table.Bytes())
		e, _ := ro.Entry("file")
		if c, err := e.Child(); err != nil || c.Write != nil || c.Read == nil {
			t.Errorf("Child = %v, %v", c, err)
		}
		if ro.Writable() {
			t.Error("writable")
		}
		for _, err := range []error{
			ro.Set("x", mustChild(t, lit, ""), nil, Always, now),
			ro.Put("x", mustChild(t, lit, ""), Metadata{}),
			ro.Delete("file", Any), ro.Rename("file", "x", Always, now), ro.SetMetadata("file", Metadata{}, now),
		} {
			if !errors.Is(err, caps.ErrNotWritable) {
				t.Errorf("a change: %v", err)
			}
		}
	}
}

func TestImmutable(t *testing.T) {
	table := NewImmutable()
	for name, c := range map[string]Child{
		"write cap": mustChild(t, mutable, ""), "read cap": mustChild(t, mutRO, ""), "directory": mustChild(t, subRO, ""),
		"unknown": mustChild(t, future, futurRO),
	} {
		if err := table.Put(name, c, Metadata{}); !errors.Is(err, ErrNotImmutable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown, err := NewChild("", futurRO, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Put("b", unknown, Metadata{}); err != nil {
		t.Fatal(err)
	}
	if err := table.Put("a", mustChild(t, immDir, ""), Metadata{}); err != nil {
		t.Fatal(err)
	}
	want := entry("a", immDir, "", "{}") + entry("b", futurRO, "", "{}")
	if string(table.Bytes()) != want {
		t.Errorf("Bytes = %q, want %q", table.Bytes(), want)
	}
	// One that somebody else made.
	bad := mustParse(t, mustDir(t, immDir), []byte(entry("x", mutRO, "", "{}")))
	e, _ := bad.Entry("x")
	if _, err := e.Child(); !errors.Is(err, ErrNotImmutable) {
		t.Errorf("Child = %v", err)
	}
	if !bad.Immutable() {
		t.Error("not immutable")
	}
}

func TestEdits(t *testing.T) {
	table := newTable(t)
	mustSet(t, table, "f", file)
	mustSet(t, table, "d", subdir)
	if err := table.Put("u", mustChild(t, future, futurRO), Metadata{}); err != nil {
		t.Fatal(err)
	}
	set := func(name string, r Replace) error { return table.Set(name, mustChild(t, lit, ""), nil, r, now) }
	for _, tt := range []struct {
		what string
		got  error
		want error
	}{
		{"Never over a file", set("f", Never), ErrExists},
		{"OnlyFiles over a directory", set("d", OnlyFiles), ErrExists},
		{"OnlyFiles over a file", set("f", OnlyFiles), nil},
		{"OnlyFiles over something unknown", set("u", OnlyFiles), nil},
		{"empty name", set("", Always), ErrName},
		{"name not UTF-8", set("\xff", Always), ErrName},
		{"long name", set(strings.Repeat("x", MaxName+1), Always), ErrName},
		{"child of no cap", table.Set("x", Child{}, nil, Always, now), ErrNotStorable},
		{"write cap that is none", table.Set("x", Child{Write: mustChild(t, file, "").Read, Read: mustChild(t, file, "").Read}, nil, Always, now), ErrNotStorable},
		{"read cap that writes", table.Set("x", Child{Read: mustChild(t, mutable, "").Write}, nil, Always, now), ErrNotStorable},
		{"long metadata", table.Set("x", mustChild(t, lit, ""), &Metadata{`{"x":"` + strings.Repeat("x", MaxMetadata) + `"}`}, Always, now), ErrNotStorable},
		{"delete nothing", table.Delete("x", Any), ErrNoChild},
		{"delete a file as directory", table.Delete("f", Directory), ErrWrongType},
		{"delete a directory as file", table.Delete("d", File), ErrWrongType},
		{"rename nothing", table.Rename("x", "y", Always, now), ErrNoChild},
		{"rename over", table.Rename("f", "d", Never, now), ErrExists},
		{"rename to nothing", table.Rename("f", "", Always, now), ErrName},
		{"metadata of nothing", table.SetMetadata("x", Metadata{}, now), ErrNoChild},
		{"long metadata for one that is there", table.SetMetadata("f", Metadata{`{"x":"` + strings.Repeat("x", MaxMetadata) + `"}`}, now), ErrNotStorable},
		{"rename to itself", table.Rename("f", "f", Never, now), nil},
		{"rename", table.Rename("f", "g", Never, now), nil},
		{"delete", table.Delete("d", Directory), nil},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	if got := names(table); !slices.Equal(got, []string{"g", "u"}) {
		t.Errorf("names %q", got)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	table := newTable(t)
	mustSet(t, table, "name", mutable)
	secrets := []string{mutable[8:], mutRO[11:], "hot25bo5l3tmzfkz24oo3ldqay"}
	dir := mustDir(t, root)
	w, err := caps.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := w.WriteKey.Reveal()
	secrets = append(secrets, string(key[:]))
	table.Bytes()
	redacttest.Check(t, table, secrets...)
	e, _ := table.Entry("name")
	redacttest.Check(t, e, secrets...)
	c, err := e.Child()
	if err != nil {
		t.Fatal(err)
	}
	redacttest.Check(t, c, secrets...)
	for _, rw := range []string{"URI:SSK:" + mutable[8:30], "x" + mutable} {
		if _, err := NewChild(rw, "", false); err == nil || strings.Contains(err.Error(), mutable[8:16]) {
			t.Errorf("error %v", err)
		}
	}
}
