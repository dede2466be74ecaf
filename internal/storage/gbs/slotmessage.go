package gbs

import (
	"maps"
	"math"
	"slices"

	"tahoe-go/internal/storage"
)

// maxPatches bounds the writes in one call, of which each costs a server more
// memory than it may take on the wire.
const maxPatches = 1 << 18

// The keys of messages about slots, in the order they are written.
var (
	slotRequestKeys = []string{"test-write-vectors", "read-vector"}
	slotWriteKeys   = []string{"test", "write", "new-length"}
	slotTestKeys    = []string{"offset", "size", "specimen"}
	slotPatchKeys   = []string{"offset", "data"}
	slotSpanKeys    = []string{"offset", "size"}
	slotAnswerKeys  = []string{"success", "data"}
)

// slotRequest is the body of read-test-write. Its byte strings are parts of
// the message it was read from.
type slotRequest struct {
	writes map[storage.ShareNum]storage.SlotWrite
	spans  []storage.Span
}

// scanSlotRequest reads a whole message.
func scanSlotRequest(b []byte) (*slotRequest, error) {
	s := &scanner{b: b}
	m := new(slotRequest)
	patches := maxPatches
	s.record(slotRequestKeys, func(key int) {
		if key == 0 {
			m.writes = scanShares(s, func() storage.SlotWrite { return scanSlotWrite(s, &patches) })
			return
		}
		for range s.array(storage.MaxSlotVectors) {
			m.spans = append(m.spans, scanSpan(s))
		}
	})
	if !s.done() {
		return nil, errMessage
	}
	return m, nil
}

// scanShares reads a map by share number.
func scanShares[T any](s *scanner, value func() T) map[storage.ShareNum]T {
	out := make(map[storage.ShareNum]T)
	for range s.pairs(maxSet) {
		n := s.head(majorUint)
		num := storage.ShareNum(n)
		if _, double := out[num]; double || n > math.MaxUint8 {
			s.fail()
		}
		if s.bad {
			return nil
		}
		out[num] = value()
	}
	return out
}

// scanSlotWrite reads what is to be done to one share. patches is how many
// more there may be.
func scanSlotWrite(s *scanner, patches *int) (w storage.SlotWrite) {
	s.record(slotWriteKeys, func(key int) {
		switch key {
		case 0:
			for range s.array(storage.MaxSlotVectors) {
				w.Tests = append(w.Tests, scanTest(s))
			}
		case 1:
			n := s.array(*patches)
			*patches -= n
			for range n {
				if s.bad {
					return
				}
				w.Writes = append(w.Writes, scanPatch(s))
			}
		case 2:
			if !s.isNull() {
				n := s.size()
				w.NewLength = &n
			}
		}
	})
	return w
}

func scanTest(s *scanner) (t storage.SlotTest) {
	s.record(slotTestKeys, func(key int) {
		switch key {
		case 0:
			t.Off = s.size()
		case 1:
			t.Len = s.size()
		case 2:
			t.Specimen = s.bytes()
		}
	})
	return t
}

func scanPatch(s *scanner) (p storage.SlotPatch) {
	s.record(slotPatchKeys, func(key int) {
		if key == 0 {
			p.Off = s.size()
		} else {
			p.Data = s.bytes()
		}
	})
	return p
}

func scanSpan(s *scanner) (p storage.Span) {
	s.record(slotSpanKeys, func(key int) {
		if key == 0 {
			p.Off = s.size()
		} else {
			p.Len = s.size()
		}
	})
	return p
}

// encode writes the message. No number in it is negative.
func (m *slotRequest) encode() []byte {
	b := make([]byte, 0, m.dataSize()+1024)
	b = appendHead(b, majorMap, 2)
	b = appendText(b, slotRequestKeys[0])
	b = appendHead(b, majorMap, uint64(len(m.writes)))
	for _, num := range slices.Sorted(maps.Keys(m.writes)) {
		b = appendHead(b, majorUint, uint64(num))
		b = appendSlotWrite(b, m.writes[num])
	}
	b = appendText(b, slotRequestKeys[1])
	b = appendHead(b, majorArray, uint64(len(m.spans)))
	for _, s := range m.spans {
		b = appendNumbers(appendHead(b, majorMap, 2), slotSpanKeys, s.Off, s.Len)
	}
	return b
}

