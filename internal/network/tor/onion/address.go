package onion

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha3"
	"encoding/base32"
	"fmt"
	"strings"
)

// Address is the name of a version 3 onion service in its canonical spelling:
// 56 lower-case letters and digits and ".onion".
type Address string

// String returns the name, with ".onion".
func (a Address) String() string { return string(a) }

// ServiceID returns the name without ".onion", as Tor's control port writes it.
func (a Address) ServiceID() string { return strings.TrimSuffix(string(a), suffix) }

// AddressError says why a name is not the address of an onion service.
type AddressError struct {
	Name string
	Why  string
}

func (e *AddressError) Error() string { return fmt.Sprintf("onion address %q: %s", e.Name, e.Why) }

const (
	suffix       = ".onion"
	v3Len        = 56
	v2Len        = 16
	v3Version    = 3
	checksumText = ".onion checksum"
)

// encoding is Tor's base32: 35 bytes fill 56 characters exactly.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// IsOnion reports whether host lies under ".onion" however it is spelled, a
// valid address or not.
func IsOnion(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), suffix)
}

// ParseAddress checks a host name under ".onion": length, version and
// checksum. Upper case and a trailing dot are accepted, and so are names below
// the address (www.ADDRESS.onion), which lead to the same service and are cut
// off. The error is an *AddressError.
func ParseAddress(host string) (Address, error) {
	bad := func(why string) (Address, error) { return "", &AddressError{Name: host, Why: why} }
	name, ok := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), suffix)
	if !ok {
		return bad("it does not end in .onion")
	}
	name = name[strings.LastIndexByte(name, '.')+1:]
	switch len(name) {
	case v3Len:
	case v2Len:
		return bad("this is an address of version 2 (16 letters), which Tor retired in 2021; ask the server's owner for its new address of 56 letters")
	default:
		return bad(fmt.Sprintf("it has %d letters before .onion instead of 56", len(name)))
	}
	raw, err := encoding.DecodeString(name)
	if err != nil {
		return bad("it holds characters other than a-z and 2-7")
	}
	if raw[34] != v3Version {
		return bad(fmt.Sprintf("it is mistyped, or of version %d instead of 3", raw[34]))
	}
	if sum := checksum(raw[:32]); !bytes.Equal(raw[32:34], sum[:2]) {
		return bad("it is mistyped: its checksum is wrong")
	}
	return Address(name + suffix), nil
}

// FromPublic returns the address of the service with an ed25519 public key.
func FromPublic(pub [ed25519.PublicKeySize]byte) Address {
	sum := checksum(pub[:])
	raw := append(append(pub[:], sum[:2]...), v3Version)
	return Address(encoding.EncodeToString(raw) + suffix)
}

// checksum is rend-spec-v3, "ENCODING-ONION-ADDRESS"; two bytes of it are used.
func checksum(pub []byte) [32]byte {
	return sha3.Sum256(append(append([]byte(checksumText), pub...), v3Version))
}
