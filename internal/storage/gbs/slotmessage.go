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

// maxCopied is the longest byte string that is copied into a message; longer
// ones are pieces of their own.
const maxCopied = 4 << 10

// pieces writes the message, as pieces that belong together. Long byte strings
// are not copied. No number in it is negative.
func (m *slotRequest) pieces() [][]byte {
	w := &pieceWriter{}
	w.b = appendHead(w.b, majorMap, 2)
	w.b = appendText(w.b, slotRequestKeys[0])
	w.b = appendHead(w.b, majorMap, uint64(len(m.writes)))
	for _, num := range slices.Sorted(maps.Keys(m.writes)) {
		w.b = appendHead(w.b, majorUint, uint64(num))
		w.slotWrite(m.writes[num])
	}
	w.b = appendText(w.b, slotRequestKeys[1])
	w.b = appendHead(w.b, majorArray, uint64(len(m.spans)))
	for _, s := range m.spans {
		w.b = appendNumbers(appendHead(w.b, majorMap, 2), slotSpanKeys, s.Off, s.Len)
	}
	return append(w.done, w.b)
}

// encode writes the message as one.
func (m *slotRequest) encode() []byte { return slices.Concat(m.pieces()...) }

// pieceWriter collects a message.
type pieceWriter struct {
	done [][]byte
	b    []byte // comes after done
}

// bytes writes a byte string.
func (w *pieceWriter) bytes(p []byte) {
	if len(p) <= maxCopied {
		w.b = appendBytes(w.b, p)
		return
	}
	w.b = appendHead(w.b, majorBytes, uint64(len(p)))
	w.done = append(w.done, w.b, p)
	w.b = nil
}

// patches is how many writes there are in all.
func (m *slotRequest) patches() int {
	n := 0
	for _, w := range m.writes {
		n += len(w.Writes)
	}
	return n
}

func (w *pieceWriter) slotWrite(sw storage.SlotWrite) {
	w.b = appendHead(w.b, majorMap, 3)
	w.b = appendText(w.b, slotWriteKeys[0])
	w.b = appendHead(w.b, majorArray, uint64(len(sw.Tests)))
	for _, t := range sw.Tests {
		w.b = appendNumbers(appendHead(w.b, majorMap, 3), slotTestKeys, t.Off, t.Len)
		w.b = appendText(w.b, slotTestKeys[2])
		w.bytes(t.Specimen)
	}
	w.b = appendText(w.b, slotWriteKeys[1])
	w.b = appendHead(w.b, majorArray, uint64(len(sw.Writes)))
	for _, p := range sw.Writes {
		w.b = appendNumbers(appendHead(w.b, majorMap, 2), slotPatchKeys, p.Off)
		w.b = appendText(w.b, slotPatchKeys[1])
		w.bytes(p.Data)
	}
	w.b = appendText(w.b, slotWriteKeys[2])
	if sw.NewLength == nil {
		w.b = append(w.b, cborNull)
		return
	}
	w.b = appendHead(w.b, majorUint, uint64(*sw.NewLength))
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
