package webapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonWriter writes JSON piece by piece, so that a listing need not be held,
// with the spaces of the Python gateway: a line for each value, one space for
// each level, and ASCII only. Errors stay in w until it is flushed.
type jsonWriter struct {
	w     *bufio.Writer
	depth int
	full  bool // the present object or array has something in it
}

func newJSONWriter(w io.Writer) *jsonWriter {
	return &jsonWriter{w: bufio.NewWriterSize(w, 64<<10)}
}

// begin opens an object or array.
func (j *jsonWriter) begin(b byte) {
	j.w.WriteByte(b)
	j.depth++
	j.full = false
}

// end closes it.
func (j *jsonWriter) end(b byte) {
	j.depth--
	if j.full {
		j.line()
	}
	j.w.WriteByte(b)
	j.full = true
}

func (j *jsonWriter) line() {
	j.w.WriteByte('\n')
	for range j.depth {
		j.w.WriteByte(' ')
	}
}

// next comes before each value of an array, and in key.
func (j *jsonWriter) next() {
	if j.full {
		j.w.WriteByte(',')
	}
	j.line()
	j.full = true
}

// key comes before each value of an object.
func (j *jsonWriter) key(name string) {
	j.next()
	j.text(name)
	j.w.WriteString(": ")
}

func (j *jsonWriter) text(s string) { j.w.Write(appendJSON(j.w.AvailableBuffer(), s)) }

func (j *jsonWriter) number(n int64) { j.w.Write(strconv.AppendInt(j.w.AvailableBuffer(), n, 10)) }

func (j *jsonWriter) bool(b bool) { j.w.Write(strconv.AppendBool(j.w.AvailableBuffer(), b)) }

// raw writes JSON that is there already.
func (j *jsonWriter) raw(b []byte) {
	var out bytes.Buffer
	prefix := string(bytes.Repeat([]byte(" "), j.depth))
	if json.Indent(&out, bytes.TrimSpace(b), prefix, " ") != nil {
		j.w.WriteString("null")
		return
	}
	asciiJSON{j.w}.Write(out.Bytes())
}

// asciiJSON writes JSON, whole values at a time, with escapes for all that is
// not ASCII.
type asciiJSON struct{ w *bufio.Writer }

func (a asciiJSON) Write(b []byte) (n int, err error) {
	n = len(b)
	for len(b) > 0 {
		plain := slices.IndexFunc(b, func(c byte) bool { return c >= utf8.RuneSelf })
		if plain < 0 {
			plain = len(b)
		}
		if _, err = a.w.Write(b[:plain]); err != nil || plain == len(b) {
			return n, err
		}
		r, size := utf8.DecodeRune(b[plain:])
		b = b[plain+size:]
		if r > 0xffff {
			hi, lo := utf16.EncodeRune(r)
			a.w.Write(appendEscape(appendEscape(a.w.AvailableBuffer(), hi), lo))
		} else {
			a.w.Write(appendEscape(a.w.AvailableBuffer(), r))
		}
	}
	return n, nil
}

const hex = "0123456789abcdef"

// appendJSON appends s in quotes.
func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r >= ' ' && r < utf8.RuneSelf && r != 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = appendEscape(appendEscape(b, hi), lo)
		default:
			b = appendEscape(b, r)
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// texts writes an array of strings.
func (j *jsonWriter) texts(list []string) {
	j.begin('[')
	for _, s := range list {
		j.next()
		j.text(s)
	}
	j.end(']')
}

// value writes what encoding/json makes of v.
func (j *jsonWriter) value(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("null")
	}
	j.raw(b)
}
