package dirtable

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// canonical is how a directory holds m.
func (m Metadata) canonical() []byte { return []byte(canonical(string(m.JSON()))) }

// canonical writes valid JSON as the reference writes what it has read: spaces
// after commas and colons only, text in ASCII, the shortest form of fractions.
// So equal immutable directories have equal caps, whoever makes them. Order and
// what cannot be told apart from it stay.
func canonical(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case ',', ':':
			b.WriteByte(c)
			b.WriteByte(' ')
			i++
		case '"':
			end := stringEnd(text, i)
			writeString(&b, text[i:end])
			i = end
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			end := i + 1
			for end < len(text) && strings.IndexByte("0123456789+-.eE", text[end]) >= 0 {
				end++
			}
			writeNumber(&b, text[i:end])
			i = end
		default: // brackets, true, false, null
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// stringEnd is where the string that begins at i has ended.
func stringEnd(text string, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(text))
}

// short are the characters that have escapes of one letter.
var short = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func writeString(b *strings.Builder, quoted string) {
	var s string
	if err := json.Unmarshal([]byte(quoted), &s); err != nil || strings.ContainsRune(s, '\uFFFD') {
		b.WriteString(quoted) // half of a surrogate pair, perhaps: nothing else would say the same
		return
	}
	b.WriteByte('"')
	for _, r := range s {
		switch esc, ok := short[r]; {
		case ok:
			b.WriteString(esc)
		case r >= ' ' && r <= '\x7f':
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}

// writeNumber writes whole numbers as they are and others as Python does a
// float.
func writeNumber(b *strings.Builder, s string) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !strings.ContainsAny(s, ".eE") {
		b.WriteString(s)
		return
	}
	b.WriteString(float(x))
}

// float is Python's repr of a finite float.
func float(x float64) string {
	if a := math.Abs(x); x != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
