package caps

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/kit/redact"
)

// MaxLength bounds the text of a cap that Parse looks at, in bytes.
const MaxLength = 4096

// Context says what a cap may grant in the place where it stands.
type Context uint8

// The contexts, each stricter than the one before.
const (
	Anywhere  Context = iota // anything
	ReadOnly                 // no writing
	Immutable                // nor anything that may change
)

const (
	testWritable = "x-tahoe-future-test-writeable:"
	testMutable  = "x-tahoe-future-test-mutable:"
)

// The prefixes by which a text claims a Context for itself.
const (
	prefixReadOnly  = "ro."
	prefixImmutable = "imm."
)

// Parse reads a cap of a known kind. A prefix ro. or imm. is dropped after
// the cap is held to it (ErrWritable, ErrMutable). The text must be as Reveal
// prints it, save that further fields of MDMF caps and whatever follows the
// size of a CHK verifier are dropped, as the reference does. Other errors are
// ErrUnknownKind and ErrSyntax.
func Parse(s string) (Cap, error) { return parseIn(s, Anywhere) }

// Keep is Parse for caps that must not get lost, such as a directory's
// children: what Parse would refuse, and what breaks the context, becomes an
// Unknown with the whole text. The caller bounds the length.
func Keep(s string, in Context) Cap {
	c, err := parseIn(s, in)
	if err != nil {
		return Unknown{text: redact.New(s), why: reasonOf(err)}
	}
	return c
}

func parseIn(s string, in Context) (Cap, error) {
	s, claimed := cutPrefix(s)
	in = max(in, claimed)
	c, err := parse(s)
	switch {
	// Two kinds reserved for testing how those of the future will behave.
	case in == Immutable && (strings.HasPrefix(s, testWritable) || strings.HasPrefix(s, testMutable)):
		return nil, fmt.Errorf("%w: a kind for tests", ErrMutable)
	case in == ReadOnly && strings.HasPrefix(s, testWritable):
		return nil, fmt.Errorf("%w: a kind for tests", ErrWritable)
	case err != nil:
		return nil, err
	case in >= Immutable && Mutable(c):
		return nil, fmt.Errorf("%s: %w", c.Kind(), ErrMutable)
	case in >= ReadOnly && Writable(c):
		return nil, fmt.Errorf("%s: %w", c.Kind(), ErrWritable)
	}
	return c, nil
}

// cutPrefix takes one prefix off s and returns the context it claims.
func cutPrefix(s string) (string, Context) {
	if rest, ok := strings.CutPrefix(s, prefixImmutable); ok {
		return rest, Immutable
	}
	if rest, ok := strings.CutPrefix(s, prefixReadOnly); ok {
		return rest, ReadOnly
	}
	return s, Anywhere
}

// parsers has a parser of URI:NAME:BODY for each NAME of a file cap.
var parsers = map[string]func(body string) (Cap, error){
	"CHK":           parseCHK,
	"CHK-Verifier":  parseCHKVerifier,
	"LIT":           parseLIT,
	"SSK":           parseSSK,
	"SSK-RO":        parseSSKRead,
	"SSK-Verifier":  parseSSKVerifier,
	"MDMF":          parseMDMF,
	"MDMF-RO":       parseMDMFRead,
	"MDMF-Verifier": parseMDMFVerifier,
}

// dirFiles gives for each NAME of a directory cap that of its file's.
var dirFiles = map[string]string{
	"DIR2":               "SSK",
	"DIR2-RO":            "SSK-RO",
	"DIR2-Verifier":      "SSK-Verifier",
	"DIR2-MDMF":          "MDMF",
	"DIR2-MDMF-RO":       "MDMF-RO",
	"DIR2-MDMF-Verifier": "MDMF-Verifier",
	"DIR2-CHK":           "CHK",
	"DIR2-CHK-Verifier":  "CHK-Verifier",
	"DIR2-LIT":           "LIT",
}

// parse reads URI:NAME:BODY.
func parse(s string) (Cap, error) {
	rest, ok := strings.CutPrefix(s, "URI:")
	if !ok {
		return nil, ErrUnknownKind
	}
	name, body, _ := strings.Cut(rest, ":")
	file, isDir := dirFiles[name]
	if !isDir {
		file = name
	}
	parseBody, ok := parsers[file]
	if !ok || len(rest) == len(name) {
		return nil, ErrUnknownKind
	}
	if len(s) > MaxLength {
		return nil, fmt.Errorf("%w: %s longer than %d bytes", ErrSyntax, name, MaxLength)
	}
	c, err := parseBody(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrSyntax, name, err)
	}
	if isDir {
		return Dir{c}, nil
	}
	return c, nil
}

// What can be wrong with a body; parse adds ErrSyntax and the name.
var (
	errFields = errors.New("wrong number of fields")
	errNumber = errors.New("k, n or size is not a number")
	errBounds = errors.New("k or n out of bounds")
)

func parseCHK(body string) (Cap, error) {
	key, hash, nums, err := splitCHK(body)
	if err != nil {
		return nil, err
	}
	c := CHK{Key: NewKey(key), UEBHash: hash}
	if c.K, c.N, c.Size, err = parseKNSize(nums); err != nil {
		return nil, err
	}
	return c, nil
}

