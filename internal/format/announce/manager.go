package announce

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tahoe-go/internal/codec/base32"
)

// Bounds of certificates; real ones have some 130 bytes inside and 290 around.
const (
	maxCertText = 4 << 10 // the signed text
	maxCertFile = 32 << 10
)

// Certificate is a grid manager's word, signed, that a server may be used
// until some time. It is comparable, no secret, and proves nothing before
// Verify. Its JSON is that of the files NAME.cert.N and of announcements.
type Certificate struct {
	Text      string // JSON, the very bytes that are signed
	Signature [64]byte
}

// Grant is what a certificate says.
type Grant struct {
	Server  Key
	Expires time.Time // exclusive
}

// certificateJSON is the outside of a certificate.
type certificateJSON struct {
	Certificate string `json:"certificate"`
	Signature   string `json:"signature"`
}

// grantJSON is the inside, its fields in alphabetical order.
type grantJSON struct {
	Expires string `json:"expires"`
	Key     string `json:"public_key"`
	Version int    `json:"version"`
}

// ParseCertificate reads the JSON of a certificate: these two fields and no
// others.
func ParseCertificate(b []byte) (Certificate, error) {
	if len(b) > maxCertFile {
		return Certificate{}, fmt.Errorf("certificate: %w: %d bytes", ErrSyntax, len(b))
	}
	var m map[string]*string // a struct would take other cases of the names too
	if err := json.Unmarshal(b, &m); err != nil || len(m) != 2 || m["certificate"] == nil || m["signature"] == nil {
		return Certificate{}, fmt.Errorf("certificate: %w: not an object of certificate and signature", ErrSyntax)
	}
	c := Certificate{Text: *m["certificate"]}
	if len(c.Text) > maxCertText {
		return Certificate{}, fmt.Errorf("certificate: %w: %d bytes inside", ErrSyntax, len(c.Text))
	}
	sig, err := decode(*m["signature"], "", len(c.Signature))
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate: signature: %w", err)
	}
	c.Signature = [64]byte(sig)
	return c, nil
}

// MarshalJSON writes what ParseCertificate reads.
func (c Certificate) MarshalJSON() ([]byte, error) {
	return json.Marshal(certificateJSON{c.Text, base32.Encode(c.Signature[:])})
}

// Verify returns what manager says in c. ErrSignature if it is not its word,
// else ErrSyntax. It does not look at the time.
func (c Certificate) Verify(manager Key) (Grant, error) {
	if !manager.verifies(c.Text, c.Signature[:]) {
		return Grant{}, fmt.Errorf("certificate: %w", ErrSignature)
	}
	return c.Claim()
}

// Claim is what somebody says in c, who need be no manager. ErrSyntax if it is
// nothing. For those who know no manager.
func (c Certificate) Claim() (Grant, error) {
	var g grantJSON
	if err := json.Unmarshal([]byte(c.Text), &g); err != nil {
		return Grant{}, fmt.Errorf("certificate: %w", ErrSyntax)
	}
	if g.Version != 1 {
		return Grant{}, fmt.Errorf("certificate: %w: version %d, want 1", ErrSyntax, g.Version)
	}
	key, err := ParsePublic(g.Key)
	if err != nil {
		return Grant{}, fmt.Errorf("certificate: %w", err)
	}
	expires, err := time.Parse(time.RFC3339Nano, g.Expires)
	if err != nil {
		return Grant{}, fmt.Errorf("certificate: %w: expires is not a time with its zone", ErrSyntax)
	}
	return Grant{key, expires}, nil
}

// Certify signs g as the grid manager with this key. Expires is cut to
// microseconds.
func Certify(manager SigningKey, g Grant) (Certificate, error) {
	if manager == (SigningKey{}) {
		return Certificate{}, errors.New("certifying a server: no key")
	}
	layout := "2006-01-02T15:04:05.000000+00:00"
	if g.Expires.Truncate(time.Microsecond).Nanosecond() == 0 {
		layout = "2006-01-02T15:04:05+00:00" // as Python prints it
	}
	text, err := json.Marshal(grantJSON{g.Expires.UTC().Format(layout), g.Server.Public(), 1})
	if err != nil {
		return Certificate{}, fmt.Errorf("certifying a server: %w", err)
	}
	return Certificate{string(text), [64]byte(manager.sign(string(text)))}, nil
}

// Certified reports whether one of managers vouches for server at now by one
// of certs. Without managers everybody is welcome.
func Certified(managers []Key, certs []Certificate, server Key, now time.Time) bool {
	return len(managers) == 0 || CertifiedUntil(managers, certs, server).After(now)
}

// CertifiedUntil is until when, exclusively, one of managers vouches for server
// by one of certs. It is zero if none does or ever did.
func CertifiedUntil(managers []Key, certs []Certificate, server Key) (until time.Time) {
	for _, c := range certs {
		for _, m := range managers {
			if g, err := c.Verify(m); err == nil && g.Server == server && g.Expires.After(until) {
				until = g.Expires
			}
		}
	}
	return until
}
