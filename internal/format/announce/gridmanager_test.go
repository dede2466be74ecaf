package announce

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/kit/redact/redacttest"
)

// managerText is in the form in which the reference's grid-manager writes it.
func managerText(t testing.TB) string {
	return `{
    "grid_manager_config_version": 0,
    "private_key": "` + testKey(t, 9).Reveal() + `",
    "storage_servers": {
        "ann": {
            "public_key": "` + testKey(t, 1).Key().Public() + `"
        },
        "bob": {
            "public_key": "` + testKey(t, 2).Key().Public() + `"
        }
    }
}
`
}

func TestGridManager(t *testing.T) {
	text := managerText(t)
	m, err := ParseGridManager([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.Reveal()); got != text {
		t.Errorf("written as\n%s\nwant\n%s", got, text)
	}
	redacttest.Check(t, m, testKey(t, 9).Reveal())
	until := time.Unix(2e9, 0)
	c, err := m.Certify("bob", until)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := c.Verify(testKey(t, 9).Key()); err != nil || g.Server != testKey(t, 2).Key() || !g.Expires.Equal(until) || m.Identity() != testKey(t, 9).Key() {
		t.Errorf("the certificate says %+v, %v", g, err)
	}
	if err := m.Add("ann", testKey(t, 3).Key()); !errors.Is(err, ErrKnownServer) {
		t.Errorf("ann again: %v", err)
	}
	for _, name := range []string{"", ".x", "../x", `a\b`, "a:b", "a\x00", "a\nb", "\xff", strings.Repeat("x", 201)} {
		if err := m.Add(name, testKey(t, 3).Key()); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := errors.Join(m.Add("cem", testKey(t, 3).Key()), m.Remove("ann")); err != nil || !slices.Equal(m.Names(), []string{"bob", "cem"}) {
		t.Errorf("%v, %v", m.Names(), err)
	}
	if _, err := m.Certify("ann", until); !errors.Is(err, ErrUnknownServer) || !errors.Is(m.Remove("ann"), ErrUnknownServer) {
		t.Errorf("ann, who is forgotten: %v", err)
	}
	fresh, err := NewGridManager(bytes.NewReader(make([]byte, 32)))
	if err != nil || strings.Contains(string(fresh.Reveal()), "storage_servers") {
		t.Errorf("a new one: %s, %v", fresh.Reveal(), err)
	}
}

func TestParseGridManagerRefuses(t *testing.T) {
	good := managerText(t)
	for name, text := range map[string]string{
		"nothing":       "",
		"a list":        "[]",
		"no version":    strings.Replace(good, "grid_manager_config_version", "version", 1),
		"another":       strings.Replace(good, `version": 0`, `version": 1`, 1),
		"a public key":  strings.Replace(good, testKey(t, 9).Reveal(), testKey(t, 9).Key().Public(), 1),
		"a bad server":  strings.Replace(good, "pub-v0-", "pub-v1-", 1),
		"a bad name":    strings.Replace(good, `"ann"`, `"../ann"`, 1),
		"endless names": good + strings.Repeat(" ", maxManager),
	} {
		if _, err := ParseGridManager([]byte(text)); err == nil || strings.Contains(err.Error(), testKey(t, 9).Reveal()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzGridManager(f *testing.F) {
	f.Add(managerText(f))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseGridManager([]byte(text))
		if err != nil {
			return
		}
		back, err := ParseGridManager(m.Reveal())
		if err != nil || !slices.Equal(back.Names(), m.Names()) || back.Identity() != m.Identity() {
			t.Errorf("%s became %s, %v", text, m.Reveal(), err)
		}
		_ = fmt.Sprint(m)
	})
}
