package node

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestLogBlotsOut(t *testing.T) {
	const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
	for _, tt := range []struct {
		text   string
		hidden bool
		gone   string // must not be there; "": all must be
		stays  string
	}{
		{"reading URI:CHK:abc:def:3:10:99 went wrong", false, "abc", "went wrong"},
		{"imm.URI:LIT:krugk", false, "krugk", ""},
		{"URI:DIR2-RO:abcd:efgh/child", false, "efgh", "child"},
		{"asking pb://tub@tcp:192.0.2.7:80/swissnum: refused", false, "swissnum", "refused"},
		{"asking pb+tor://hash@x.onion:80/swissnum#v=1", false, "swissnum", ""},
		{"dial tcp 192.0.2.7:3457: refused", false, "", "192.0.2.7:3457"},
		{"dial tcp 192.0.2.7:3457: refused", true, "192.0.2.7", "refused"},
		{"dial tcp [2001:db8::1]:3457: refused", true, "2001", "refused"},
		{"connecting to " + onion + ":443: refused", true, "2gzyxa5", "refused"},
		{"lookup storage.example.org: no such host", true, "example", "no such host"},
		{"refused by network policy: tcp:storage.example.org:80: disabled", true, "example", "disabled"},
		{"dial tcp [fe80::1%eth0]:3457: refused", true, "fe80", "refused"},
		{"dial tcp [2001:db8:1:2:3:4:5:6]:3457: refused", true, "2001", "refused"},
		{"at 15:04:05 version 0.4.9.11", true, "", "15:04:05 version 0.4.9.11"},
	} {
		for _, as := range []any{tt.text, errors.New(tt.text)} {
			var b bytes.Buffer
			log, err := newLogger(&b, "", tt.hidden)
			if err != nil {
				t.Fatal(err)
			}
			log.Info("x", "err", as)
			if tt.gone != "" && strings.Contains(b.String(), tt.gone) || !strings.Contains(b.String(), tt.stays) {
				t.Errorf("hidden %t: %q is logged as %s", tt.hidden, tt.text, b.String())
			}
		}
	}
	if _, err := newLogger(nil, "loud", false); err == nil {
		t.Error("the level loud is taken")
	}
}
