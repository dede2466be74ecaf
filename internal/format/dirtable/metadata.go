package dirtable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMetadata is the most metadata of one child that is written, in bytes.
const MaxMetadata = 64 << 10

// Fields of the metadata that mean something here.
const (
	keyTahoe   = "tahoe" // {linkcrtime, linkmotime}: seconds, kept by directories themselves
	keyCreated = "linkcrtime"
	keyChanged = "linkmotime"
	keyCtime   = "ctime" // what linkcrtime was called before 2009
	keyMtime   = "mtime"
	keyNoWrite = "no-write"
)

// Metadata is a JSON object about the link to a child. Fields keep their order;
// when they are put into a table they are spelled as the reference spells them. The zero Metadata is an empty
// object. It is comparable.
type Metadata struct{ text string }

// ParseMetadata reads a JSON object. ErrSyntax if it is none.
func ParseMetadata(b []byte) (Metadata, error) {
	if !utf8.Valid(b) {
		return Metadata{}, fmt.Errorf("metadata: %w: not UTF-8", ErrSyntax)
	}
	if _, err := parseFields(string(b)); err != nil {
		return Metadata{}, err
	}
	return Metadata{string(b)}, nil
}

// JSON returns the object, as it was read.
func (m Metadata) JSON() []byte {
	if m.text == "" {
		return []byte("{}")
	}
	return []byte(m.text)
}

// MarshalJSON returns the object.
func (m Metadata) MarshalJSON() ([]byte, error) { return m.JSON(), nil }

// Get returns the JSON of a field.
func (m Metadata) Get(key string) (json.RawMessage, bool) { return m.fields().get(key) }

// Created is when the child was linked here first, if that is known.
func (m Metadata) Created() (time.Time, bool) { return m.fields().time(keyCreated, keyCtime) }

// Changed is when the link or its metadata were changed last, if that is known.
func (m Metadata) Changed() (time.Time, bool) { return m.fields().time(keyChanged, keyMtime) }

// NoWrite reports whether the link is to hold no write cap.
func (m Metadata) NoWrite() bool {
	if !strings.Contains(m.text, keyNoWrite) && !strings.Contains(m.text, `\`) {
		return false // not even spelled with escapes
	}
	raw, ok := m.Get(keyNoWrite)
	if !ok {
		return false
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return true // a number beyond float64
	}
	switch v := v.(type) { // what Python takes for true
	case nil:
		return false
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

func (m Metadata) fields() fields {
	f, err := parseFields(m.text)
	if err != nil {
		panic("dirtable: internal error: " + err.Error()) // ParseMetadata has read it
	}
	return f
}

// updated is the metadata of a link after a change at now: given takes the
// place of all but what directories keep themselves; nil leaves the old.
func (m Metadata) updated(given *Metadata, now time.Time) Metadata {
	old := m.fields()
	f := old
	if given != nil {
		f = given.fields().without(keyTahoe)
		if tahoe, ok := old.get(keyTahoe); ok {
			f = f.with(keyTahoe, tahoe)
		}
	}
	tahoe, _ := f.get(keyTahoe)
	times, err := parseFields(string(tahoe))
	if err != nil {
		times = nil
	}
	stamp := seconds(now)
	if _, ok := times.get(keyCreated); !ok {
		created, ok := old.get(keyCtime)
		if !ok {
			created = stamp
		}
		times = times.with(keyCreated, created)
	}
	times = times.with(keyChanged, stamp)
	return Metadata{f.with(keyTahoe, times.append(nil)).String()}
}

// seconds writes a time as Python's float, which has microseconds.
func seconds(t time.Time) json.RawMessage {
	s := strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.RawMessage(s)
}

// fields are those of an object, in order.
type fields []field

type field struct {
	key   string
	label string // the key in JSON, as it came
	value json.RawMessage
}

// parseFields reads an object; an empty text is one without fields. Of two
// alike the last counts.
func parseFields(text string) (fields, error) {
	if text == "" {
		return nil, nil
	}
	bad := fmt.Errorf("metadata: %w: not a JSON object", ErrSyntax)
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	var f fields
	index := map[string]int{}
	for d.More() {
		start := d.InputOffset()
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, bad
		}
		label := strings.TrimLeft(text[start:d.InputOffset()], ", \t\r\n")
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, bad
		}
		if i, twice := index[key]; twice {
			f[i].value = value
			continue
		}
		index[key] = len(f)
		f = append(f, field{key, label, value})
	}
	if _, err := d.Token(); err != nil || strings.TrimSpace(text[d.InputOffset():]) != "" {
		return nil, bad
	}
	return f, nil
}

func (f fields) get(key string) (json.RawMessage, bool) {
	for _, e := range f {
		if e.key == key {
			return e.value, true
		}
	}
	return nil, false
}

// with returns a copy in which key has value, in its place or at the end.
func (f fields) with(key string, value json.RawMessage) fields {
	out := append(fields(nil), f...)
	for i := range out {
		if out[i].key == key {
			out[i].value = value
			return out
		}
	}
	label, _ := json.Marshal(key) // a string always can
	return append(out, field{key, string(label), value})
}

func (f fields) without(key string) fields {
	var out fields
	for _, e := range f {
		if e.key != key {
			out = append(out, e)
		}
	}
	return out
}

// append writes the object as Python spaces it.
func (f fields) append(b []byte) []byte {
	b = append(b, '{')
	for i, e := range f {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, e.label...), ": "...), bytes.TrimSpace(e.value)...)
	}
	return append(b, '}')
}

// String is the object's JSON.
func (f fields) String() string { return string(f.append(nil)) }

// time reads seconds from a field of "tahoe", else from an older one.
func (f fields) time(key, older string) (time.Time, bool) {
	tahoe, _ := f.get(keyTahoe)
	if times, err := parseFields(string(tahoe)); err == nil {
		if raw, ok := times.get(key); ok {
			return parseSeconds(raw)
		}
	}
	raw, ok := f.get(older)
	if !ok {
		return time.Time{}, false
	}
	return parseSeconds(raw)
}

func parseSeconds(raw json.RawMessage) (time.Time, bool) {
	s, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsNaN(s) || math.Abs(s) > 1e11 { // some 3,000 years
		return time.Time{}, false
	}
	return time.UnixMicro(int64(math.Round(s * 1e6))), true
}

// Metadata returns the child's metadata. ErrSyntax when the directory holds
// nonsense.
func (e Entry) Metadata() (Metadata, error) {
	r := e.table.records[e.name]
	if r == nil {
		return Metadata{}, ErrNoChild
	}
	return ParseMetadata(r.details)
}
