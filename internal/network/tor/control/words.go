package control

import (
	"strings"
)

// Event is something tor reports on its own.
type Event struct {
	Name  string            // "HS_DESC", "STATUS_CLIENT", …
	Words []string          // what follows, without the KEY=VALUE words
	Keys  map[string]string // KEY=VALUE words, unquoted
	Text  string            // everything after the name, printable
}

// parseEvents reads the events of one reply with a code of 6xx.
func parseEvents(r Reply) []Event {
	var events []Event
	for _, l := range r.Lines {
		name, rest, _ := strings.Cut(l.Text, " ")
		e := Event{Name: name, Text: printable(rest)}
		e.Words, e.Keys = splitWords(rest)
		events = append(events, e)
	}
	return events
}

// splitWords splits at spaces into plain words and KEY=VALUE words. Values, and
// plain words too, may stand in quotes.
func splitWords(s string) (words []string, keys map[string]string) {
	keys = map[string]string{}
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return words, keys
		}
		var key, value string
		if i := strings.IndexAny(s, ` ="`); i > 0 && s[i] == '=' {
			key, s = s[:i], s[i+1:]
		}
		if strings.HasPrefix(s, `"`) {
			value, s = unquote(s)
		} else {
			value, s, _ = strings.Cut(s, " ")
		}
		if key == "" {
			words = append(words, value)
		} else {
			keys[key] = value
		}
	}
}

// unquote reads the quoted string that s begins with and returns what follows.
// A string without a closing quote goes to the end.
func unquote(s string) (value, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:]
		case c == '\\' && i+1 < len(s):
			n := unescape(&b, s[i+1:])
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// unescape writes the byte that the text after a backslash means and returns
// how long that text is: n, r, t, up to three octal digits, or the byte itself
// (control-spec, "Notes on an escaping bug").
func unescape(b *strings.Builder, s string) int {
	if s[0] >= '0' && s[0] <= '7' {
		n, v := 0, 0
		for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' && v*8+int(s[n]-'0') <= 255 {
			v = v*8 + int(s[n]-'0')
			n++
		}
		b.WriteByte(byte(v))
		return n
	}
	switch s[0] {
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	default:
		b.WriteByte(s[0])
	}
	return 1
}

// Quote writes s as a quoted string, for commands and for torrc.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
