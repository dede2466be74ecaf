package furl

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/redact/redacttest"
)

const (
	tub   = "zznbwkuaspu22s353xxkhi2feeeobore"
	swiss = "7wfvm37lrvrakffe2qge55ty6vwhb5w6"
	spki  = "-twMCqzIcbLpSF4xy318Qcm_ijkVS_C_FDKU8a2NnZM"
	onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion" // the Tor Project's own site
)

func TestParseFURL(t *testing.T) {
	tcp := func(host string, port int) Hint { return Hint{Kind: TCP, Host: host, Port: port} }
	for _, tt := range []struct {
		name, in string
		hints    []Hint
		out      string // "" means in
	}{
		{"golden", "pb://" + tub + "@tcp:127.0.0.1:13001/" + swiss, []Hint{tcp("127.0.0.1", 13001)}, ""},
		{"no hints", "pb://" + tub + "@/" + swiss, nil, ""},
		{"legacy", "pb://" + tub + "@example.com:80/x", []Hint{{Kind: TCP, Host: "example.com", Port: 80, Legacy: true}}, ""},
		{"host called tcp", "pb://" + tub + "@tcp:80/x", []Hint{{Kind: TCP, Host: "tcp", Port: 80, Legacy: true}}, ""},
		{"ipv6", "pb://" + tub + "@tcp:[::ffff:1.2.3.4]:80,tcp:[fe80::1%en0]:9/x", []Hint{tcp("::ffff:1.2.3.4", 80), tcp("fe80::1%en0", 9)}, ""},
		{"tor", "pb://" + tub + "@tor:" + onion + ":81/x", []Hint{{Kind: Tor, Host: onion, Port: 81}}, ""},
		{"tor in capitals", "pb://" + tub + "@tor:" + strings.ToUpper(onion) + ":81/x", []Hint{{Kind: Tor, Host: onion, Port: 81}}, "pb://" + tub + "@tor:" + onion + ":81/x"},
		{"tor, no onion", "pb://" + tub + "@tor:example.com:81/x", []Hint{{Kind: Tor, Host: "example.com", Port: 81}}, ""},
		{"i2p", "pb://" + tub + "@i2p:abc.b32.i2p,i2p:abc.i2p:3457/x", []Hint{{Kind: I2P, Host: "abc.b32.i2p"}, {Kind: I2P, Host: "abc.i2p", Port: 3457}}, ""},
		{"unknown kept", "pb://" + tub + "@future:k=v;w,tcp:a:1/x", []Hint{{Kind: Opaque, text: "future:k=v;w"}, tcp("a", 1)}, ""},
		{"malformed kept", "pb://" + tub + "@tcp:a:0,tcp:a:99999,tcp:[1.2.3.4]:5,tor:-x:80,i2p:,i2p:a:x,junk/x", []Hint{
			{Kind: Opaque, text: "tcp:a:0"}, {Kind: Opaque, text: "tcp:a:99999"}, {Kind: Opaque, text: "tcp:[1.2.3.4]:5"}, {Kind: Opaque, text: "tor:-x:80"},
			{Kind: Opaque, text: "i2p:"}, {Kind: Opaque, text: "i2p:a:x"}, {Kind: Opaque, text: "junk"}}, ""},
		{"slash in swissnum", "pb://" + tub + "@a:1/x/y", []Hint{{Kind: TCP, Host: "a", Port: 1, Legacy: true}}, ""},
		{"long TubID", "pb://" + tub + "-more@a:1/x", []Hint{{Kind: TCP, Host: "a", Port: 1, Legacy: true}}, "pb://" + tub + "@a:1/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseFURL(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got.TubID != tub || !slices.Equal(got.Hints, tt.hints) {
				t.Errorf("got %s %+v, want %+v", got.TubID, got.Hints, tt.hints)
			}
			want := tt.out
			if want == "" {
				want = tt.in
			}
			if got.Reveal() != want {
				t.Errorf("Reveal = %q, want %q", got.Reveal(), want)
			}
		})
	}
}

