// Package redacttest checks that values keep their secrets to themselves,
// whatever prints them. It is for tests only. Start with Check.
package redacttest

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

// verbs and flags that fmt knows, and one verb that it does not.
const verbs = "vTtbcdoOqxXUeEfFgGspz"

var flags = []string{"", "+", "#", " ", "0", "-40.100"}

// Check prints v in many shapes (alone, behind pointers, in exported and
// unexported fields, slices, maps as key and value, interfaces, errors)
// through every verb of fmt, both handlers of slog, encoding/json and
// encoding/xml. It fails t where a secret, or its first 8 bytes, shows as
// text, in hex, base32, base64, or as numbers. Secrets shorter than 8 bytes
// are refused, as they would show by chance.
func Check[T any](t testing.TB, v T, secrets ...string) {
	t.Helper()
	var needles []string
	for _, s := range secrets {
		if len(s) < 8 {
			t.Fatalf("secret of %d bytes: too short to look for", len(s))
		}
		needles = append(needles, spellings(s)...)
	}
	look := func(how string, shape any, out string) {
		t.Helper()
		for _, n := range needles {
			if strings.Contains(out, n) {
				t.Errorf("%s of %T shows %q: %q", how, shape, n, out)
				return
			}
		}
	}
	for _, shape := range shapes(v) {
		for _, verb := range verbs {
			for _, flag := range flags {
				format := "%" + flag + string(verb)
				look(format, shape, fmt.Sprintf(format, shape))
			}
		}
		look("Sprint", shape, fmt.Sprint(shape))
		look("Sprintln", shape, fmt.Sprintln(shape))
		look("Errorf", shape, fmt.Errorf("doing: %v %w", shape, fmt.Errorf("%+v", shape)).Error())
		look("json", shape, marshal(json.Marshal, shape))
		look("xml", shape, marshal(xml.Marshal, shape))
		for _, h := range []struct {
			name string
			make func(*bytes.Buffer) slog.Handler
		}{
			{"slog text", func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) }},
			{"slog JSON", func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) }},
		} {
			var b bytes.Buffer
			l := slog.New(h.make(&b)).With("with", shape)
			l.Info("message", "attr", shape, slog.Group("group", "in", shape))
			look(h.name, shape, b.String())
		}
	}
}

// marshal returns what an encoder makes of v, and its error's text.
func marshal(encode func(any) ([]byte, error), v any) string {
	b, err := encode(v)
	return fmt.Sprintf("%s %v", b, err)
}

// shapes returns v inside other values.
func shapes[T any](v T) []any {
	type exported struct{ V T }
	type unexported struct{ v T }
	type nested struct {
		A unexported
		b *unexported
		c []unexported
		D any
		e any
	}
	p := &v
	out := []any{
		v, p, &p, exported{v}, &exported{v}, unexported{v}, &unexported{v},
		[]T{v}, [1]T{v}, []*T{p}, []any{v}, struct{ a any }{v}, struct{ p *T }{p},
		map[string]T{"k": v}, map[string]unexported{"k": {v}},
		nested{unexported{v}, &unexported{v}, []unexported{{v}}, v, v},
		func() T { return v }, make(chan T, 1),
	}
	if rt := reflect.TypeFor[T](); rt.Comparable() {
		m := reflect.MakeMap(reflect.MapOf(rt, reflect.TypeFor[int]()))
		m.SetMapIndex(reflect.ValueOf(v), reflect.ValueOf(1))
		out = append(out, m.Interface(), map[any]int{v: 1})
	}
	return out
}

// spellings returns how s may show.
func spellings(s string) []string {
	head := s[:8]
	b := []byte(head)
	five := []byte(s[:5]) // whole groups of base32 and, with one byte more, base64
	six := []byte(s[:6])
	trim := func(list string) string { return strings.Trim(list, "[]{}byteuin8 ") }
	out := []string{
		head, strings.Trim(fmt.Sprintf("%q", head), `"`), strings.Trim(fmt.Sprintf("%+q", head), `"`),
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), fmt.Sprintf("% x", b), fmt.Sprintf("% X", b), fmt.Sprintf("%# x", b),
		strings.ToLower(base32.StdEncoding.EncodeToString(five)), base32.StdEncoding.EncodeToString(five),
		base64.StdEncoding.EncodeToString(six), base64.URLEncoding.EncodeToString(six),
	}
	for _, format := range []string{"%d", "%b", "%o", "%O", "%c", "%U", "%x", "%X", "%#o", "%#U", "%q"} {
		var list []string
		for _, c := range b {
			list = append(list, fmt.Sprintf(format, c))
		}
		out = append(out, strings.Join(list, " "), strings.Join(list, ", "))
	}
	return append(out, trim(fmt.Sprintf("%#v", b)))
}
