package announce

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/furl"
)

const (
	testFURL  = "pb://zznbwkuaspu22s353xxkhi2feeeobore@tcp:127.0.0.1:13001/7wfvm37lrvrakffe2qge55ty6vwhb5w6"
	testNURL  = "pb://-twMCqzIcbLpSF4xy318Qcm_ijkVS_C_FDKU8a2NnZM@127.0.0.1:13001/7wfvm37lrvrakffe2qge55ty6vwhb5w6#v=1"
	testOnion = "pb+tor://-twMCqzIcbLpSF4xy318Qcm_ijkVS_C_FDKU8a2NnZM@2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:80/7wfvm37lrvrakffe2qge55ty6vwhb5w6#v=1"
)

func testServer(t testing.TB) Server {
	t.Helper()
	f, err := furl.ParseFURL(testFURL)
	if err != nil {
		t.Fatal(err)
	}
	n, err := furl.ParseNURL(testNURL)
	if err != nil {
		t.Fatal(err)
	}
	o, err := furl.ParseNURL(testOnion)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := Certify(testKey(t, 9), Grant{testKey(t, 1).Key(), time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return Server{ID: testKey(t, 1).Key().String(), Nickname: "<é>", Version: "tahoe-go/1", FURL: f, NURLs: []furl.NURL{n},
		OnionNURLs: []furl.NURL{o}, Seed: []byte("seed"), GridManagerCerts: []Certificate{cert}}
}

var byText = []cmp.Option{
	cmp.Transformer("nurl", func(n furl.NURL) string { return n.Reveal() }),
	cmp.Transformer("furl", func(f furl.FURL) string { return f.Reveal() }),
}

func TestSignRoundTrip(t *testing.T) {
	s := testServer(t)
	signed, err := s.Sign(testKey(t, 1), 7, bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	a := mustVerify(t, signed)
	if a.Seqnum != 7 || a.Key.String() != s.ID || a.Nickname != s.Nickname {
		t.Errorf("%+v", a)
	}
	got, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	s.Seqnum = 7
	if d := cmp.Diff(s, got, byText...); d != "" {
		t.Error(d)
	}
	// What a reader of the reference's kind looks for.
	fields := a.Fields()
	for key, want := range map[string]any{
		"version": int64(0), "nickname": "<é>", "app-versions": []any{}, "my-version": "tahoe-go/1", "oldest-supported": "1.0.0",
		"service-name": "storage", "anonymous-storage-FURL": testFURL, "anonymous-storage-NURLs": []any{testNURL},
		"tahoe-go-onion-NURLs": []any{testOnion}, "permutation-seed-base32": base32.Encode([]byte("seed")), "seqnum": int64(7),
		"nonce": base32.Encode(bytes.Repeat([]byte{1}, 32)),
	} {
		if d := cmp.Diff(want, fields[key]); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
}

func TestSignDefaults(t *testing.T) {
	k := testKey(t, 1)
	s := Server{FURL: testServer(t).FURL}
	signed, err := s.Sign(k, 1, []byte("n"))
	if err != nil {
		t.Fatal(err)
	}
	a := mustVerify(t, signed)
	for _, key := range []string{NURLsField, OnionNURLsField, CertificatesField} {
		if v, ok := a.Fields()[key]; ok {
			t.Errorf("%s = %v, want none", key, v)
		}
	}
	got, err := a.Server()
	if key := k.Key(); err != nil || !bytes.Equal(got.Seed, key[:]) {
		t.Errorf("seed %x, %v", got.Seed, err)
	}
}

func TestSignRefuses(t *testing.T) {
	k := testKey(t, 1)
	good := testServer(t)
	change := func(f func(*Server)) Server { s := good; f(&s); return s }
	onion := good.OnionNURLs
	for _, tt := range []struct {
		name  string
		s     Server
		k     SigningKey
		nonce string
	}{
		{"no key", good, SigningKey{}, "n"},
		{"another's key", good, testKey(t, 2), "n"},
		{"no nonce", good, k, ""},
		{"no fURL", change(func(s *Server) { s.FURL = furl.FURL{} }), k, "n"},
		{"long nickname", change(func(s *Server) { s.Nickname = strings.Repeat("x", maxText+1) }), k, "n"},
		{"clear NURL among the onions", change(func(s *Server) { s.OnionNURLs = s.NURLs }), k, "n"},
		{"NURL without host", change(func(s *Server) { s.NURLs = []furl.NURL{{}} }), k, "n"},
		{"too many NURLs", change(func(s *Server) {
			for range MaxNURLs {
				s.OnionNURLs = append(s.OnionNURLs, onion...)
			}
		}), k, "n"},
	} {
		if _, err := tt.s.Sign(tt.k, 1, []byte(tt.nonce)); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

func TestServer(t *testing.T) {
	k := testKey(t, 1)
	id := k.Key().String()
	const start = `{"service-name":"storage","anonymous-storage-FURL":"` + testFURL + `"`
	key := k.Key()
	hash := sha256.Sum256([]byte("some-id"))
	for _, tt := range []struct {
		name, msg string
		nurls     int
		dropped   int
		bad       bool
	}{
		{"least", start + `}`, 0, 0, false},
		{"other service", `{"service-name":"helper","anonymous-storage-FURL":"` + testFURL + `"}`, 0, 0, true},
		{"no fURL", `{"service-name":"storage"}`, 0, 0, true},
		{"bad fURL", `{"service-name":"storage","anonymous-storage-FURL":"pb://x"}`, 0, 0, true},
		{"fURL not text", `{"service-name":"storage","anonymous-storage-FURL":5}`, 0, 0, true},
		{"NURLs", start + `,"anonymous-storage-NURLs":["` + testNURL + `"],"tahoe-go-onion-NURLs":["` + testOnion + `"]}`, 2, 0, false},
		{"both keys", start + `,"anonymous-storage-NURLs":["` + testOnion + `"],"tahoe-go-onion-NURLs":["` + testOnion + `"]}`, 1, 0, false},
		{"a set", start + `,"anonymous-storage-NURLs":{"` + testNURL + `":null}}`, 1, 0, false},
		{"not a list", start + `,"anonymous-storage-NURLs":"` + testNURL + `"}`, 0, 0, true},
		{"null", start + `,"anonymous-storage-NURLs":null,"permutation-seed-base32":null,"grid-manager-certificates":null}`, 0, 0, false},
		{"some bad", start + `,"anonymous-storage-NURLs":["` + testNURL + `",7,"pb+i2p://x@y:1/z#v=1","pb://nonsense#v=1"]}`, 1, 3, false},
		{"clear one under our key", start + `,"tahoe-go-onion-NURLs":["` + testNURL + `"]}`, 0, 1, false},
		{"too many", start + `,"anonymous-storage-NURLs":[` + strings.Repeat(`"",`, MaxNURLs) + `""]}`, 0, 0, true},
		{"bad seed", start + `,"permutation-seed-base32":"0"}`, 0, 0, true},
		{"long seed", start + `,"permutation-seed-base32":"` + strings.Repeat("a", 1648) + `"}`, 0, 0, true},
		{"bad certificates", start + `,"grid-manager-certificates":[1,{},{"certificate":"x","signature":"aa"}]}`, 0, 3, false},
		{"certificates not a list", start + `,"grid-manager-certificates":1}`, 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := mustVerify(t, signMsg(k, tt.msg)).Server()
			if tt.bad {
				if err == nil {
					t.Errorf("Server = %+v", s)
				}
				return
			}
			if err != nil || s.ID != id || len(s.AllNURLs()) != tt.nurls || len(s.Dropped) != tt.dropped || !bytes.Equal(s.Seed, key[:]) {
				t.Errorf("Server = %+v, %v", s, err)
			}
		})
	}
	t.Run("without signature", func(t *testing.T) {
		s, err := ParseServer("some-id", map[string]any{"anonymous-storage-FURL": testFURL, "nickname": "n"})
		if err != nil || s.ID != "some-id" || s.Nickname != "n" || !bytes.Equal(s.Seed, hash[:]) {
			t.Errorf("ParseServer = %+v, %v", s, err)
		}
		s, err = ParseServer("v0-"+strings.ToUpper(id[3:]), map[string]any{"anonymous-storage-FURL": testFURL})
		if err != nil || !bytes.Equal(s.Seed, key[:]) {
			t.Errorf("upper-case id: seed %x, %v", s.Seed, err)
		}
		for _, id := range []string{"", "a b", "é", strings.Repeat("x", maxID+1)} {
			if _, err := ParseServer(id, map[string]any{"anonymous-storage-FURL": testFURL}); !errors.Is(err, ErrSyntax) {
				t.Errorf("id %q: %v", id, err)
			}
		}
		if _, err := ParseServer("x", nil); !errors.Is(err, ErrSyntax) {
			t.Errorf("no fields: %v", err)
		}
	})
}

// A certificate that the reference's grid manager made, and the same words
// signed by us: ed25519 has one signature for a key and a text.
func TestGoldenCertificate(t *testing.T) {
	g := readGolden(t)
	c, err := ParseCertificate([]byte(g.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	manager, err := ParsePublic(g.Manager)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := c.Verify(manager)
	if err != nil || grant.Server.Public() != g.Certified {
		t.Fatalf("Verify = %v, %v", grant, err)
	}
	key, err := ParseSigningKey(g.ManagerKey)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Certify(key, grant)
	if err != nil || ours != c {
		t.Errorf("Certify = %q, %v; want %q", ours.Text, err, c.Text)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseCertificate(text); err != nil || back != c {
		t.Errorf("%s read back: %v", text, err)
	}
}

func TestCertified(t *testing.T) {
	manager, other, server := testKey(t, 1), testKey(t, 2), testKey(t, 3).Key()
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	cert, err := Certify(manager, Grant{server, end})
	if err != nil {
		t.Fatal(err)
	}
	forged := cert
	forged.Text = strings.Replace(cert.Text, "2030", "2040", 1)
	text := func(s string) Certificate { return Certificate{s, [64]byte(manager.sign(s))} }
	one := []Key{manager.Key()}
	before := end.Add(-time.Nanosecond)
	for _, tt := range []struct {
		name     string
		managers []Key
		certs    []Certificate
		server   Key
		now      time.Time
		want     bool
	}{
		{"no managers", nil, nil, server, end, true},
		{"no certificates", one, nil, server, before, false},
		{"good", one, []Certificate{cert}, server, before, true},
		{"one of several", []Key{other.Key(), manager.Key()}, []Certificate{forged, cert}, server, before, true},
		{"expired", one, []Certificate{cert}, server, end, false},
		{"forged", one, []Certificate{forged}, server, before, false},
		{"another manager", []Key{other.Key()}, []Certificate{cert}, server, before, false},
		{"another server", one, []Certificate{cert}, other.Key(), before, false},
		{"no zone", one, []Certificate{text(`{"expires":"2040-01-01T00:00:00","public_key":"` + server.Public() + `","version":1}`)}, server, before, false},
		{"another version", one, []Certificate{text(`{"expires":"2040-01-01T00:00:00Z","public_key":"` + server.Public() + `","version":2}`)}, server, before, false},
		{"short key", one, []Certificate{text(`{"expires":"2040-01-01T00:00:00Z","public_key":"` + server.String() + `","version":1}`)}, server, before, false},
		{"not JSON", one, []Certificate{text(`{`)}, server, before, false},
		{"by hand", one, []Certificate{text(`{"version":1,"public_key":"` + server.Public() + `","expires":"2040-01-01T00:00:00.5+02:00"}`)}, server, before, true},
	} {
		if got := Certified(tt.managers, tt.certs, tt.server, tt.now); got != tt.want {
			t.Errorf("%s: Certified = %v, want %v", tt.name, got, tt.want)
		}
	}
	if _, err := Certify(SigningKey{}, Grant{server, end}); err == nil {
		t.Error("certified without a key")
	}
}

func TestParseCertificateRefuses(t *testing.T) {
	good, err := json.Marshal(testServer(t).GridManagerCerts[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCertificate(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "null": "null", "list": "[]", "no fields": "{}",
		"one more":      strings.Replace(string(good), "{", `{"x":"y",`, 1),
		"capitals":      strings.Replace(string(good), "signature", "Signature", 1),
		"null field":    `{"certificate":null,"signature":"` + strings.Repeat("a", 103) + `"}`,
		"short":         `{"certificate":"","signature":"aa"}`,
		"long inside":   `{"certificate":"` + strings.Repeat("x", maxCertText+1) + `","signature":"` + strings.Repeat("a", 103) + `"}`,
		"long":          strings.Repeat(" ", maxCertFile) + string(good),
		"number inside": `{"certificate":1,"signature":"` + strings.Repeat("a", 103) + `"}`,
	} {
		if _, err := ParseCertificate([]byte(text)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
