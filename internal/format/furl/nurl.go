package furl

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"tahoe-go/internal/kit/redact"
)

// NURL is an address of the HTTP storage protocol, version 1. It is
// comparable.
type NURL struct {
	SPKI     [32]byte // SHA-256 of the server's SubjectPublicKeyInfo
	Tor      bool     // pb+tor: only through Tor
	Host     string   // DNS name, IP address without brackets, or onion name in lower case
	Port     int
	Swissnum redact.Secret
}

// pin is how the SPKI hash is written: base64, URL alphabet, unpadded, and
// with zero trailing bits, so that a server has one name.
var pin = base64.RawURLEncoding.Strict()

// ParseNURL reads a NURL, strictly; one of an onion name is of Tor, pb: too. Errors are ErrVersion without the
// fragment v=1, ErrNetwork for networks other than TCP and Tor, else
// ErrSyntax.
func ParseNURL(s string) (NURL, error) {
	const what = "NURL"
	if len(s) > MaxLength {
		return NURL{}, bad(what, "too long")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return NURL{}, bad(what, "no scheme")
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	if fragment != "v=1" {
		return NURL{}, ErrVersion
	}
	n := NURL{Tor: scheme == "pb+tor"}
	if !n.Tor && scheme != "pb" {
		if strings.HasPrefix(scheme, "pb+") {
			return NURL{}, ErrNetwork
		}
		return NURL{}, bad(what, "does not start with pb:// or pb+tor://")
	}
	hash, rest, ok := strings.Cut(rest, "@")
	if !ok {
		return NURL{}, bad(what, "no @")
	}
	if len(hash) != pin.EncodedLen(len(n.SPKI)) {
		return NURL{}, bad(what, "key hash has the wrong length")
	}
	// The count too: the decoder skips line ends.
	if got, err := pin.Decode(n.SPKI[:], []byte(hash)); err != nil || got != len(n.SPKI) {
		return NURL{}, bad(what, "key hash is not base64")
	}
	place, swissnum, ok := strings.Cut(rest, "/")
	if !ok {
		return NURL{}, bad(what, "no swissnum")
	}
	if n.Host, n.Port, ok = hostPort(place); !ok {
		return NURL{}, bad(what, "no HOST:PORT")
	}
	// However it is announced, there is one way to an onion name, and who takes
	// another asks a resolver.
	n.Tor = n.Tor || IsOnion(n.Host)
	if strings.ContainsRune(n.Host, '%') {
		return NURL{}, bad(what, "address with a zone")
	}
	if err := checkSwissnum(what, swissnum, isUnreserved); err != nil {
		return NURL{}, err
	}
	n.Swissnum = redact.New(swissnum)
	return n, nil
}

// Reveal returns the text of n, swissnum and all. ParseNURL reads it back,
// given a valid host, port and swissnum.
func (n NURL) Reveal() string {
	scheme := "pb"
	if n.Tor {
		scheme = "pb+tor"
	}
	return scheme + "://" + pin.EncodeToString(n.SPKI[:]) + "@" +
		joinHostPort(n.Host, n.Port) + "/" + n.Swissnum.Reveal() + "#v=1"
}

// IsIP reports whether the host is an IP address rather than a name.
func (n NURL) IsIP() bool {
	_, err := netip.ParseAddr(n.Host)
	return err == nil
}

// String names n by the start of its key hash.
func (n NURL) String() string { return "nurl:" + pin.EncodeToString(n.SPKI[:])[:8] }

// Format prints what String returns, for every verb.
func (n NURL) Format(w fmt.State, _ rune) { io.WriteString(w, n.String()) }

// MarshalJSON writes what String returns.
func (n NURL) MarshalJSON() ([]byte, error) { return []byte(`"` + n.String() + `"`), nil }