func parseCHKVerifier(body string) (Cap, error) {
	si, hash, nums, err := splitCHK(body)
	if err != nil {
		return nil, err
	}
	// The reference takes anything after the digits of the size.
	if i := nthColon(nums, 2); i >= 0 {
		end := i + 1
		for end < len(nums) && isDigit(nums[end]) {
			end++
		}
		nums = nums[:end]
	}
	c := CHKVerifier{Index: si, UEBHash: hash}
	if c.K, c.N, c.Size, err = parseKNSize(nums); err != nil {
		return nil, err
	}
	return c, nil
}

func parseLIT(body string) (Cap, error) {
	data, err := base32.Decode(body)
	if err != nil {
		return nil, err
	}
	return NewLIT(data), nil
}

func parseSSK(body string) (Cap, error) {
	key, fingerprint, err := parseKeyHash(body)
	return SSK{WriteKey: NewKey(key), Fingerprint: fingerprint}, err
}

func parseSSKRead(body string) (Cap, error) {
	key, fingerprint, err := parseKeyHash(body)
	return SSKRead{ReadKey: NewKey(key), Fingerprint: fingerprint}, err
}

func parseSSKVerifier(body string) (Cap, error) {
	si, fingerprint, err := parseKeyHash(body)
	return SSKVerifier{Index: si, Fingerprint: fingerprint}, err
}

func parseMDMF(body string) (Cap, error) {
	key, fingerprint, err := parseKeyHash(cutExtensions(body))
	return SSK{WriteKey: NewKey(key), Fingerprint: fingerprint, MDMF: true}, err
}

func parseMDMFRead(body string) (Cap, error) {
	key, fingerprint, err := parseKeyHash(cutExtensions(body))
	return SSKRead{ReadKey: NewKey(key), Fingerprint: fingerprint, MDMF: true}, err
}

func parseMDMFVerifier(body string) (Cap, error) {
	si, fingerprint, err := parseKeyHash(cutExtensions(body))
	return SSKVerifier{Index: si, Fingerprint: fingerprint, MDMF: true}, err
}

// cutExtensions drops what follows the second field of an MDMF cap; once
// hints of the layout stood there.
func cutExtensions(body string) string {
	if i := nthColon(body, 2); i >= 0 {
		return body[:i]
	}
	return body
}

// splitCHK reads the first two fields and returns the rest.
func splitCHK(body string) (key [16]byte, hash tagged.Hash, rest string, err error) {
	i := nthColon(body, 2)
	if i < 0 {
		return key, hash, "", errFields
	}
	key, hash, err = parseKeyHash(body[:i])
	return key, hash, body[i+1:], err
}

// parseKeyHash reads 16 bytes, a colon, and 32 bytes.
func parseKeyHash(s string) (key [16]byte, hash tagged.Hash, err error) {
	a, b, ok := strings.Cut(s, ":")
	if !ok {
		return key, hash, errFields
	}
	if err := decodeInto(key[:], a); err != nil {
		return key, hash, fmt.Errorf("first field: %w", err)
	}
	if err := decodeInto(hash[:], b); err != nil {
		return key, hash, fmt.Errorf("hash: %w", err)
	}
	return key, hash, nil
}

func decodeInto(dst []byte, s string) error {
	if want := (len(dst)*8 + 4) / 5; len(s) != want {
		return fmt.Errorf("%d characters, want %d", len(s), want)
	}
	b, err := base32.Decode(s)
	if err != nil {
		return err
	}
	copy(dst, b)
	return nil
}

// parseKNSize reads K:N:SIZE and holds them to their bounds.
func parseKNSize(s string) (k, n int, size int64, err error) {
	fields := strings.SplitN(s, ":", 4)
	if len(fields) != 3 {
		return 0, 0, 0, errFields
	}
	var v [3]int64
	for i, f := range fields {
		v[i], err = strconv.ParseInt(f, 10, 64)
		// Only one spelling: no sign, no leading zero.
		if err != nil || !isDigit(f[0]) || f[0] == '0' && f != "0" {
			return 0, 0, 0, errNumber
		}
	}
	if v[0] < 1 || v[0] > v[1] || v[1] > 256 {
		return 0, 0, 0, errBounds
	}
	return int(v[0]), int(v[1]), v[2], nil
}

// nthColon returns where the n-th colon of s is, or -1.
func nthColon(s string, n int) int {
	for i := range len(s) {
		if s[i] == ':' {
			if n--; n == 0 {
				return i
			}
		}
	}
	return -1
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// reason is why an Unknown is one; a small number keeps it comparable.
type reason uint8

var reasons = [...]error{ErrUnknownKind, ErrSyntax, ErrWritable, ErrMutable}

func reasonOf(err error) reason {
	for i, r := range reasons {
		if errors.Is(err, r) {
			return reason(i)
		}
	}
	panic("caps: internal error: parse error without a reason")
}

func (r reason) err() error { return reasons[r] }
