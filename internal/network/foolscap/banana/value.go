package banana

import "slices"

// Values. What a Decoder returns and an Encoder takes is one of
//
//	nil                 none
//	bool                boolean
//	int64, *big.Int     a number; *big.Int only where int64 is too small
//	float64             a float
//	[]byte              Python's bytes: a bare STRING
//	string              Python's str: unicode
//	List, Tuple, Set, FrozenSet, Dict
//	Copyable            an object sent by value
//
// or something that Encoder.Other or Decoder.Refs knows. An Encoder also takes
// int, uint32 and uint64. Sets and dicts keep the order of the wire.
type (
	List      []any
	Tuple     []any
	Set       []any
	FrozenSet []any
	Dict      []Pair
)

// Pair is an entry of a Dict.
type Pair struct{ Key, Value any }

// Get returns the value whose key is these bytes.
func (d Dict) Get(key string) (any, bool) {
	i := slices.IndexFunc(d, func(p Pair) bool {
		b, ok := p.Key.([]byte)
		return ok && string(b) == key
	})
	if i < 0 {
		return nil, false
	}
	return d[i].Value, true
}

// Copyable is an object sent by value: a class name and attributes. The keys
// of Attrs are []byte.
type Copyable struct {
	Class string
	Attrs Dict
}

// key is what makes a value equal to another as a key of a dict or a member of
// a set; ok is false for what Python could not hash, and for tuples.
func key(v any) (k any, ok bool) {
	type bytesKey string // apart from unicode
	switch v := v.(type) {
	case []byte:
		return bytesKey(v), true
	case bool: // True == 1 in Python
		if v {
			return int64(1), true
		}
		return int64(0), true
	case nil, string, int64:
		return v, true
	}
	return nil, false
}
