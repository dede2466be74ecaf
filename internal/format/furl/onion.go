package furl

import (
	"crypto/sha3"
	"errors"
	"fmt"
	"strings"

	"tahoe-go/internal/codec/base32"
)

// ErrOnion is the error of CheckOnion.
var ErrOnion = errors.New("not a valid onion name")

const onionSuffix = ".onion"

// IsOnion reports whether host is in .onion, in any case and whether valid or
// not. Such names must never be given to a resolver.
func IsOnion(host string) bool {
	host = strings.TrimSuffix(host, ".")
	i := len(host) - len(onionSuffix)
	return i >= 0 && strings.EqualFold(host[i:], onionSuffix)
}

// CheckOnion says whether host is an onion name of version 3 whose checksum
// fits, perhaps below subdomains. It catches a mistyped name without asking
// the network. Case does not matter. See Tor's rend-spec-v3, section 6.
func CheckOnion(host string) error {
	if !IsOnion(host) || strings.HasSuffix(host, ".") {
		return fmt.Errorf("%w: does not end in .onion", ErrOnion)
	}
	label := strings.ToLower(host[:len(host)-len(onionSuffix)])
	label = label[strings.LastIndexByte(label, '.')+1:]
	if len(label) == 16 {
		return fmt.Errorf("%w: version 2, which Tor gave up in 2021", ErrOnion)
	}
	if len(label) != 56 {
		return fmt.Errorf("%w: %d characters before .onion, want 56", ErrOnion, len(label))
	}
	b, err := base32.Decode(label)
	if err != nil {
		return fmt.Errorf("%w: not base32", ErrOnion)
	}
	key, sum, version := b[:32], b[32:34], b[34]
	if version != 3 {
		return fmt.Errorf("%w: version %d, want 3", ErrOnion, version)
	}
	if want := onionChecksum(key); string(sum) != string(want[:]) {
		return fmt.Errorf("%w: checksum does not fit, is it mistyped?", ErrOnion)
	}
	return nil
}

func onionChecksum(key []byte) [2]byte {
	h := sha3.New256()
	h.Write([]byte(".onion checksum"))
	h.Write(key)
	h.Write([]byte{3})
	return [2]byte(h.Sum(nil))
}
