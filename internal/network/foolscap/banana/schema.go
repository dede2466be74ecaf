package banana

import (
	"fmt"
	"math"
	"math/big"
	"sync"
	"unicode/utf8"
)

// Schema says which values are welcome. A Decoder asks it as the tokens
// arrive, so that what is refused costs no memory. Schemas are immutable,
// except for those of Into, and may be shared.
type Schema struct {
	kind     kind
	min, max int64     // of a number, or of a length
	key      *Schema   // of a dict
	elem     *Schema   // of a list, set or dict
	fields   []*Schema // of a tuple; the alternatives of a choice
	class    string    // of a copyable
	into     *sink
}

type kind byte

const (
	anyKind kind = iota
	noneKind
	boolKind
	intKind
	bytesKind
	textKind
	listKind
	setKind
	tupleKind
	dictKind
	choiceKind
	referenceKind
	copyableKind
)

var kindNames = [...]string{"anything", "none", "a boolean", "a number", "bytes", "text", "a list", "a set", "a tuple", "a dict", "one of several", "a reference", "an object"}

var anySchema = &Schema{kind: anyKind}

// Any takes every value that fits the limits of the message.
func Any() *Schema { return anySchema }

// None takes None. The result is nil.
func None() *Schema { return &Schema{kind: noneKind} }

// Bool takes a boolean. The result is a bool.
func Bool() *Schema { return &Schema{kind: boolKind} }

// Int takes a number from min to max. The result is an int64.
func Int(min, max int64) *Schema { return &Schema{kind: intKind, min: min, max: max} }

// Size takes a number that can be a size or an offset, in bytes: an int64 that
// is not negative.
func Size() *Schema { return Int(0, math.MaxInt64) }

// Bytes takes at most max bytes. The result is a []byte.
func Bytes(max int64) *Schema { return &Schema{kind: bytesKind, max: max} }

// Fixed takes exactly n bytes. The result is a []byte.
func Fixed(n int64) *Schema { return &Schema{kind: bytesKind, min: n, max: n} }

// Text takes unicode of at most max bytes of UTF-8. The result is a string.
func Text(max int64) *Schema { return &Schema{kind: textKind, max: max} }

// ListOf takes a list of at most max values. The result is a List.
func ListOf(elem *Schema, max int) *Schema {
	return &Schema{kind: listKind, elem: elem, max: int64(max)}
}

// SetOf takes a set or an immutable set of at most max values. The result is a
// Set.
func SetOf(elem *Schema, max int) *Schema {
	return &Schema{kind: setKind, elem: elem, max: int64(max)}
}

// TupleOf takes a tuple of exactly these values. The result is a Tuple.
func TupleOf(fields ...*Schema) *Schema { return &Schema{kind: tupleKind, fields: fields} }

// DictOf takes a dict of at most max entries. The result is a Dict.
func DictOf(key, value *Schema, max int) *Schema {
	return &Schema{kind: dictKind, key: key, elem: value, max: int64(max)}
}

// Choice takes what one of the alternatives takes. They are told apart by
// their kind alone.
func Choice(alternatives ...*Schema) *Schema {
	return &Schema{kind: choiceKind, fields: alternatives}
}

// Reference takes a reference to an object: what Decoder.Refs makes of it.
func Reference() *Schema { return &Schema{kind: referenceKind} }

// CopyableOf takes an object of this class with at most max attributes. The
// result is a Copyable.
func CopyableOf(class string, attr *Schema, max int) *Schema {
	return &Schema{kind: copyableKind, class: class, elem: attr, max: int64(max)}
}

// Into takes at most len(p) bytes and puts them into p. The result is the part
// of p that was filled. Such a schema is for one use, and not for a part of
// another. After Detach nothing is written to p any more.
func Into(p []byte) *Schema {
	return &Schema{kind: bytesKind, max: int64(len(p)), into: &sink{p: p}}
}

// Detach ends writing to the buffer of Into; what comes later is dropped. It
// may be called from any goroutine, and for schemas without a buffer.
func (s *Schema) Detach() {
	if s != nil && s.into != nil {
		s.into.detach()
	}
}

// sink is a buffer that its owner may take back at any time.
type sink struct {
	mu  sync.Mutex // guards below
	p   []byte
	off int
}

func (s *sink) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p = nil
}

func (s *sink) write(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p != nil {
		s.off += copy(s.p[s.off:], b)
	}
}

func (s *sink) filled() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p == nil {
		return nil
	}
	return s.p[:s.off]
}

