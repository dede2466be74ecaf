// Package onion makes and reads the identity of a version 3 onion service
// without a running tor: key, address, key file.
//
// It publishes nothing; package tor does. The key file is the text that Tor's
// control port takes and gives, "ED25519-V3:" and base64 of the expanded key,
// which txtorcon and the reference program keep too.
//
// Specifications: Tor's rend-spec-v3 (address and checksum), control-spec
// ADD_ONION (key text), RFC 8032 section 5.1.5 (expanded key). Start with
// NewKey, ParseKey and ParseAddress.
package onion

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"tahoe-go/internal/kit/redact"
)

// ErrKeySyntax says that a text is no key of an onion service of version 3.
var ErrKeySyntax = errors.New("not an onion service key")

// ErrRetiredKey says that a key belongs to the retired version 2 of onion
// services.
var ErrRetiredKey = errors.New("this is an RSA1024 key, of an onion service of version 2, which Tor retired in 2021; make a new key: the service gets a new address")

const (
	keyType     = "ED25519-V3:"
	retiredType = "RSA1024:"
	expandedLen = 64

	// tor itself keeps the key of a HiddenServiceDir in hs_ed25519_secret_key.
	torFileHeader = "== ed25519v1-secret: type0 ==\x00\x00\x00"
)

// Key is the identity key of an onion service. It prints as "[secret]". The
// zero Key is none.
type Key struct {
	text redact.Secret // the text that ADD_ONION takes
	addr Address
}

// NewKey makes a key from 32 bytes of randomness (crypto/rand.Reader).
func NewKey(random io.Reader) (Key, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return Key{}, fmt.Errorf("making an onion key: %w", err)
	}
	return FromSeed(seed), nil
}

// FromSeed makes the key of an ed25519 seed.
func FromSeed(seed [ed25519.SeedSize]byte) Key {
	expanded := sha512.Sum512(seed[:])
	clamp(expanded[:32])
	private := ed25519.NewKeyFromSeed(seed[:])
	return newKey(expanded[:], [32]byte(private[32:]))
}

func newKey(expanded []byte, pub [32]byte) Key {
	return Key{
		text: redact.New(keyType + base64.StdEncoding.EncodeToString(expanded)),
		addr: FromPublic(pub),
	}
}

// ParseKey reads a key file: the text with or without a final newline, or the
// 96 bytes of tor's own hs_ed25519_secret_key. It fails with ErrKeySyntax or
// ErrRetiredKey; no error holds a part of the key.
func ParseKey(file []byte) (Key, error) {
	if raw, ok := bytes.CutPrefix(file, []byte(torFileHeader)); ok {
		return fromExpanded(raw)
	}
	text := strings.TrimSpace(string(file))
	if strings.HasPrefix(text, retiredType) {
		return Key{}, ErrRetiredKey
	}
	encoded, ok := strings.CutPrefix(text, keyType)
	if !ok {
		return Key{}, fmt.Errorf("%w: it does not begin with %s", ErrKeySyntax, keyType)
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(encoded, "="))
	if err != nil {
		return Key{}, fmt.Errorf("%w: its base64 is broken", ErrKeySyntax)
	}
	return fromExpanded(raw)
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k == Key{} }

// Address returns the address of the service that k is the key of.
func (k Key) Address() Address { return k.addr }

// Reveal returns the text for the key file and for ADD_ONION, without newline.
func (k Key) Reveal() string { return k.text.Reveal() }

// Format prints a fixed word for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[secret]") }

// fromExpanded makes a key of a clamped scalar and the 32 bytes that follow it.
func fromExpanded(raw []byte) (Key, error) {
	if len(raw) != expandedLen {
		return Key{}, fmt.Errorf("%w: it has %d bytes instead of %d", ErrKeySyntax, len(raw), expandedLen)
	}
	clamped := slices.Clone(raw[:32])
	clamp(clamped)
	if !bytes.Equal(clamped, raw[:32]) {
		return Key{}, fmt.Errorf("%w: it is not an expanded ed25519 key (an ed25519 seed is a different thing)", ErrKeySyntax)
	}
	pub, err := publicKey([32]byte(raw[:32]))
	if err != nil {
		return Key{}, err
	}
	return newKey(raw, pub), nil
}

func clamp(scalar []byte) {
	scalar[0] &= 248
	scalar[31] = scalar[31]&63 | 64
}

var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	groupOrder = func() *big.Int {
		n, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
		return n.Add(n, new(big.Int).Lsh(big.NewInt(1), 252))
	}()
)

// publicKey computes the ed25519 public key of a clamped scalar, which the
// standard library does for seeds only. X25519 with its base point gives the
// u coordinate of the same point on the Montgomery form of the curve, and
// y = (u-1)/(u+1). That leaves two points, with x of either sign; the right one
// is the one under which a signature by this scalar verifies.
func publicKey(scalar [32]byte) ([32]byte, error) {
	var pub [32]byte
	private, err := ecdh.X25519().NewPrivateKey(scalar[:])
	if err != nil {
		return pub, fmt.Errorf("%w: %v", ErrKeySyntax, err)
	}
	u := littleEndian(private.PublicKey().Bytes())
	one := big.NewInt(1)
	inverse := new(big.Int).ModInverse(new(big.Int).Add(u, one), fieldPrime)
	if inverse == nil {
		return pub, fmt.Errorf("%w: it has no public key", ErrKeySyntax)
	}
	y := new(big.Int).Mul(new(big.Int).Sub(u, one), inverse)
	pub = toLittleEndian(y.Mod(y, fieldPrime))
	for range 2 {
		if signs(scalar, pub) {
			return pub, nil
		}
		pub[31] ^= 0x80
	}
	return pub, fmt.Errorf("%w: it has no public key", ErrKeySyntax)
}

// signs reports whether scalar is the private part of pub, by a signature that
// never leaves this function: its nonce is zero, which reveals the scalar.
func signs(scalar, pub [32]byte) bool {
	signature := make([]byte, ed25519.SignatureSize)
	signature[0] = 1 // the neutral element, zero times the base point
	digest := sha512.Sum512(append(slices.Clone(signature[:32]), pub[:]...))
	s := littleEndian(digest[:])
	s.Mul(s, littleEndian(scalar[:])).Mod(s, groupOrder)
	last := toLittleEndian(s)
	copy(signature[32:], last[:])
	return ed25519.Verify(pub[:], nil, signature)
}

func littleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

func toLittleEndian(n *big.Int) (out [32]byte) {
	n.FillBytes(out[:])
	slices.Reverse(out[:])
	return out
}
