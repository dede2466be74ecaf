package control

import (
	"bufio"
	"reflect"
	"strings"
	"testing"
)

func TestSplitWords(t *testing.T) {
	for _, tt := range []struct {
		in    string
		words []string
		keys  map[string]string
	}{
		{"", nil, map[string]string{}},
		{`NOTICE BOOTSTRAP PROGRESS=45 TAG=requesting_descriptors SUMMARY="Asking for relay descriptors"`,
			[]string{"NOTICE", "BOOTSTRAP"}, map[string]string{"PROGRESS": "45", "TAG": "requesting_descriptors", "SUMMARY": "Asking for relay descriptors"}},
		{`"a b" "c\"d\\e" f`, []string{"a b", `c"d\e`, "f"}, map[string]string{}},
		{`K="\101\n\7" L=`, nil, map[string]string{"K": "A\n\x07", "L": ""}},
		{`K="unclosed \`, nil, map[string]string{"K": `unclosed \`}},
		{`=x`, []string{"=x"}, map[string]string{}},
	} {
		words, keys := splitWords(tt.in)
		if !reflect.DeepEqual(words, tt.words) || !reflect.DeepEqual(keys, tt.keys) {
			t.Errorf("splitWords(%q) = %q, %q; want %q, %q", tt.in, words, keys, tt.words, tt.keys)
		}
	}
}

func TestReadReply(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Reply
	}{
		{"250 OK\r\n", Reply{250, []Line{{"OK", ""}}}},
		{"250-a=1\r\n250 OK\n", Reply{250, []Line{{"a=1", ""}, {"OK", ""}}}},
		{"250+ns=\r\nr one\r\n..dot\r\n\r\n.\r\n250 OK\r\n", Reply{250, []Line{{"ns=", "r one\n.dot\n"}, {"OK", ""}}}},
		{"552 \r\n", Reply{552, []Line{{"", ""}}}},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(tt.in)))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("readReply(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add("250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/a\\\"b\"\r\n250-VERSION Tor=\"0.4.9.11\"\r\n250 OK\r\n")
	f.Add("650 HS_DESC UPLOADED x UNKNOWN $AA~b\r\n")
	f.Add("250+x=\r\n..\r\n.\r\n250 OK\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		br := bufio.NewReader(strings.NewReader(in))
		for {
			r, err := readReply(br)
			if err != nil {
				return
			}
			if len(r.Lines) == 0 || r.Code < 0 || r.Code > 999 {
				t.Fatalf("reply %+v", r)
			}
			for _, e := range parseEvents(r) {
				if strings.ContainsAny(e.Text, "\x1b\n\r") {
					t.Errorf("event text %q is not printable", e.Text)
				}
			}
			r.asError("X")
		}
	})
}

// FuzzQuote checks that what is quoted is read back.
func FuzzQuote(f *testing.F) {
	f.Add(`a "b" \c`)
	f.Add("\r\n\t")
	f.Fuzz(func(t *testing.T, in string) {
		q := Quote(in)
		got, rest := unquote(q)
		if got != in || rest != "" || strings.ContainsAny(q, "\r\n") {
			t.Errorf("Quote(%q) = %s, read back as %q, %q left", in, q, got, rest)
		}
	})
}
