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

// Cost is what a Decoder counts for a value, roughly: see Decoder.Begin.
func Cost(v any) int64 {
	n := int64(nodeCost)
	switch v := v.(type) {
	case []byte:
		n += int64(len(v))
	case string:
		n += nodeCost + int64(len(v))
	case List:
		n += costs(v)
	case Tuple:
		n += costs(v)
	case Set:
		n += costs(v)
	case FrozenSet:
		n += costs(v)
	case Dict:
		for _, p := range v {
			n += Cost(p.Key) + Cost(p.Value)
		}
	case Copyable:
		n += Cost(v.Attrs)
	}
	return n
}

func costs(vs []any) int64 {
	var n int64
	for _, v := range vs {
		n += Cost(v)
	}
	return n
}