func TestParseFURLErrors(t *testing.T) {
	for _, in := range []string{
		"", "pb://", "pb:/" + tub + "@a:1/x", "x pb://" + tub + "@a:1/x", "http://" + tub + "@a:1/x",
		"pb://" + tub + "/x", "pb://" + tub[1:] + "@a:1/x", "pb://" + strings.ToUpper(tub) + "@a:1/x", "pb://1" + tub[1:] + "@a:1/x",
		"pb://" + tub + "@a:1", "pb://" + tub + "@a:1/", "pb://" + tub + "@a:1/x y", "pb://" + tub + "@a:1/x\n", "pb://" + tub + "@a:1/\xff",
		"pb://" + tub + "@a:1,/x", "pb://" + tub + "@,a:1/x", "pb://" + tub + "@a b:1/x",
		"pb://" + tub + "@a:1/" + strings.Repeat("x", maxSwissnum+1),
		"pb://" + tub + "@" + strings.Repeat("a:1,", MaxHints) + "a:1/x",
		"pb://" + tub + "@" + strings.Repeat("a", MaxLength) + "/x",
	} {
		if got, err := ParseFURL(in); !errors.Is(err, ErrSyntax) {
			t.Errorf("ParseFURL(%.80q) = %q, %v; want ErrSyntax", in, got.Reveal(), err)
		}
	}
	if _, err := ParseFURL("pb://" + tub + "@" + strings.Repeat("a:1,", MaxHints-1) + "a:1/x"); err != nil {
		t.Errorf("%d hints: %v", MaxHints, err)
	}
}

func TestParseNURL(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		host     string
		port     int
		tor      bool
		out      string
	}{
		{"golden", "pb://" + spki + "@127.0.0.1:13001/" + swiss + "#v=1", "127.0.0.1", 13001, false, ""},
		{"name", "pb://" + spki + "@Example.com:1/x#v=1", "Example.com", 1, false, ""},
		{"ipv6", "pb://" + spki + "@[2001:db8::1]:65535/x#v=1", "2001:db8::1", 65535, false, ""},
		{"tor", "pb+tor://" + spki + "@" + onion + ":80/x#v=1", onion, 80, true, ""},
		{"onion without tor", "pb://" + spki + "@" + onion + ":80/x#v=1", onion, 80, true, "pb+tor://" + spki + "@" + onion + ":80/x#v=1"},
		{"odd onion without tor", "pb://" + spki + "@x.Onion.:80/x#v=1", "x.onion.", 80, true, "pb+tor://" + spki + "@x.onion.:80/x#v=1"},
		{"tor in capitals", "pb+tor://" + spki + "@" + strings.ToUpper(onion) + ":80/x#v=1", onion, 80, true, "pb+tor://" + spki + "@" + onion + ":80/x#v=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseNURL(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != tt.host || got.Port != tt.port || got.Tor != tt.tor || got.SPKI[0] != 0xfa || got.SPKI[31] != 0x93 {
				t.Errorf("got %q %d %v %x", got.Host, got.Port, got.Tor, got.SPKI)
			}
			want := tt.out
			if want == "" {
				want = tt.in
			}
			if got.Reveal() != want {
				t.Errorf("Reveal = %q, want %q", got.Reveal(), want)
			}
		})
	}
}

