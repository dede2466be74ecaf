package ssk

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// keyBits is the size of the keys of all mutable files.
const keyBits = 2048

// ErrBadKey is for texts that are no RSA key of 2,048 bits. Errors with it show
// nothing of the text.
var ErrBadKey = errors.New("not an RSA private key of 2048 bits")

// pss is how versions are signed, with SHA-256.
var pss = &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}

// PrivateKey is the key that makes a mutable file its own: the caps follow
// from it. It does not print; use it behind a pointer. It may be used
// concurrently.
type PrivateKey struct {
	s **secrets // fmt follows one pointer, not two
}

type secrets struct {
	rsa    *rsa.PrivateKey
	der    []byte // PKCS#8; the write key is a hash of these very bytes
	public []byte // SubjectPublicKeyInfo in DER
}

// GenerateKey makes a key. It takes some 50 ms, at times three times as long:
// make keys ahead. random is for the standard library, which may have its own.
func GenerateKey(random io.Reader) (*PrivateKey, error) {
	k, err := rsa.GenerateKey(random, keyBits)
	if err != nil {
		return nil, fmt.Errorf("making an RSA key: %w", err)
	}
	return newKey(k)
}

// ParsePEM reads a key in PKCS#1 ("RSA PRIVATE KEY") or PKCS#8 ("PRIVATE
// KEY"). ErrBadKey for anything else, encrypted keys too.
func ParsePEM(text []byte) (*PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, ErrBadKey
	}
	switch block.Type {
	case "PRIVATE KEY":
		return ParseDER(block.Bytes)
	case "RSA PRIVATE KEY":
		k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, ErrBadKey
		}
		return newKey(k)
	}
	return nil, ErrBadKey
}

// ParseDER reads a key in PKCS#8. ErrBadKey for anything else. The caps follow
// from the canonical form of the key, not from der.
func ParseDER(der []byte) (*PrivateKey, error) {
	k, err := parseRSA(der)
	if err != nil {
		return nil, err
	}
	return newKey(k)
}

func parseRSA(der []byte) (*rsa.PrivateKey, error) {
	if len(der) > maxPrivateKey {
		return nil, ErrBadKey
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, ErrBadKey
	}
	r, ok := k.(*rsa.PrivateKey)
	if !ok {
		return nil, ErrBadKey
	}
	return r, nil
}

func newKey(k *rsa.PrivateKey) (*PrivateKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, ErrBadKey
	}
	return keyOf(k, der)
}

func keyOf(k *rsa.PrivateKey, der []byte) (*PrivateKey, error) {
	if k.N.BitLen() != keyBits || len(k.Primes) != 2 {
		return nil, ErrBadKey
	}
	public, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		return nil, ErrBadKey
	}
	s := &secrets{k, der, public}
	return &PrivateKey{&s}, nil
}

// openKey decrypts the private key of a share. ErrBadKey if it is not that of
// cap; then something is wrong with the share.
func openKey(cap caps.SSK, encrypted []byte) (*PrivateKey, error) {
	writeKey := cap.WriteKey.Reveal()
	der := xorCTR(writeKey, encrypted)
	if tagged.WriteKey(der) != writeKey {
		return nil, ErrBadKey
	}
	k, err := parseRSA(der)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(k, der)
	if err == nil && key.fingerprint() != cap.Fingerprint {
		err = ErrBadKey
	}
	return key, err
}

// Reveal returns the key in PKCS#8 DER, as a copy.
func (k *PrivateKey) Reveal() []byte { return append([]byte(nil), (*k.s).der...) }

// Cap returns the write cap of the key's file, which has one contents whether
// it is called SDMF or MDMF.
func (k *PrivateKey) Cap(mdmf bool) caps.SSK {
	return caps.SSK{WriteKey: caps.NewKey(k.writeKey()), Fingerprint: k.fingerprint(), MDMF: mdmf}
}

func (k *PrivateKey) writeKey() [16]byte { return tagged.WriteKey((*k.s).der) }

func (k *PrivateKey) readKey() [16]byte { return tagged.ReadKey(k.writeKey()) }

func (k *PrivateKey) fingerprint() Hash { return tagged.Fingerprint((*k.s).public) }

// encrypted is the key as shares carry it.
func (k *PrivateKey) encrypted() []byte { return xorCTR(k.writeKey(), (*k.s).der) }

// signatureLen is the size of what sign returns.
const signatureLen = keyBits / 8

func (k *PrivateKey) sign(random io.Reader, msg []byte) ([]byte, error) {
	digest := sha256.Sum256(msg)
	sig, err := rsa.SignPSS(random, (*k.s).rsa, crypto.SHA256, digest[:], pss)
	if err != nil {
		return nil, fmt.Errorf("signing a version: %w", err)
	}
	return sig, nil
}

// parsePublic reads a public key whose fingerprint is known to be right.
func parsePublic(der []byte) (*rsa.PublicKey, error) {
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: public key", ErrBadEncoding)
	}
	r, ok := k.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: public key of another kind", ErrBadEncoding)
	}
	if n := r.N.BitLen(); n < 1024 || n > 4096 {
		return nil, fmt.Errorf("public key of %d bits: %w", n, ErrUnsupported)
	}
	return r, nil
}

func verifies(k *rsa.PublicKey, msg, sig []byte) bool {
	digest := sha256.Sum256(msg)
	return rsa.VerifyPSS(k, crypto.SHA256, digest[:], sig, pss) == nil
}

// xorCTR encrypts or decrypts with AES-128 in counter mode from zero.
func xorCTR(key [16]byte, src []byte) []byte {
	dst := make([]byte, len(src))
	newCTR(key).XORKeyStream(dst, src)
	return dst
}

func newCTR(key [16]byte) cipher.Stream {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("ssk: internal error: " + err.Error()) // 16 bytes are a key
	}
	var iv [aes.BlockSize]byte
	return cipher.NewCTR(block, iv[:])
}
