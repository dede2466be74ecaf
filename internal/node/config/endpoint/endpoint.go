package endpoint

import (
	"fmt"
	"slices"
	"strings"
)

// Role says what an endpoint is for. The same words mean different things in
// different roles: "tcp:80" is a port to listen on and no place to dial.
type Role int

// The roles.
const (
	Listen   Role = iota // tub.port, [sftpd] port
	Dial                 // socks.port, control.port, sam.port
	Location             // tub.location
	Web                  // web.port: as Listen, and a TCP interface may be a name
)

// Value is one of this package's struct types. String gives a text that
// parses to the same value in the same role.
type Value interface{ String() string }

// kind is one row of the registry.
type kind struct {
	name   string
	form   string   // for messages
	fields []string // positional ones, then after "" those given by name only
	build  func(*fields) Value
}

// registry holds the kinds of one role. Names are matched without regard to
// case.
type registry []kind

var (
	listenKinds   = registry{tcpListen, tcp6Listen, sslListen, unixListen, systemdListen, onion, providerListen, disabled}
	dialKinds     = registry{tcpDial, unixDial}
	webKinds      = registry{tcpWeb, tcp6Listen, sslListen, unixListen, systemdListen, onion, providerListen, disabled}
	locationKinds = registry{tcpHint, torHint, i2pHint, onion, auto, autodetect, unreachable, disabled}
)

func (r Role) kinds() registry {
	return [...]registry{listenKinds, dialKinds, locationKinds, webKinds}[r]
}

// Parse reads one endpoint. Errors are *Error.
func Parse(role Role, text string) (Value, error) { return role.kinds().parse(role, text) }

// ParseList reads a comma-separated list of at least one endpoint. Errors
// are *Error.
func ParseList(role Role, text string) ([]Value, error) {
	return role.kinds().parseList(role, text)
}

func (r registry) parse(role Role, text string) (Value, error) {
	values, err := r.parseList(role, text)
	if err != nil {
		return nil, err
	}
	if len(values) != 1 {
		return nil, newError(text, 0, "one endpoint is wanted here, not a list (a comma that belongs to it is written \\,)")
	}
	return values[0], nil
}

func (r registry) parseList(role Role, text string) ([]Value, error) {
	list, err := items(text)
	if err != nil {
		return nil, err
	}
	var values []Value
	for _, item := range list {
		v, err := r.parseItem(role, text, item)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func (r registry) parseItem(role Role, text string, item []arg) (Value, error) {
	name := item[0].value
	if item[0].name.text != "" {
		return nil, newError(text, item[0].name.pos, "an endpoint starts with its kind, as in "+r[0].form)
	}
	i := slices.IndexFunc(r, func(k kind) bool { return strings.EqualFold(k.name, name.text) })
	if i < 0 {
		return r.oldSpelling(role, text, item)
	}
	f, err := newFields(text, item, r[i].fields)
	if err != nil {
		return nil, err
	}
	v := r[i].build(f)
	if f.err != nil {
		return nil, f.err
	}
	return v, nil
}

// oldSpelling reads what has no kind in front: PORT to listen on, HOST:PORT
// as a hint.
func (r registry) oldSpelling(role Role, text string, item []arg) (Value, error) {
	name := item[0].value
	plain := len(item) == 2 && item[1].name.text == ""
	switch {
	case (role == Listen || role == Web) && len(item) == 1 && isDigits(name.text):
		return r.parseItem(role, text, []arg{{value: token{"tcp", name.pos}}, {value: name}})
	case role == Location && plain:
		return legacyHint(text, name, item[1].value)
	}
	why := fmt.Sprintf("there is no kind of endpoint called %q here; known: %s", name.text, strings.Join(r.forms(), ", "))
	if role == Dial && plain && isDigits(item[1].value.text) {
		why += fmt.Sprintf("; did you mean tcp:%s:%s?", name.text, item[1].value.text)
	}
	if role == Dial && len(item) == 1 && isDigits(name.text) {
		why += fmt.Sprintf("; did you mean tcp:127.0.0.1:%s?", name.text)
	}
	return nil, newError(text, min(name.pos, len(text)), why)
}

func (r registry) forms() []string {
	var all []string
	for _, k := range r {
		all = append(all, k.form)
	}
	return all
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// text assembles KIND:FIELD:NAME=FIELD; pairs are names and values, a
// nameless one is positional, and those with an empty value are left out.
func text(kind string, pairs ...string) string {
	var b strings.Builder
	b.WriteString(kind)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		b.WriteByte(':')
		if pairs[i] != "" {
			b.WriteString(pairs[i] + "=")
		}
		b.WriteString(escape(pairs[i+1]))
	}
	return b.String()
}

// number is text's value for an optional number; 0 is left out.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// Forms returns how the kinds of a role are written, for people.
func Forms(role Role) []string { return role.kinds().forms() }