func TestParseNURLErrors(t *testing.T) {
	at := "pb://" + spki + "@"
	for _, tt := range []struct {
		in  string
		err error
	}{
		{"", ErrSyntax},
		{"http://" + spki + "@a:1/x#v=1", ErrSyntax},
		{"pb+i2p://" + spki + "@a.i2p:1/x#v=1", ErrNetwork},
		{"pb://" + tub + "@a:1/x", ErrVersion},
		{at + "a:1/x#v=2", ErrVersion},
		{at + "a:1/x#v=1#v=1", ErrVersion},
		{"pb://" + spki[1:] + "@a:1/x#v=1", ErrSyntax},
		{"pb://" + spki + "=@a:1/x#v=1", ErrSyntax},
		{"pb://" + spki[:42] + "\n@a:1/x#v=1", ErrSyntax},
		{"pb://" + spki[:42] + "N@a:1/x#v=1", ErrSyntax}, // trailing bits
		{"pb://+" + spki[1:] + "@a:1/x#v=1", ErrSyntax},
		{at + "a/x#v=1", ErrSyntax},
		{at + ":1/x#v=1", ErrSyntax},
		{at + "a:0/x#v=1", ErrSyntax},
		{at + "a:01/x#v=1", ErrSyntax},
		{at + "a:+1/x#v=1", ErrSyntax},
		{at + "a:65536/x#v=1", ErrSyntax},
		{at + "2001:db8::1:80/x#v=1", ErrSyntax},
		{at + "[fe80::1%25en0]:80/x#v=1", ErrSyntax},
		{at + "[::1:80/x#v=1", ErrSyntax},
		{at + "a b:1/x#v=1", ErrSyntax},
		{at + "u@a:1/x#v=1", ErrSyntax},
		{at + "a:1#v=1", ErrSyntax},
		{at + "a:1/#v=1", ErrSyntax},
		{at + "a:1/x/y#v=1", ErrSyntax},
		{at + "a:1/x?q#v=1", ErrSyntax},
		{at + "a:1/%41#v=1", ErrSyntax},
		{at + "a:1/" + strings.Repeat("x", maxSwissnum+1) + "#v=1", ErrSyntax},
		{at + strings.Repeat("a", MaxLength) + ":1/x#v=1", ErrSyntax},
	} {
		if got, err := ParseNURL(tt.in); !errors.Is(err, tt.err) {
			t.Errorf("ParseNURL(%.100q) = %q, %v; want %v", tt.in, got.Reveal(), err, tt.err)
		}
	}
}

// The reference announces one NURL per tcp and tor hint (and none for IPv6,
// where ours has one), none for legacy hints.
func TestNURLs(t *testing.T) {
	f, err := ParseFURL("pb://" + tub + "@tcp:127.0.0.1:1,old.example:2,tor:" + onion + ":3,tor:example.com:4,tcp:[::1]:5,tcp:[fe80::1%en0]:6,tcp:" + onion + ":7,i2p:a.i2p:8/" + swiss)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNURL("pb://" + spki + "@h:1/" + swiss + "#v=1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range f.NURLs(n.SPKI) {
		got = append(got, n.Reveal())
	}
	want := []string{
		"pb://" + spki + "@127.0.0.1:1/" + swiss + "#v=1",
		"pb+tor://" + spki + "@" + onion + ":3/" + swiss + "#v=1",
		"pb://" + spki + "@[::1]:5/" + swiss + "#v=1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestCheckOnion(t *testing.T) {
	for _, tt := range []struct {
		host string
		why  string // part of the error; "" means valid
	}{
		{onion, ""},
		{strings.ToUpper(onion), ""},
		{"www." + onion, ""},
		{"duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion", ""},
		{"example.com", "does not end"},
		{".onion", "0 characters"},
		{"onion", "does not end"},
		{onion + ".", "does not end"},
		{"facebookcorewwwi.onion", "version 2"},
		{onion[1:], "55 characters"},
		{"3" + onion[1:], "checksum"},
		{onion[:55] + "e.onion", "version 4"},
		{"1" + onion[1:], "base32"},
	} {
		err := CheckOnion(tt.host)
		if tt.why == "" && err != nil || tt.why != "" && (!errors.Is(err, ErrOnion) || !strings.Contains(err.Error(), tt.why)) {
			t.Errorf("CheckOnion(%q) = %v, want %q", tt.host, err, tt.why)
		}
	}
}

func TestNeverPrints(t *testing.T) {
	f, err := ParseFURL("pb://" + tub + "@tcp:secret-host.example:1/" + swiss)
	if err != nil {
		t.Fatal(err)
	}
	n := NURL{Host: "secret-host.example", Port: 1, Swissnum: redact.New(swiss)}
	redacttest.Check(t, f, swiss)
	redacttest.Check(t, n, swiss)
	j, err := json.Marshal([]any{f, n})
	if err != nil || string(j) != `["furl:zznbwkua","nurl:AAAAAAAA"]` {
		t.Errorf("JSON = %s, %v", j, err)
	}
	if got := fmt.Sprintf("%v %d %s", f, n, FURL{}); got != "furl:zznbwkua nurl:AAAAAAAA furl:" {
		t.Errorf("Sprintf = %q", got)
	}
	_, err = ParseFURL("pb://" + tub + "@a:1/" + swiss + " ")
	if err == nil || strings.Contains(err.Error(), swiss[:8]) {
		t.Errorf("error shows the swissnum: %v", err)
	}
}
