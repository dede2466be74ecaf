package redacttest

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

const secret = "k9Zq!weR7\x01pQ2"

// formatted hides its text with methods alone, the obvious way that leaks.
type formatted struct{ text string }

func (formatted) Format(f fmt.State, _ rune)   { io.WriteString(f, "hidden") }
func (formatted) String() string               { return "hidden" }
func (formatted) MarshalJSON() ([]byte, error) { return []byte(`"hidden"`), nil }

// pointed hides it behind a plain pointer to a struct as well.
type pointed struct{ p *struct{ text string } }

func (pointed) Format(f fmt.State, _ rune) { io.WriteString(f, "hidden") }

// recorder is a testing.TB that keeps failures to itself.
type recorder struct {
	testing.TB
	errs []string
}

func (r *recorder) Helper()                     {}
func (r *recorder) Errorf(f string, arg ...any) { r.errs = append(r.errs, fmt.Sprintf(f, arg...)) }
func (r *recorder) Fatalf(f string, arg ...any) {
	r.errs = append(r.errs, "fatal: "+fmt.Sprintf(f, arg...))
}

func found[T any](t *testing.T, v T) string {
	t.Helper()
	r := &recorder{TB: t}
	Check(r, v, secret)
	return strings.Join(r.errs, "\n")
}

// Check is only worth something if it finds leaks.
func TestCheckFindsLeaks(t *testing.T) {
	for name, got := range map[string]string{
		"string":    found(t, secret),
		"bytes":     found(t, []byte(secret)),
		"array":     found(t, [12]byte([]byte(secret))),
		"formatted": found(t, formatted{secret}),
		"pointed":   found(t, pointed{&struct{ text string }{secret}}),
	} {
		if got == "" {
			t.Errorf("%s: nothing found", name)
		}
	}
	// Each spelling, by the way that makes it.
	for name, format := range map[string]string{"%d": "%d", "%x": "%x", "%X": "%X", "% x": "% x", "%v": "%v", "%#v": "%#v", "%b": "%b", "%o": "%o", "%U": "%U", "%q": "%q", "%s": "%s"} {
		if found(t, fmt.Sprintf(format, []byte(secret))) == "" {
			t.Errorf("bytes under %s: nothing found", name)
		}
	}
	if got := found(t, struct{ N int }{7}); got != "" {
		t.Errorf("false alarm: %s", got)
	}
}
