package announce

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/kit/redact"
)

// Prefixes of keys and signatures. A later kind would be v1.
const (
	prefix        = "v0-"
	prefixPublic  = "pub-v0-"
	prefixPrivate = "priv-v0-"
)

// Errors of keys and signatures; branch on them with errors.Is.
var (
	// ErrUnknownKey is for keys and signatures of a kind other than v0, and
	// for announcements without.
	ErrUnknownKey = errors.New("not a key or signature of kind v0")
	// ErrSignature says that the words are not those of the key.
	ErrSignature = errors.New("wrong signature")
)

// Key is an ed25519 public key: the name of a node, and of a grid manager. It
// is no secret.
type Key [ed25519.PublicKeySize]byte

// ParseKey reads "v0-…", as announcements have it.
func ParseKey(s string) (Key, error) { return parseKey(s, prefix) }

// ParsePublic reads "pub-v0-…", as files and certificates have it.
func ParsePublic(s string) (Key, error) { return parseKey(s, prefixPublic) }

func parseKey(s, prefix string) (Key, error) {
	b, err := decode(s, prefix, ed25519.PublicKeySize)
	if err != nil {
		return Key{}, fmt.Errorf("public key: %w", err)
	}
	return Key(b), nil
}

// String returns "v0-…", the id of a server.
func (k Key) String() string { return prefix + base32.Encode(k[:]) }

// Public returns "pub-v0-…".
func (k Key) Public() string { return prefixPublic + base32.Encode(k[:]) }

func (k Key) verifies(msg string, sig []byte) bool {
	return ed25519.Verify(k[:], []byte(msg), sig)
}

// SigningKey is an ed25519 private key. It is comparable and does not print;
// the zero SigningKey is no key.
type SigningKey struct{ seed redact.Secret }

// NewSigningKey makes a key of 32 bytes from random.
func NewSigningKey(random io.Reader) (SigningKey, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return SigningKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	return SigningKey{redact.New(string(seed[:]))}, nil
}

// SigningKeyOf is the key with this seed of 32 bytes.
func SigningKeyOf(seed redact.Secret) (SigningKey, error) {
	if len(seed.Reveal()) != ed25519.SeedSize {
		return SigningKey{}, errors.New("signing key: wrong length")
	}
	return SigningKey{seed}, nil
}

// ParseSigningKey reads "priv-v0-…". Its errors do not show the text.
func ParseSigningKey(s string) (SigningKey, error) {
	b, err := decode(s, prefixPrivate, ed25519.SeedSize)
	if err != nil {
		return SigningKey{}, fmt.Errorf("private key: %w", err)
	}
	return SigningKey{redact.New(string(b))}, nil
}

// Reveal returns "priv-v0-…".
func (k SigningKey) Reveal() string { return prefixPrivate + base32.Encode([]byte(k.seed.Reveal())) }

// Key returns the public half. The zero SigningKey has a zero Key.
func (k SigningKey) Key() (pub Key) {
	if !k.seed.IsZero() {
		copy(pub[:], k.private().Public().(ed25519.PublicKey))
	}
	return pub
}

func (k SigningKey) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(k.seed.Reveal()))
}

// sign panics for the zero key; callers refuse it before.
func (k SigningKey) sign(msg string) []byte { return ed25519.Sign(k.private(), []byte(msg)) }

// decode reads a prefix and the base32 of exactly size bytes.
func decode(s, prefix string, size int) ([]byte, error) {
	text, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return nil, ErrUnknownKey
	}
	if len(text) != (size*8+4)/5 {
		return nil, fmt.Errorf("%w: %d characters", ErrSyntax, len(text))
	}
	b, err := base32.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return b, nil
}
