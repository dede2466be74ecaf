package banana

import (
	"encoding/binary"
	"io"
	"math"
	"math/big"
)

// Value reads one value that s welcomes.
func (d *Decoder) Value(s *Schema) (any, error) {
	t, err := d.next()
	if err != nil {
		return nil, unexpected(err)
	}
	err = d.spend(nodeCost)
	if err == nil {
		err = d.hold(nodeCost)
	}
	if err != nil {
		return nil, d.refuse(t, err)
	}
	switch t.kind {
	case OPEN:
		start := d.count
		opentype, err := d.opentype(t)
		if err != nil {
			return nil, err
		}
		return d.sequence(opentype, s, start)
	case VOCAB:
		s, err := s.pick(bytesKind)
		if err != nil {
			return nil, err
		}
		word := []byte(vocabulary[t.n])
		if err := s.checkLen("bytes", int64(len(word))); err != nil {
			return nil, err
		}
		if s.into != nil {
			s.into.write(word)
			return s.into.filled(), nil
		}
		return word, nil
	case STRING:
		s, err := s.pick(bytesKind)
		if err != nil {
			return nil, err
		}
		if err := s.checkLen("bytes", d.body); err != nil {
			return nil, err
		}
		return d.bytes(s)
	case INT, NEG, LONGINT, LONGNEG:
		s, err := s.pick(intKind)
		if err != nil {
			return nil, err
		}
		return d.number(t, s)
	case FLOAT:
		return d.float(s)
	}
	return nil, d.unwelcome(t, "a value")
}

func (d *Decoder) bytes(s *Schema) (any, error) {
	if s.into != nil {
		return d.fill(s.into)
	}
	if err := d.spend(d.body); err != nil {
		return nil, err
	}
	b, err := d.readBody()
	if err != nil {
		return nil, err
	}
	return b, nil
}

// fill reads a body into a buffer that may be taken away at any time.
func (d *Decoder) fill(into *sink) (any, error) {
	for d.body > 0 {
		if _, err := d.r.Peek(1); err != nil {
			return nil, unexpected(err)
		}
		b, _ := d.r.Peek(int(min(d.body, int64(d.r.Buffered()))))
		into.write(b)
		d.body -= int64(len(b))
		d.r.Discard(len(b))
	}
	return into.filled(), nil
}

// readBody reads the body of the present token, of a length that was checked.
// A large one takes memory as it arrives, so that announcing it costs nothing.
func (d *Decoder) readBody() ([]byte, error) {
	n := int(d.body)
	var b []byte
	if err := d.hold(min(n, room(smallest))); err != nil {
		return nil, err
	}
	if n <= smallest {
		b = make([]byte, 0, n)
	} else {
		b = GetBuffer(smallest)
	}
	for len(b) < n {
		if len(b) == cap(b) {
			var err error
			if b, err = d.growBody(b, n); err != nil {
				return nil, err
			}
		}
		m, err := io.ReadFull(d.r, b[len(b):min(cap(b), n)])
		b = b[:len(b)+m]
		d.body -= int64(m)
		if err != nil {
			return nil, unexpected(err)
		}
	}
	if n > smallest && d.pooled {
		d.loans = append(d.loans, b)
	}
	return b, nil
}

// growBody gives b four times the room, but not for more than n bytes.
func (d *Decoder) growBody(b []byte, n int) ([]byte, error) {
	if err := d.hold(room(min(4*cap(b), n)) - cap(b)); err != nil {
		PutBuffer(b)
		return nil, err
	}
	var bigger []byte
	if 4*cap(b) >= n && !d.pooled {
		bigger = make([]byte, 0, n) // its user keeps it: no more than it needs
	} else {
		bigger = GetBuffer(min(4*cap(b), n))
	}
	bigger = append(bigger, b...)
	PutBuffer(b)
	return bigger, nil
}

func (d *Decoder) number(t token, s *Schema) (any, error) {
	negative := t.kind == NEG || t.kind == LONGNEG
	mag := new(big.Int)
	switch {
	case !t.hasBody() && t.n <= math.MaxInt64:
		n := int64(t.n)
		if negative {
			n = -n
		}
		return n, s.checkInt(n)
	case !t.hasBody():
		mag.SetUint64(t.n)
	case t.n > maxNumber:
		return nil, violation("a number of more than %d bytes", maxNumber)
	default:
		b, err := d.readBody()
		if err != nil {
			return nil, err
		}
		mag.SetBytes(b)
	}
	if negative {
		mag.Neg(mag)
	}
	if mag.IsInt64() {
		return mag.Int64(), s.checkInt(mag.Int64())
	}
	if s.kind != anyKind {
		return nil, violation("a number that is not between %d and %d", s.min, s.max)
	}
	return mag, nil
}

func (d *Decoder) float(s *Schema) (any, error) {
	if s.kind != anyKind {
		return nil, violation("a float where %s belongs", kindNames[s.kind])
	}
	b, err := d.readBody()
	if err != nil {
		return nil, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}
