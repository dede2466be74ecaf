package endpoint

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// fields hands the args of one item to the kind that builds a value from
// them. The first error sticks, so that a build reads straight on.
type fields struct {
	text string // the whole value
	kind token
	args map[string]token
	err  error
}

// newFields gives each arg its name. names are those of the positional
// fields in order, then, after an empty string, those that are only given by
// name.
func newFields(text string, item []arg, names []string) (*fields, error) {
	f := &fields{text: text, kind: item[0].value, args: map[string]token{}}
	positional := names
	if i := slices.Index(names, ""); i >= 0 {
		positional = names[:i]
	}
	for i, a := range item[1:] {
		name := a.name
		if name.text == "" {
			if i >= len(positional) {
				return nil, newError(text, a.value.pos, fmt.Sprintf("%s: takes no further field without a name%s", f.kind.text, known(names)))
			}
			name = token{positional[i], a.value.pos}
		} else if !slices.Contains(names, name.text) {
			return nil, newError(text, name.pos, fmt.Sprintf("%s: has no field %q%s", f.kind.text, name.text, known(names)))
		}
		if _, twice := f.args[name.text]; twice {
			return nil, newError(text, name.pos, fmt.Sprintf("the field %q is given twice", name.text))
		}
		f.args[name.text] = a.value
	}
	return f, nil
}

func known(names []string) string {
	named := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
	if len(named) == 0 {
		return ""
	}
	return " (it has " + strings.Join(named, ", ") + ")"
}

func (f *fields) fail(pos int, format string, a ...any) {
	if f.err == nil {
		f.err = newError(f.text, pos, fmt.Sprintf(format, a...))
	}
}

func (f *fields) has(name string) bool { _, ok := f.args[name]; return ok }

// opt returns the text of a field, or "" if it is not given.
func (f *fields) opt(name string) string { return f.args[name].text }

// need returns the text of a field that must be there and not empty.
func (f *fields) need(name string) string {
	t, ok := f.args[name]
	switch {
	case !ok:
		f.fail(f.kind.pos, "%s: needs a field %s", f.kind.text, name)
	case t.text == "":
		f.fail(min(t.pos, len(f.text)), "the field %s is empty", name)
	}
	return t.text
}

// number returns a field's value, or def if it is not given.
func (f *fields) number(name string, least, most, def int) int {
	t, ok := f.args[name]
	if !ok {
		return def
	}
	n, err := strconv.Atoi(t.text)
	if err != nil || n < least || n > most || t.text[0] == '+' {
		f.fail(min(t.pos, len(f.text)), "%s must be a number from %d to %d, not %q", name, least, most, t.text)
	}
	return n
}

// port is number for a port that must be given.
func (f *fields) port(name string, least int) int {
	f.need(name)
	return f.number(name, least, 65535, 0)
}

// flag reads 0, 1, true, false and their like.
func (f *fields) flag(name string, def bool) bool {
	t, ok := f.args[name]
	if !ok {
		return def
	}
	switch strings.ToLower(t.text) {
	case "1", "true", "yes", "on":
		return true
	case "0", "false", "no", "off":
		return false
	}
	f.fail(min(t.pos, len(f.text)), "%s must be true or false, not %q", name, t.text)
	return false
}

// ip returns a field that must be an IP address: a name would have to be
// looked up before anything can listen.
func (f *fields) ip(name string) string {
	t, ok := f.args[name]
	if !ok || t.text == "" {
		return ""
	}
	if t.text == "localhost" {
		return "127.0.0.1"
	}
	a, err := netip.ParseAddr(t.text)
	if err != nil {
		f.fail(t.pos, "%s must be an IP address of this machine, not %q", name, t.text)
		return ""
	}
	return a.String()
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}
