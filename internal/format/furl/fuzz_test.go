package furl

import (
	"reflect"
	"testing"
)

func FuzzParseFURL(f *testing.F) {
	f.Add("pb://" + tub + "@tcp:127.0.0.1:13001,old:1,tor:" + onion + ":2,i2p:a.i2p,tcp:[::1]:3,x:y=z/" + swiss)
	f.Add("pb://" + tub + "@/introducer")
	f.Add("pb://" + tub + "more@tcp:80,tcp:x:99999,[::1]:1/a/b")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseFURL(s)
		if err != nil {
			return
		}
		b, err := ParseFURL(a.Reveal())
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q prints as %q, which parses as %+v, %v", s, a.Reveal(), b.Hints, err)
		}
		for _, n := range a.NURLs([32]byte{1}) {
			if m, err := ParseNURL(n.Reveal()); err != nil || m != n {
				t.Fatalf("NURL %q: %v", n.Reveal(), err)
			}
		}
	})
}

func FuzzParseNURL(f *testing.F) {
	f.Add("pb://" + spki + "@127.0.0.1:13001/" + swiss + "#v=1")
	f.Add("pb+tor://" + spki + "@" + onion + ":80/" + swiss + "#v=1")
	f.Add("pb://" + spki + "@[::1]:1/x#v=1")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseNURL(s)
		if err != nil {
			return
		}
		if b, err := ParseNURL(a.Reveal()); err != nil || b != a {
			t.Fatalf("%q prints as %q: %v", s, a.Reveal(), err)
		}
	})
}

func FuzzCheckOnion(f *testing.F) {
	f.Add(onion)
	f.Add("facebookcorewwwi.onion")
	f.Fuzz(func(t *testing.T, s string) {
		if CheckOnion(s) == nil && !IsOnion(s) {
			t.Fatalf("%q is valid but not in .onion", s)
		}
	})
}
