package gbs

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"tahoe-go/internal/storage"
)

// Limits on messages, in bytes; those on requests are the protocol's.
const (
	maxAllocateBody = 8 << 10
	maxCorruptBody  = 32 << 10
	maxReason       = 32765               // by the schema
	maxReasonSent   = maxCorruptBody - 11 // what fits, which the schema overlooks
	maxAnswer       = 1 << 20             // 8,192 missing ranges take 230 KiB
	maxErrorBody    = 10_000
)

const (
	setTag       = 258 // the CBOR tag of a set
	maxSet       = 256
	versionKey   = "http://allmydata.org/tahoe/protocols/storage/v1"
	versionKeyOf = "application-version"
)

var errMessage = errors.New("not the CBOR message expected")

// decoder refuses what the protocol's schemas do: unknown, missing and
// doubled keys, indefinite lengths, foreign tags, depth. It allocates no more
// than a small multiple of the bytes it is given.
var decoder = must(cbor.DecOptions{
	DupMapKey:           cbor.DupMapKeyEnforcedAPF,
	MaxNestedLevels:     6,
	MaxArrayElements:    storage.MaxPieces + 1,
	MaxMapPairs:         maxSet,
	IndefLength:         cbor.IndefLengthForbidden,
	ExtraReturnErrors:   cbor.ExtraDecErrorUnknownField,
	UTF8:                cbor.UTF8RejectInvalid,
	FieldNameMatching:   cbor.FieldNameMatchingCaseSensitive,
	BignumTag:           cbor.BignumTagForbidden,
	FieldNameByteString: cbor.FieldNameByteStringForbidden,
}.DecMode())

// encoder writes struct fields in their order here, as the reference does;
// sorting is for maps, to have one encoding.
var encoder = must(cbor.EncOptions{IndefLength: cbor.IndefLengthForbidden}.EncMode())
var sorting = must(cbor.EncOptions{Sort: cbor.SortBytewiseLexical, IndefLength: cbor.IndefLengthForbidden}.EncMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic("gbs: internal error: " + err.Error())
	}
	return v
}

// message is what travels as CBOR. check looks at what the types cannot say.
type message interface{ check() error }

// scanned is a message that reads itself.
type scanned interface{ scan(data []byte) error }

// decode reads one whole message. Its errors quote nothing of data, which may
// become part of m.
func decode(data []byte, m message) error {
	if m, ok := m.(scanned); ok {
		return m.scan(data)
	}
	if err := decoder.Unmarshal(data, m); err != nil {
		return errMessage
	}
	return m.check()
}

func encode(v any) []byte {
	b, err := encoder.Marshal(v)
	if err != nil {
		panic("gbs: internal error: encoding: " + err.Error())
	}
	return b
}

// number is an unsigned integer and nothing that could be taken for one.
type number uint64

// UnmarshalCBOR takes major type 0 only; null would otherwise pass as 0.
func (u *number) UnmarshalCBOR(b []byte) error {
	if len(b) == 0 || b[0]>>5 != 0 {
		return errMessage
	}
	return decoder.Unmarshal(b, (*uint64)(u))
}

// size is u as a length, the largest there is when it does not fit: what is
// that large is refused by everyone in the same way.
func (u number) size() int64 { return int64(min(u, math.MaxInt64)) }

// numSet is a set of share numbers, ascending.
type numSet []storage.ShareNum

// MarshalCBOR writes a tagged array.
func (s numSet) MarshalCBOR() ([]byte, error) {
	nums := make([]uint64, len(s))
	for i, n := range s {
		nums[i] = uint64(n)
	}
	slices.Sort(nums)
	return encoder.Marshal(cbor.Tag{Number: setTag, Content: nums})
}

// UnmarshalCBOR takes a tagged array without doubles, in any order.
func (s *numSet) UnmarshalCBOR(b []byte) error {
	var tag cbor.RawTag
	if err := decoder.Unmarshal(b, &tag); err != nil || tag.Number != setTag {
		return errMessage
	}
	if len(tag.Content) == 0 || tag.Content[0]>>5 != 4 {
		return errMessage
	}
	var list []number
	if err := decoder.Unmarshal(tag.Content, &list); err != nil {
		return err
	}
	if len(list) > maxSet {
		return errMessage
	}
	*s = make(numSet, len(list))
	for i, n := range list {
		if n > math.MaxUint8 {
			return fmt.Errorf("share number above %d", math.MaxUint8)
		}
		(*s)[i] = storage.ShareNum(n)
	}
	slices.Sort(*s)
	if len(slices.Compact(slices.Clone(*s))) != len(list) {
		return errMessage
	}
	return nil
}

