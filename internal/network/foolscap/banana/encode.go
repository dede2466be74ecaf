package banana

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
)

// Encoder appends tokens to Buf. The zero value is ready. It is not for
// concurrent use.
type Encoder struct {
	// Buf is what has been encoded. Whoever takes it away resets it.
	Buf []byte
	// Other encodes values of types that this package does not know.
	Other func(e *Encoder, v any) error

	opens uint64 // the number of the next OPEN
}

// Mark is a place to which an Encoder can go back.
type Mark struct {
	len   int
	opens uint64
}

// Mark returns the present place.
func (e *Encoder) Mark() Mark { return Mark{len: len(e.Buf), opens: e.opens} }

// Reset undoes all since m.
func (e *Encoder) Reset(m Mark) { e.Buf, e.opens = e.Buf[:m.len], m.opens }

func (e *Encoder) token(kind byte, n uint64) {
	if n == 0 {
		e.Buf = append(e.Buf, 0, kind)
		return
	}
	for ; n > 0; n >>= 7 {
		e.Buf = append(e.Buf, byte(n&0x7f))
	}
	e.Buf = append(e.Buf, kind)
}

// Open begins a sequence; the result is for Close.
func (e *Encoder) Open(opentype string) uint64 {
	n := e.opens
	e.opens++
	e.token(OPEN, n)
	e.Bytes([]byte(opentype))
	return n
}

// Close ends the sequence that Open began.
func (e *Encoder) Close(n uint64) { e.token(CLOSE, n) }

// Ping asks for Pong(n), unless n is zero written without a header, as
// Foolscap does.
func (e *Encoder) Ping(n uint64) { e.bare(PING, n) }

// Pong answers a PING.
func (e *Encoder) Pong(n uint64) { e.bare(PONG, n) }

func (e *Encoder) bare(kind byte, n uint64) {
	if n == 0 {
		e.Buf = append(e.Buf, kind)
		return
	}
	e.token(kind, n)
}

// Error tells the peer why the connection is about to end.
func (e *Encoder) Error(text string) {
	text = text[:min(len(text), MaxErrorText)]
	e.token(ERROR, uint64(len(text)))
	e.Buf = append(e.Buf, text...)
}

// Bytes appends a STRING, or a VOCAB if b is a word of the vocabulary.
func (e *Encoder) Bytes(b []byte) {
	if len(b) <= longestWord {
		if i, ok := wordIndex[string(b)]; ok {
			e.token(VOCAB, i)
			return
		}
	}
	e.Buf = grow(e.Buf, len(b)+16)
	e.token(STRING, uint64(len(b)))
	e.Buf = append(e.Buf, b...)
}

// Int appends a number in the form Foolscap gives it: 32 bits as INT or NEG,
// more as LONGINT or LONGNEG.
func (e *Encoder) Int(n int64) {
	switch {
	case n < math.MinInt32:
		e.long(LONGNEG, uint64(-n)) // right for the least int64, too
	case n < 0:
		e.token(NEG, uint64(-n))
	default:
		e.Uint(uint64(n))
	}
}

// Uint appends a number that is not negative.
func (e *Encoder) Uint(n uint64) {
	if n > math.MaxInt32 {
		e.long(LONGINT, n)
		return
	}
	e.token(INT, n)
}

func (e *Encoder) long(kind byte, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	i := 0
	for b[i] == 0 {
		i++
	}
	e.token(kind, uint64(8-i))
	e.Buf = append(e.Buf, b[i:]...)
}

func (e *Encoder) big(n *big.Int) {
	if n.IsInt64() {
		e.Int(n.Int64())
		return
	}
	kind := byte(LONGINT)
	if n.Sign() < 0 {
		kind = LONGNEG
	}
	b := n.Bytes()
	e.token(kind, uint64(len(b)))
	e.Buf = append(e.Buf, b...)
}

// Value appends any of the values of this package. After an error the Encoder
// must be Reset to a Mark before the value.
func (e *Encoder) Value(v any) error {
	switch v := v.(type) {
	case []byte:
		e.Bytes(v)
	case int:
		e.Int(int64(v))
	case int64:
		e.Int(v)
	case uint32:
		e.Uint(uint64(v))
	case uint64:
		e.Uint(v)
	case *big.Int:
		e.big(v)
	case float64:
		e.Buf = append(e.Buf, FLOAT)
		e.Buf = binary.BigEndian.AppendUint64(e.Buf, math.Float64bits(v))
	case nil:
		e.Close(e.Open("none"))
	case bool:
		n := e.Open("boolean")
		if v {
			e.Uint(1)
		} else {
			e.Uint(0)
		}
		e.Close(n)
	case string:
		n := e.Open("unicode")
		e.Bytes([]byte(v))
		e.Close(n)
	case List:
		return e.sequence("list", v)
	case Tuple:
		return e.sequence("tuple", v)
	case Set:
		return e.sequence("set", v)
	case FrozenSet:
		return e.sequence("immutable-set", v)
	case Dict:
		n := e.Open("dict")
		if err := e.pairs(v); err != nil {
			return err
		}
		e.Close(n)
	case Copyable:
		n := e.Open("copyable")
		e.Bytes([]byte(v.Class))
		if err := e.pairs(v.Attrs); err != nil {
			return err
		}
		e.Close(n)
	default:
		if e.Other == nil {
			return fmt.Errorf("banana: cannot encode %T", v)
		}
		return e.Other(e, v)
	}
	return nil
}

func (e *Encoder) sequence(opentype string, vs []any) error {
	n := e.Open(opentype)
	for _, v := range vs {
		if err := e.Value(v); err != nil {
			return err
		}
	}
	e.Close(n)
	return nil
}

func (e *Encoder) pairs(d Dict) error {
	for _, p := range d {
		if err := e.Value(p.Key); err != nil {
			return err
		}
		if err := e.Value(p.Value); err != nil {
			return err
		}
	}
	return nil
}
