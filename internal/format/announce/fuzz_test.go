package announce

import (
	"encoding/json"
	"errors"
	"testing"

	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/kit/redact"
)

// Any message, well signed, is an announcement or ErrSyntax; an announcement
// goes through the cache unchanged.
func FuzzVerify(f *testing.F) {
	for _, row := range readGolden(f).Signed {
		f.Add(row.Msg)
	}
	signed, err := testServer(f).Sign(testKey(f, 1), 1, []byte("nonce"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed.Msg.Reveal())
	f.Add(`{"service-name":"storage","seqnum":-0,"x":[{"y":1e400}],"anonymous-storage-NURLs":{"a":null}}`)
	k := testKey(f, 1)
	f.Fuzz(func(t *testing.T, msg string) {
		a, err := sign(k, msg).Verify()
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("error %v", err)
			}
			return
		}
		text, err := yaml.Marshal(a.Entry())
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 40*MaxMessage {
			t.Errorf("%d bytes of YAML of a message of %d", len(text), len(msg))
		}
		s, err := a.Server()
		var entry map[string]any
		if yaml.Unmarshal(text, &entry) != nil {
			return // keys and texts that YAML has no words for
		}
		back, err2 := ParseEntry(entry)
		if err2 != nil {
			return
		}
		s2, err2 := back.Server()
		if (err == nil) != (err2 == nil) || s.FURL.Reveal() != s2.FURL.Reveal() || len(s.AllNURLs()) != len(s2.AllNURLs()) {
			t.Errorf("%+v, %v became %+v, %v in the cache", s, err, s2, err2)
		}
	})
}

// Signatures and keys of any form never pass for others.
func FuzzTriple(f *testing.F) {
	for _, row := range readGolden(f).Signed {
		f.Add(row.Msg, row.Sig, row.Key)
	}
	good := map[[3]string]bool{}
	for _, row := range readGolden(f).Signed {
		good[[3]string{row.Msg, row.Sig, row.Key}] = true
	}
	f.Fuzz(func(t *testing.T, msg, sig, key string) {
		_, err := Signed{redact.New(msg), sig, key}.Verify()
		if err == nil && !good[[3]string{msg, sig, key}] {
			t.Error("verified")
		}
		if err != nil && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrSignature) {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	f.Add([]byte(readGolden(f).Certificate), "")
	f.Add([]byte(`{"certificate":"","signature":""}`), `{"expires":"2040-01-01T00:00:00Z","public_key":"pub-v0-","version":1}`)
	k := testKey(f, 1)
	f.Fuzz(func(t *testing.T, outside []byte, inside string) {
		if c, err := ParseCertificate(outside); err == nil {
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseCertificate(text); err != nil || back != c {
				t.Errorf("%q read back: %v", text, err)
			}
			c.Verify(k.Key())
		}
		c := Certificate{inside, [64]byte(k.sign(inside))}
		if _, err := c.Verify(k.Key()); err != nil && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("error %v", err)
		}
	})
}