// Pointers tell a missing key from a zero.

type allocateRequest struct {
	Numbers *numSet `cbor:"share-numbers"`
	Size    *number `cbor:"allocated-size"`
}

func (m *allocateRequest) check() error { return need(m.Numbers != nil && m.Size != nil) }

type allocateAnswer struct {
	Have      *numSet `cbor:"already-have"`
	Allocated *numSet `cbor:"allocated"`
}

func (m *allocateAnswer) check() error { return need(m.Have != nil && m.Allocated != nil) }

type piece struct {
	Begin *number `cbor:"begin"` // first byte
	End   *number `cbor:"end"`   // one past the last
}

type writeAnswer struct {
	Required *[]piece `cbor:"required"`
}

func (m *writeAnswer) check() error {
	if m.Required == nil {
		return errMessage
	}
	for _, p := range *m.Required {
		if p.Begin == nil || p.End == nil || *p.Begin > *p.End || *p.End > math.MaxInt64 {
			return errMessage
		}
	}
	return nil
}

func newWriteAnswer(missing []storage.Span) *writeAnswer {
	pieces := make([]piece, len(missing))
	for i, s := range missing {
		begin, end := number(s.Off), number(s.End())
		pieces[i] = piece{&begin, &end}
	}
	return &writeAnswer{&pieces}
}

type sharesAnswer struct{ nums numSet }

// UnmarshalCBOR reads the bare set.
func (m *sharesAnswer) UnmarshalCBOR(b []byte) error { return m.nums.UnmarshalCBOR(b) }

func (m *sharesAnswer) check() error { return nil }

type corruptRequest struct {
	Reason *string `cbor:"reason"`
}

func (m *corruptRequest) check() error {
	return need(m.Reason != nil && len(*m.Reason) >= 1 && len(*m.Reason) <= maxReason)
}

// clipReason makes a reason that the protocol can carry.
func clipReason(s string) string {
	if s == "" {
		return "no reason given"
	}
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxReasonSent {
		s = s[:maxReasonSent]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}

// versionAnswer has byte strings for keys, unlike the other messages.
type versionAnswer struct{ storage.Version }

// MarshalCBOR writes both maps sorted.
func (m *versionAnswer) MarshalCBOR() ([]byte, error) {
	sizes := map[cbor.ByteString]number{
		"maximum-immutable-share-size": number(max(0, m.MaxImmutableShareSize)),
		"maximum-mutable-share-size":   number(max(0, m.MaxMutableShareSize)),
		"available-space":              number(max(0, m.AvailableSpace)),
	}
	return sorting.Marshal(map[cbor.ByteString]any{versionKey: sizes, versionKeyOf: []byte(m.Application)})
}

// UnmarshalCBOR is lenient in one thing: keys it does not know may be there,
// so that servers can grow.
func (m *versionAnswer) UnmarshalCBOR(b []byte) error {
	var outer map[cbor.ByteString]cbor.RawMessage
	if err := decoder.Unmarshal(b, &outer); err != nil {
		return err
	}
	var inner map[cbor.ByteString]cbor.RawMessage
	if err := decoder.Unmarshal(outer[versionKey], &inner); err != nil {
		return err
	}
	for key, to := range map[cbor.ByteString]*int64{
		"maximum-immutable-share-size": &m.MaxImmutableShareSize,
		"maximum-mutable-share-size":   &m.MaxMutableShareSize,
		"available-space":              &m.AvailableSpace,
	} {
		var u number
		if err := decoder.Unmarshal(inner[key], &u); err != nil {
			return err
		}
		*to = u.size()
	}
	var app cbor.ByteString
	if err := decoder.Unmarshal(outer[versionKeyOf], &app); err != nil {
		return err
	}
	m.Application = strings.ToValidUTF8(string(app), "?")
	return nil
}

func (m *versionAnswer) check() error { return nil }

func need(ok bool) error {
	if !ok {
		return errMessage
	}
	return nil
}
