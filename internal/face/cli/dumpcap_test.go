package cli

import (
	"strings"
	"testing"
)

// What the Python program prints of the same caps.
func TestDumpCap(t *testing.T) {
	const a, b = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	with := []string{"-c", b, "-n", strings.Repeat("a", 32)}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"URI:LIT:nbswy3dp"}, "Literal File URI:\n data: 'hello'\n"},
		{append(with, "URI:DIR2:rqy2rxn7t2oc2ja5q6kbjxezma:lokjrzq5x5dvy5ffpmstlun3gahggujdw4vtipd6f2cko2wd3w3q"), `Directory Writeable URI:
 writekey: rqy2rxn7t2oc2ja5q6kbjxezma
 readkey: 3tlvsy64k4xc72nkjn2xl3rzmq
 storage index: xeqdqecpwrlw6gdmgcecys3wva
 fingerprint: lokjrzq5x5dvy5ffpmstlun3gahggujdw4vtipd6f2cko2wd3w3q

 write_enabler: kosdcerjt4ze4lxkm3gp6rdmtzkdw7ogklnc65um5ngffnkmo2ba

 client renewal secret: cq66ifnpssijoqexdq7ve72gis4lze36byi6mjnjrafg37tzz7za
 file renewal secret: phblxp4xklbblm2copq67vbrsmvqie53vmx4gce3w4s2anqazwua
 lease renewal secret: rcywbwdrbsnl7e5xd53k35ontj7tsmyme3j3l6w7szodtso5gsiq
 client cancel secret: g73sv6j2tbye3lz5zfaqd2qjn3vj3aprt2zkyipvgo6yke72wn5a
 file cancel secret: xf6sjsynlfjfkjevvp7qyxcccv6abphkcmwdm5au3b3q6tseghda
 lease cancel secret: ldbpstzdyfmifnd5nstxw7m6pbotvmnq5famskayner5kn3lwrpq
`},
		{[]string{"URI:CHK:34ka3b5gutauezvyxosgbpusem:wiikinrmlv6mrlim2lnzezswibmafokfnibg6ssw6okm6xm3uusa:3:5:10240"}, `CHK File:
 key: 34ka3b5gutauezvyxosgbpusem
 UEB hash: wiikinrmlv6mrlim2lnzezswibmafokfnibg6ssw6okm6xm3uusa
 size: 10240
 k/N: 3/5
 storage index: i3f5y3dbaybmyivb2nh6ojmc74
`},
		{[]string{"http://127.0.0.1:3456/uri/URI%3ADIR2-CHK%3A" + a + "%3A" + b + "%3A3%3A10%3A12/"},
			"CHK Directory URI:\n key: " + a + "\n UEB hash: " + b + "\n size: 12\n k/N: 3/10\n storage index: 2k6avpjga3dho3zsjo6nnkt7n4\n"},
		{[]string{"URI:DIR2-RO:" + a + ":" + b}, "Directory Read-only URI:\n readkey: " + a + "\n storage index: 6lqwlxbxxahwkuak5hncyjneay\n fingerprint: " + b + "\n"},
		{[]string{"URI:MDMF:" + a + ":" + b}, "MDMF Writeable URI:\n writekey: " + a + "\n readkey: nbor5jxrsgacz5aohfmzputh6e\n storage index: xwix5d5zfdfg4eqsmttb4qoyca\n fingerprint: " + b + "\n\n"},
		{[]string{"URI:SSK-Verifier:" + a + ":" + b}, "SDMF Verifier URI:\n storage index: " + a + "\n fingerprint: " + b + "\n"},
		{[]string{"URI:CHK-Verifier:" + a + ":" + b + ":3:10:12"}, "CHK Verifier URI:\n UEB hash: " + b + "\n size: 12\n k/N: 3/10\n storage index: " + a + "\n"},
		{[]string{"URI:FOO"}, "unknown cap type\n"},
	} {
		code, out, errs := tahoe(t, nil, "", append([]string{"debug", "dump-cap"}, tt.args...)...)
		if code != 0 || out != "\n"+tt.want {
			t.Errorf("%q: %d %s%s", tt.args, code, out, errs)
		}
	}
}

func TestKeypairs(t *testing.T) {
	const pair = "private: priv-v0-" + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\npublic: pub-v0-hnvcppgow2sc2yvdvdicu3ynonsteflxdxrehjr2ybekdc2z3iuq\n"
	key := strings.Fields(pair)[1]
	for _, tt := range []struct{ stdin, word string }{{"", key}, {key + "\n", "-"}, {key, "@-"}} {
		if code, out, errs := tahoe(t, nil, tt.stdin, "admin", "derive-pubkey", tt.word); code != 0 || out != pair {
			t.Errorf("%q: %d %s%s", tt.word, code, out, errs)
		}
	}
	code, out, _ := tahoe(t, nil, "", "admin", "generate-keypair")
	if code != 0 || !strings.HasPrefix(out, "private: priv-v0-") || !strings.Contains(out, "\npublic: pub-v0-") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, errs := tahoe(t, nil, "", "admin", "derive-pubkey", key+"!"); code != 1 || strings.Contains(out+errs, key) {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if code, _, _ := tahoe(t, nil, "", "admin"); code != 1 {
		t.Errorf("%d", code)
	}
}
