package redact_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/redact/redacttest"
)

const text = "correct-horse-battery-staple"

func TestNeverPrints(t *testing.T) {
	redacttest.Check(t, redact.New(text), text)

	type config struct {
		Name string
		key  redact.Secret
	}
	redacttest.Check(t, config{"n", redact.New(text)}, text)
	binary := "\x00\xff\x10\x80" + strings.Repeat("\x07", 28)
	redacttest.Check(t, redact.New(binary), binary)
}

func TestWhatItPrints(t *testing.T) {
	s := redact.New(text)
	for _, verb := range "vsqxXdT" {
		want := "[secret]"
		if verb == 'T' {
			want = "redact.Secret"
		}
		if got := fmt.Sprintf("%"+string(verb), s); got != want {
			t.Errorf("%%%c = %q, want %q", verb, got, want)
		}
	}
	if b, err := json.Marshal(map[string]redact.Secret{"k": s}); err != nil || string(b) != `{"k":"[secret]"}` {
		t.Errorf("JSON = %s, %v", b, err)
	}
}

func TestSecret(t *testing.T) {
	var zero redact.Secret
	a, b, c, empty := redact.New(text), redact.New(text), redact.New(text+"x"), redact.New("")
	if a.Reveal() != text || zero.Reveal() != "" || empty.Reveal() != "" {
		t.Error("Reveal")
	}
	if !zero.IsZero() || empty.IsZero() || a.IsZero() {
		t.Error("IsZero")
	}
	if a != b || a == c || zero == empty || map[redact.Secret]int{a: 1}[b] != 1 {
		t.Error("comparison by value")
	}
	if !a.Equal(b) || a.Equal(c) || a.Equal(zero) {
		t.Error("Equal")
	}
	// Nobody proves anything by knowing nothing.
	if zero.Equal(zero) || zero.Equal(empty) {
		t.Error("the zero Secret equals something")
	}
}
