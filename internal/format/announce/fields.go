package announce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"tahoe-go/internal/kit/redact"
)

// fields are the top level of a message. A field that is null counts as
// absent. Names are matched exactly, which encoding/json would not do for a
// struct; of two alike the last counts, as for the reference.
type fields map[string]json.RawMessage

func parseFields(msg string) (fields, error) {
	if len(msg) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrSyntax, len(msg))
	}
	if !utf8.ValidString(msg) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	if depth(msg) > maxDepth {
		return nil, fmt.Errorf("%w: nested too deeply", ErrSyntax)
	}
	var f fields
	if err := json.Unmarshal([]byte(msg), &f); err != nil || f == nil {
		return nil, fmt.Errorf("%w: not a JSON object", ErrSyntax) // its error might show the text
	}
	return f, nil
}

// depth is how deeply brackets are nested, if the text is JSON.
func depth(s string) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func (f fields) has(key string) bool {
	raw, ok := f[key]
	return ok && string(bytes.TrimSpace(raw)) != "null"
}

// text reads a string, "" if absent.
func (f fields) text(key string, most int) (string, error) {
	var s string
	if !f.has(key) {
		return "", nil
	}
	if err := json.Unmarshal(f[key], &s); err != nil {
		return "", fmt.Errorf("%w: %s is not a string", ErrSyntax, key)
	}
	if len(s) > most {
		return "", fmt.Errorf("%w: %s has %d bytes, limit %d", ErrSyntax, key, len(s), most)
	}
	return s, nil
}

// seqnum reads the sequence number. What is not an integer does not count, as
// for the reference; one that no program of ours would count to is an error.
func (f fields) seqnum() (n int64, ok bool, err error) {
	raw := strings.TrimSpace(string(f["seqnum"]))
	if raw == "" || strings.Trim(raw, "-0123456789") != "" {
		return 0, false, nil
	}
	if n, err = strconv.ParseInt(raw, 10, 64); err != nil {
		return 0, false, fmt.Errorf("%w: seqnum out of range", ErrSyntax)
	}
	return n, true, nil
}

// list reads a list, or the members of a set: YAML has one as a mapping to
// nulls.
func (f fields) list(key string, most int) ([]json.RawMessage, error) {
	if !f.has(key) {
		return nil, nil
	}
	var list []json.RawMessage
	var set map[string]any
	if json.Unmarshal(f[key], &list) != nil {
		if json.Unmarshal(f[key], &set) != nil {
			return nil, fmt.Errorf("%w: %s is not a list", ErrSyntax, key)
		}
		for _, member := range sortedKeys(set) {
			text, _ := json.Marshal(member) // a string always can
			list = append(list, text)
		}
	}
	if len(list) > most {
		return nil, fmt.Errorf("%w: %s has %d entries, limit %d", ErrSyntax, key, len(list), most)
	}
	return list, nil
}

// Fields returns all fields of the announcement, also those that mean nothing
// to this program: string, bool, int64, float64, nil, []any and
// map[string]any. The caller owns them. They hold the swissnum.
func (a *Announcement) Fields() map[string]any {
	d := json.NewDecoder(strings.NewReader(a.msg.Reveal()))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		panic("announce: internal error: " + err.Error()) // parse has read it
	}
	return plain(m).(map[string]any)
}

// plain replaces JSON's numbers by Go's.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if x, err := v.Float64(); err == nil {
			return x
		}
		return v.String() // beyond both: nobody counts that far
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

// Entry returns the announcement as a client's cache of an introducer keeps
// it: "ann" with all fields, "key_s" with the key.
func (a *Announcement) Entry() map[string]any {
	return map[string]any{"ann": a.Fields(), "key_s": a.Key.String()}
}

// ParseEntry reads what Entry returns, after a trip through YAML.
func ParseEntry(entry map[string]any) (*Announcement, error) {
	text, _ := entry["key_s"].(string)
	key, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("cached announcement: %w", err)
	}
	ann, _ := entry["ann"].(map[string]any)
	msg, err := toJSON(ann)
	if err != nil {
		return nil, fmt.Errorf("cached announcement: %w", err)
	}
	return parse(key, redact.New(msg))
}

// toJSON writes fields that came from elsewhere. Numbers that JSON has no
// words for and strange types are ErrSyntax.
func toJSON(ann map[string]any) (string, error) {
	if ann == nil {
		return "", fmt.Errorf("%w: no fields", ErrSyntax)
	}
	if err := checkPlain(ann, 0); err != nil {
		return "", err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(ann); err != nil {
		return "", fmt.Errorf("%w: not to be written as JSON", ErrSyntax)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func checkPlain(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: nested too deeply", ErrSyntax)
	}
	switch v := v.(type) {
	case nil, bool, int, int64, uint64:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: no number", ErrSyntax)
		}
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("%w: not UTF-8", ErrSyntax)
		}
	case []any:
		for _, e := range v {
			if err := checkPlain(e, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range v {
			if err := checkPlain(e, depth+1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%w: a %T", ErrSyntax, v)
	}
	return nil
}
