package announce

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/redact/redacttest"
)

type golden struct {
	Signed  []struct{ Source, Msg, Sig, Key string }
	Cache   string
	Servers []struct{ Nickname, TubID, PubKey, FURL string }

	Manager, ManagerKey, Certified, Certificate string
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Signed) == 0 || len(g.Servers) != 5 {
		t.Fatal("golden.json is not whole")
	}
	return g
}

// testKey is a signing key of the same 32 bytes.
func testKey(t testing.TB, b byte) SigningKey {
	t.Helper()
	k, err := NewSigningKey(strings.NewReader(strings.Repeat(string(rune(b)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signMsg(k SigningKey, msg string) Signed { return sign(k, msg) }

func mustVerify(t testing.TB, s Signed) *Announcement {
	t.Helper()
	a, err := s.Verify()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Announcements that the reference signed.
func TestGoldenSigned(t *testing.T) {
	g := readGolden(t)
	for _, row := range g.Signed {
		s := Signed{redact.New(row.Msg), row.Sig, row.Key}
		a := mustVerify(t, s)
		if a.Service != Storage || a.Nickname != "g1" || !a.HasSeqnum || a.Seqnum != 2 || a.Version != "tahoe-lafs/1.20.0.post162" {
			t.Errorf("%s: %+v", row.Source, a)
		}
		server, err := a.Server()
		if err != nil {
			t.Fatal(err)
		}
		if server.FURL.Reveal() != g.Servers[0].FURL || server.FURL.TubID != g.Servers[0].TubID || "pub-"+server.ID != g.Servers[0].PubKey {
			t.Errorf("%s: server %+v", row.Source, server)
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(row.Msg), &fields); err != nil {
			t.Fatal(err)
		}
		if base32.Encode(server.Seed) != fields["permutation-seed-base32"] || len(server.NURLs) != 1 || server.NURLs[0].Reveal() != fields["anonymous-storage-NURLs"].([]any)[0] {
			t.Errorf("%s: server %+v", row.Source, server)
		}
		for i := range row.Sig[3:] {
			bad := s
			bad.Sig = row.Sig[:3+i] + flip(row.Sig[3+i:])
			if _, err := bad.Verify(); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrSyntax) {
				t.Errorf("signature changed at %d: %v", i, err)
			}
		}
		bad := s
		bad.Msg = redact.New(row.Msg + " ")
		if _, err := bad.Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("message changed: %v", err)
		}
		bad = s
		bad.Key = g.Servers[1].PubKey[len("pub-"):]
		if _, err := bad.Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("key changed: %v", err)
		}
	}
}

// flip changes the first character of base32.
func flip(s string) string {
	if s[0] == 'a' {
		return "b" + s[1:]
	}
	return "a" + s[1:]
}

// A cache file that the reference wrote, there and back.
func TestGoldenCache(t *testing.T) {
	g := readGolden(t)
	var entries []map[string]any
	if err := yaml.Unmarshal([]byte(g.Cache), &entries); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		a, err := ParseEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.Server()
		if err != nil {
			t.Fatal(err)
		}
		found["pub-"+s.ID] = s.FURL.Reveal()
		text, err := yaml.Marshal(a.Entry())
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := yaml.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, back); d != "" {
			t.Errorf("entry of %s changed: %s", a.Nickname, d)
		}
		again, err := ParseEntry(back)
		if err != nil || again.Replaces(a) != ErrDuplicate {
			t.Errorf("entry read back: %v, %v", err, again.Replaces(a))
		}
	}
	for _, s := range g.Servers {
		if found[s.PubKey] != s.FURL {
			t.Errorf("%s: %q, want %q", s.Nickname, found[s.PubKey], s.FURL)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	k := testKey(t, 1)
	good := signMsg(k, `{"service-name":"storage"}`)
	mustVerify(t, good)
	deep := `{"service-name":"storage","x":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`
	for _, tt := range []struct {
		name string
		s    Signed
		err  error
	}{
		{"no key", Signed{good.Msg, good.Sig, ""}, ErrUnknownKey},
		{"key of a later kind", Signed{good.Msg, good.Sig, "v1" + good.Key[2:]}, ErrUnknownKey},
		{"long form of the key", Signed{good.Msg, good.Sig, "pub-" + good.Key}, ErrUnknownKey},
		{"upper-case key", Signed{good.Msg, good.Sig, "v0-" + strings.ToUpper(good.Key[3:])}, ErrSyntax},
		{"second spelling of the key", Signed{good.Msg, good.Sig, good.Key[:54] + "b"}, ErrSyntax},
		{"no signature", Signed{good.Msg, "", good.Key}, ErrUnknownKey},
		{"short signature", Signed{good.Msg, good.Sig[:50], good.Key}, ErrSyntax},
		{"no message", Signed{Sig: good.Sig, Key: good.Key}, ErrSignature},
		{"not JSON", signMsg(k, `{"service-name":"storage"`), ErrSyntax},
		{"null", signMsg(k, `null`), ErrSyntax},
		{"list", signMsg(k, `[]`), ErrSyntax},
		{"two objects", signMsg(k, `{"service-name":"storage"}{}`), ErrSyntax},
		{"not UTF-8", signMsg(k, "{\"service-name\":\"storage\",\"x\":\"\xff\"}"), ErrSyntax},
		{"no service", signMsg(k, `{}`), ErrSyntax},
		{"null service", signMsg(k, `{"service-name":null}`), ErrSyntax},
		{"service not text", signMsg(k, `{"service-name":["storage"]}`), ErrSyntax},
		{"service in capitals", signMsg(k, `{"Service-Name":"storage"}`), ErrSyntax},
		{"long service", signMsg(k, `{"service-name":"`+strings.Repeat("s", maxService+1)+`"}`), ErrSyntax},
		{"nickname not text", signMsg(k, `{"service-name":"storage","nickname":1}`), ErrSyntax},
		{"long nickname", signMsg(k, `{"service-name":"storage","nickname":"`+strings.Repeat("n", maxText+1)+`"}`), ErrSyntax},
		{"huge seqnum", signMsg(k, `{"service-name":"storage","seqnum":9223372036854775808}`), ErrSyntax},
		{"too long", signMsg(k, `{"service-name":"storage","x":"`+strings.Repeat("x", MaxMessage)+`"}`), ErrSyntax},
		{"too deep", signMsg(k, deep), ErrSyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a, err := tt.s.Verify(); !errors.Is(err, tt.err) {
				t.Errorf("Verify = %v, %v; want %v", a, err, tt.err)
			}
		})
	}
	mustVerify(t, signMsg(k, strings.Replace(strings.Replace(deep, "[", "", 1), "]", "", 1)))
	mustVerify(t, signMsg(k, `{"service-name":"storage","x":"\"`+strings.Repeat("[", 100)+`"}`))
}

func TestReplaces(t *testing.T) {
	k := testKey(t, 1)
	ann := func(fields string) *Announcement {
		return mustVerify(t, signMsg(k, `{"service-name":"storage"`+fields+`}`))
	}
	for _, tt := range []struct {
		name, old, new string
		want           error
	}{
		{"greater", `,"seqnum":9`, `,"seqnum":10`, nil},
		{"equal", `,"seqnum":9`, `,"seqnum":9,"x":1`, ErrStale},
		{"less", `,"seqnum":9`, `,"seqnum":8`, ErrStale},
		{"duplicate", `,"seqnum":9,"x":1`, ` , "x": 1, "seqnum":9`, ErrDuplicate},
		{"no new", `,"seqnum":9`, `,"x":1`, ErrStale},
		{"new is text", `,"seqnum":9`, `,"seqnum":"10"`, ErrStale},
		{"new is a fraction", `,"seqnum":9`, `,"seqnum":10.0`, ErrStale},
		{"new is an exponent", `,"seqnum":9`, `,"seqnum":1e3`, ErrStale},
		{"no old", ``, `,"seqnum":-1`, nil},
		{"neither", ``, `,"x":1`, nil},
		{"negative", `,"seqnum":-2`, `,"seqnum":-1`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := ann(tt.new).Replaces(ann(tt.old)); err != tt.want {
				t.Errorf("Replaces = %v, want %v", err, tt.want)
			}
		})
	}
	if err := ann("").Replaces(nil); err != nil {
		t.Errorf("nothing known: %v", err)
	}
	other := mustVerify(t, signMsg(testKey(t, 2), `{"service-name":"storage","seqnum":5}`))
	if err := other.Replaces(ann(`,"seqnum":1`)); err == nil {
		t.Error("another node's announcement replaces")
	}
	service := mustVerify(t, signMsg(k, `{"service-name":"other","seqnum":5}`))
	if err := service.Replaces(ann(`,"seqnum":1`)); err == nil {
		t.Error("an announcement of another service replaces")
	}
}

// What this program does not know stays in the cache.
func TestFieldsKeepsUnknown(t *testing.T) {
	const msg = `{"service-name":"storage","n":12345678901234567,"big":123456789012345678901234567890,"f":1.5,"l":[1,null,{"a":true}],"t":"<&>é"}`
	a := mustVerify(t, signMsg(testKey(t, 1), msg))
	want := map[string]any{"service-name": "storage", "n": int64(12345678901234567), "big": 123456789012345678901234567890.0, "f": 1.5,
		"l": []any{int64(1), nil, map[string]any{"a": true}}, "t": "<&>é"}
	if d := cmp.Diff(want, a.Fields()); d != "" {
		t.Error(d)
	}
	back, err := ParseEntry(a.Entry())
	if err != nil || back.Replaces(a) != ErrDuplicate {
		t.Errorf("ParseEntry: %v", err)
	}
}

func TestParseEntryRefuses(t *testing.T) {
	key := testKey(t, 1).Key().String()
	ok := map[string]any{"service-name": "storage"}
	for name, e := range map[string]map[string]any{
		"nil":         nil,
		"no key":      {"ann": ok},
		"key a list":  {"ann": ok, "key_s": []any{key}},
		"no ann":      {"key_s": key},
		"ann a list":  {"key_s": key, "ann": []any{}},
		"no service":  {"key_s": key, "ann": map[string]any{}},
		"odd map":     {"key_s": key, "ann": map[string]any{"service-name": "storage", "x": map[any]any{1: 2}}},
		"not UTF-8":   {"key_s": key, "ann": map[string]any{"service-name": "storage", "x": "\xff"}},
		"not a float": {"key_s": key, "ann": map[string]any{"service-name": "storage", "x": inf()}},
	} {
		if a, err := ParseEntry(e); err == nil {
			t.Errorf("%s: %v", name, a)
		}
	}
}

func inf() float64 { x := 1e308; return x * 10 }

func TestKeys(t *testing.T) {
	k := testKey(t, 1)
	back, err := ParseSigningKey(k.Reveal())
	if err != nil || back != k {
		t.Errorf("ParseSigningKey = %v", err)
	}
	of, err := SigningKeyOf(redact.New(strings.Repeat("\x01", 32)))
	if err != nil || of != k {
		t.Errorf("SigningKeyOf = %v", err)
	}
	if _, err := SigningKeyOf(redact.New("short")); err == nil {
		t.Error("a short seed is taken")
	}
	if _, err := NewSigningKey(strings.NewReader("short")); err == nil {
		t.Error("a key of too little randomness")
	}
	pub, err := ParsePublic(k.Key().Public())
	if err != nil || pub != k.Key() {
		t.Errorf("ParsePublic = %v, %v", pub, err)
	}
	g := readGolden(t)
	manager, err := ParseSigningKey(g.ManagerKey)
	if err != nil || manager.Key().Public() != g.Manager {
		t.Errorf("%v: public key %s, want %s", err, manager.Key().Public(), g.Manager)
	}
	if (SigningKey{}).Key() != (Key{}) {
		t.Error("no key has a public key")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := testKey(t, 7)
	redacttest.Check(t, k, strings.Repeat("\x07", 32), k.Reveal()[len(prefixPrivate):])
	const swissnum = "7wfvm37lrvrakffe2qge55ty6vwhb5w6"
	f, err := furl.ParseFURL("pb://zznbwkuaspu22s353xxkhi2feeeobore@tcp:127.0.0.1:13001/" + swissnum)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Server{FURL: f}.Sign(k, 1, []byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	redacttest.Check(t, s, swissnum)
	a := mustVerify(t, s)
	redacttest.Check(t, *a, swissnum)
	server, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	redacttest.Check(t, server, swissnum)
	for _, msg := range []string{`"` + swissnum, `{"service-name":"storage","anonymous-storage-FURL":"pb://x@/` + swissnum + `"}`, `{"service-name":"storage","anonymous-storage-FURL":["` + swissnum + `"]}`} {
		a, err := signMsg(k, msg).Verify()
		if err == nil {
			_, err = a.Server()
		}
		if err == nil || strings.Contains(err.Error(), swissnum[:6]) {
			t.Errorf("error %v", err)
		}
	}
}
