package endpoint

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// MaxLength bounds the text of one value, in bytes, and maxItems a list.
const (
	MaxLength = 8 << 10
	maxItems  = 64
)

// Error says what is wrong with an endpoint and where.
type Error struct {
	Text string // the value; a private key in it and what follows are cut off
	Pos  int    // offset of the offending character, in bytes
	Why  string
}

func (e *Error) Error() string {
	text := e.Text
	if len(text) > 120 {
		text = text[:120] + "…"
	}
	return fmt.Sprintf("%q, character %d: %s", text, utf8.RuneCountInString(e.Text[:e.Pos])+1, e.Why)
}

// keyInText finds an onion service's key where a file name was meant.
var keyInText = regexp.MustCompile(`(?i)onion:.*?privatekey=`)

func newError(text string, pos int, why string) *Error {
	if secret := keyInText.FindStringIndex(text); secret != nil {
		text = text[:secret[1]]
	}
	return &Error{text, min(pos, len(text)), why}
}

// Caret returns the text and, on a line below it, a mark under the offending
// character.
func (e *Error) Caret() string {
	return e.Text + "\n" + strings.Repeat(" ", utf8.RuneCountInString(e.Text[:e.Pos])) + "^"
}

// token is a piece of the value with its escapes resolved.
type token struct {
	text string
	pos  int // where it starts, in bytes
}

// arg is one field between colons: VALUE or NAME=VALUE.
type arg struct {
	name  token // text is "" for positional fields
	value token
}

// lexer walks one value.
type lexer struct {
	text string
	pos  int
	end  int
}

// items splits a value at its commas and each item at its colons. The first
// arg of an item is its kind.
func items(text string) ([][]arg, error) {
	l := lexer{text: text, end: len(text)}
	if len(text) > MaxLength {
		return nil, newError(text[:MaxLength], 0, fmt.Sprintf("longer than %d bytes", MaxLength))
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }); i >= 0 {
		return nil, newError(text, i, "a character that cannot be part of an endpoint")
	}
	l.unquote()
	var list [][]arg
	for {
		item, err := l.item()
		if err != nil {
			return nil, err
		}
		if list = append(list, item); len(list) > maxItems {
			return nil, newError(text, l.pos, fmt.Sprintf("more than %d endpoints", maxItems))
		}
		if l.pos >= l.end {
			return list, nil
		}
		l.pos++ // the comma
	}
}

// unquote leaves out quotes around the whole value, and blanks.
func (l *lexer) unquote() {
	l.trim()
	if l.end-l.pos >= 2 && (l.text[l.pos] == '"' || l.text[l.pos] == '\'') && l.text[l.end-1] == l.text[l.pos] {
		l.pos++
		l.end--
		l.trim()
	}
}

func (l *lexer) trim() {
	for l.pos < l.end && l.text[l.pos] == ' ' {
		l.pos++
	}
	for l.end > l.pos && l.text[l.end-1] == ' ' && !strings.HasSuffix(l.text[l.pos:l.end], `\ `) {
		l.end--
	}
}

// item reads up to a comma or the end.
func (l *lexer) item() ([]arg, error) {
	for l.pos < l.end && l.text[l.pos] == ' ' {
		l.pos++
	}
	start := l.pos
	var args []arg
	for {
		first, err := l.token(":=,")
		if err != nil {
			return nil, err
		}
		a := arg{value: first}
		if l.at('=') {
			l.pos++
			value, err := l.token(":,")
			if err != nil {
				return nil, err
			}
			if first.text == "" {
				return nil, newError(l.text, first.pos, "no name before the equals sign")
			}
			a = arg{first, value}
		}
		args = append(args, a)
		if !l.at(':') {
			break
		}
		l.pos++
	}
	if len(args) == 1 && args[0].name.text == "" && args[0].value.text == "" {
		return nil, newError(l.text, min(start, len(l.text)), "an endpoint is missing here")
	}
	return args, nil
}

func (l *lexer) at(c byte) bool { return l.pos < l.end && l.text[l.pos] == c }

// token reads up to one of the stop characters. A token may be a bracketed
// IPv6 address, whose colons count as its own; the brackets are left out.
func (l *lexer) token(stops string) (token, error) {
	start := l.pos
	if inner, ok := l.bracketed(stops); ok {
		return token{inner, start}, nil
	}
	var b strings.Builder
	kept := 0 // length up to the last character that is no bare blank
	for l.pos < l.end && !strings.ContainsRune(stops, rune(l.text[l.pos])) {
		c := l.text[l.pos]
		if c == '\\' {
			l.pos++
			if l.pos == l.end {
				return token{}, newError(l.text, l.pos-1, "a backslash must be followed by the character that it protects")
			}
			c = l.text[l.pos]
			kept = b.Len() + 1
		}
		b.WriteByte(c)
		if c != ' ' {
			kept = b.Len()
		}
		l.pos++
	}
	text := b.String()
	if l.pos == l.end || l.text[l.pos] == ',' {
		text = text[:kept]
	}
	return token{text, start}, nil
}

func (l *lexer) bracketed(stops string) (string, bool) {
	if !l.at('[') {
		return "", false
	}
	n := strings.IndexByte(l.text[l.pos:l.end], ']')
	if n < 0 || !isIPv6(l.text[l.pos+1:l.pos+n]) {
		return "", false
	}
	after := l.pos + n + 1
	if after < l.end && !strings.ContainsRune(stops, rune(l.text[after])) {
		return "", false
	}
	inner := l.text[l.pos+1 : l.pos+n]
	l.pos = after
	return inner, true
}

var escaper = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`, `=`, `\=`)

// escape writes text so that token reads it back.
func escape(text string) string {
	text = escaper.Replace(text)
	for _, q := range []string{" ", `"`, "'", "["} {
		if rest, ok := strings.CutPrefix(text, q); ok {
			text = `\` + q + rest
		}
	}
	for _, q := range []string{" ", `"`, "'"} {
		if rest, ok := strings.CutSuffix(text, q); ok && !strings.HasSuffix(rest, `\`) {
			text = rest + `\` + q
		}
	}
	return text
}