// pick returns the schema that judges a value of kind k: s itself, or one of
// its alternatives.
func (s *Schema) pick(k kind) (*Schema, error) {
	switch s.kind {
	case anyKind, k:
		return s, nil
	case choiceKind:
		for _, a := range s.fields {
			if got, err := a.pick(k); err == nil {
				return got, nil
			}
		}
	}
	return nil, violation("%s where %s belongs", kindNames[k], kindNames[s.kind])
}

func (s *Schema) checkLen(what string, n int64) error {
	if s.kind == anyKind {
		return nil
	}
	if n > s.max {
		return violation("%s: %d, of which %d are allowed", what, n, s.max)
	}
	if n < s.min {
		return violation("%s: %d, of which %d are wanted", what, n, s.min)
	}
	return nil
}

func (s *Schema) checkInt(n int64) error {
	if s.kind == intKind && (n < s.min || n > s.max) {
		return violation("a number that is not between %d and %d", s.min, s.max)
	}
	return nil
}

// elemSchema judges the members of a list, set or dict.
func (s *Schema) elemSchema() *Schema {
	if s.elem == nil {
		return anySchema
	}
	return s.elem
}

func (s *Schema) keySchema() *Schema {
	if s.key == nil {
		return anySchema
	}
	return s.key
}

// fieldSchema judges field i of a tuple.
func (s *Schema) fieldSchema(i int) (*Schema, error) {
	if s.kind == anyKind {
		return anySchema, nil
	}
	if i >= len(s.fields) {
		return nil, violation("a tuple with more than %d values", len(s.fields))
	}
	return s.fields[i], nil
}

// check judges a value that is complete: one that another part of the message
// refers to. Its depth is bounded by that of the message.
func (s *Schema) check(v any) error {
	switch v := v.(type) {
	case nil:
		_, err := s.pick(noneKind)
		return err
	case bool:
		_, err := s.pick(boolKind)
		return err
	case int64:
		s, err := s.pick(intKind)
		if err != nil {
			return err
		}
		return s.checkInt(v)
	case *big.Int, float64:
		if s.kind != anyKind {
			return violation("a number where %s belongs", kindNames[s.kind])
		}
		return nil
	case []byte:
		s, err := s.pick(bytesKind)
		if err != nil {
			return err
		}
		return s.checkLen("bytes", int64(len(v)))
	case string:
		s, err := s.pick(textKind)
		if err != nil {
			return err
		}
		return s.checkLen("bytes of text", int64(len(v)))
	case List:
		return s.checkAll(listKind, v)
	case Set:
		return s.checkAll(setKind, v)
	case FrozenSet:
		return s.checkAll(setKind, v)
	case Tuple:
		return s.checkTuple(v)
	case Dict:
		return s.checkDict(dictKind, v)
	case Copyable:
		return s.checkDict(copyableKind, v.Attrs)
	default:
		_, err := s.pick(referenceKind)
		return err
	}
}

func (s *Schema) checkAll(k kind, vs []any) error {
	s, err := s.pick(k)
	if err != nil {
		return err
	}
	if err := s.checkLen("values", int64(len(vs))); err != nil {
		return err
	}
	for _, v := range vs {
		if err := s.elemSchema().check(v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schema) checkTuple(vs Tuple) error {
	s, err := s.pick(tupleKind)
	if err != nil {
		return err
	}
	for i, v := range vs {
		f, err := s.fieldSchema(i)
		if err != nil {
			return err
		}
		if err := f.check(v); err != nil {
			return err
		}
	}
	return s.checkFields(len(vs))
}

// checkFields: a tuple has all its values.
func (s *Schema) checkFields(n int) error {
	if s.kind == tupleKind && n < len(s.fields) {
		return violation("a tuple of %d values where %d belong", n, len(s.fields))
	}
	return nil
}

func (s *Schema) checkDict(k kind, d Dict) error {
	s, err := s.pick(k)
	if err != nil {
		return err
	}
	if err := s.checkLen("entries", int64(len(d))); err != nil {
		return err
	}
	for _, p := range d {
		if err := s.keySchema().check(p.Key); err != nil {
			return err
		}
		if err := s.elemSchema().check(p.Value); err != nil {
			return err
		}
	}
	return nil
}

func validText(b []byte) error {
	if !utf8.Valid(b) {
		return violation("text that is not UTF-8")
	}
	return nil
}

// String names the kind, for errors.
func (s *Schema) String() string { return fmt.Sprintf("schema(%s)", kindNames[s.kind]) }