// dataSize is about how long the message is.
func (m *slotRequest) dataSize() int {
	n := 0
	for _, w := range m.writes {
		for _, t := range w.Tests {
			n += len(t.Specimen) + 64
		}
		for _, p := range w.Writes {
			n += len(p.Data) + 32
		}
	}
	return n
}

// patches is how many writes there are in all.
func (m *slotRequest) patches() int {
	n := 0
	for _, w := range m.writes {
		n += len(w.Writes)
	}
	return n
}

func appendSlotWrite(b []byte, w storage.SlotWrite) []byte {
	b = appendHead(b, majorMap, 3)
	b = appendText(b, slotWriteKeys[0])
	b = appendHead(b, majorArray, uint64(len(w.Tests)))
	for _, t := range w.Tests {
		b = appendNumbers(appendHead(b, majorMap, 3), slotTestKeys, t.Off, t.Len)
		b = appendBytes(appendText(b, slotTestKeys[2]), t.Specimen)
	}
	b = appendText(b, slotWriteKeys[1])
	b = appendHead(b, majorArray, uint64(len(w.Writes)))
	for _, p := range w.Writes {
		b = appendNumbers(appendHead(b, majorMap, 2), slotPatchKeys, p.Off)
		b = appendBytes(appendText(b, slotPatchKeys[1]), p.Data)
	}
	b = appendText(b, slotWriteKeys[2])
	if w.NewLength == nil {
		return append(b, cborNull)
	}
	return appendHead(b, majorUint, uint64(*w.NewLength))
}

// appendNumbers writes the first keys with numbers for values.
func appendNumbers(b []byte, keys []string, values ...int64) []byte {
	for i, v := range values {
		b = appendHead(appendText(b, keys[i]), majorUint, uint64(v))
	}
	return b
}

// slotAnswer is the answer to read-test-write. Its byte strings are parts of
// the message it was read from.
type slotAnswer struct {
	spans []storage.Span // that were asked for
	storage.SlotResult
}

// scan reads a whole message, and believes no more than was asked for.
func (m *slotAnswer) scan(b []byte) error {
	s := &scanner{b: b}
	s.record(slotAnswerKeys, func(key int) {
		if key == 1 {
			m.Data = scanShares(s, func() [][]byte { return m.scanPieces(s) })
			return
		}
		v := s.simple()
		m.Applied = v == cborTrue
		if v != cborTrue && v != cborFalse {
			s.fail()
		}
	})
	if !s.done() {
		return errMessage
	}
	return nil
}

func (m *slotAnswer) scanPieces(s *scanner) [][]byte {
	if s.array(len(m.spans)) != len(m.spans) {
		s.fail()
	}
	pieces := make([][]byte, len(m.spans))
	for i, span := range m.spans {
		pieces[i] = s.bytes()
		if int64(len(pieces[i])) > span.Len {
			s.fail()
		}
	}
	return pieces
}

func (m *slotAnswer) check() error { return nil }

// encode writes the message.
func (m *slotAnswer) encode() []byte {
	size := 64
	for _, pieces := range m.Data {
		for _, p := range pieces {
			size += len(p) + 16
		}
	}
	b := appendText(appendHead(make([]byte, 0, size), majorMap, 2), slotAnswerKeys[0])
	if m.Applied {
		b = append(b, cborTrue)
	} else {
		b = append(b, cborFalse)
	}
	b = appendText(b, slotAnswerKeys[1])
	b = appendHead(b, majorMap, uint64(len(m.Data)))
	for _, num := range slices.Sorted(maps.Keys(m.Data)) {
		b = appendHead(b, majorUint, uint64(num))
		b = appendHead(b, majorArray, uint64(len(m.Data[num])))
		for _, p := range m.Data[num] {
			b = appendBytes(b, p)
		}
	}
	return b
}
