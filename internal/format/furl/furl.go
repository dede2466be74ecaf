// Package furl reads and writes the addresses of servers: Foolscap's fURLs
// and the NURLs of the HTTP storage protocol.
//
//	pb://TUBID@HINT,HINT/SWISSNUM         fURL
//	pb://SPKI@HOST:PORT/SWISSNUM#v=1      NURL
//	pb+tor://SPKI@HOST:PORT/SWISSNUM#v=1  NURL reached through Tor
//
// Both hold an unguessable swissnum, so neither prints: String and every fmt
// verb show a tag, Reveal gives the text. The package resolves and dials
// nothing, and knows nothing of policy: whether a host may be reached, and how,
// is netx's business. Start with ParseFURL and ParseNURL.
package furl

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/kit/redact"
)

// MaxLength bounds the text of a fURL or NURL, in bytes.
const MaxLength = 8 << 10

// MaxHints bounds the location hints of one fURL.
const MaxHints = 64

// maxSwissnum bounds a swissnum, in bytes. Ours have 32.
const maxSwissnum = 512

// tubIDLen is the length of a TubID: 20 bytes in base32.
const tubIDLen = 32

// Errors to branch on. Their texts show nothing of the input.
var (
	ErrSyntax = errors.New("malformed")
	// ErrVersion is for a NURL without the fragment v=1 (perhaps a fURL).
	ErrVersion = errors.New("not a version 1 NURL")
	// ErrNetwork is for a NURL of a network this program does not speak, such
	// as pb+i2p.
	ErrNetwork = errors.New("NURL for an unknown network")
)

func bad(what, why string) error { return fmt.Errorf("%s: %w: %s", what, ErrSyntax, why) }

// FURL is a Foolscap address. Hints may be empty: such a fURL names a service
// without saying where it is.
type FURL struct {
	TubID    string // 32 base32 characters: SHA-1 of the server's certificate
	Hints    []Hint
	Swissnum redact.Secret
}

// ParseFURL reads a fURL. What follows the first 32 characters of the TubID
// is reserved for extensions and dropped. Hints of unknown or malformed kind
// are kept as they are; an empty hint is an error.
func ParseFURL(s string) (FURL, error) {
	const what = "fURL"
	if len(s) > MaxLength {
		return FURL{}, bad(what, "too long")
	}
	rest, ok := strings.CutPrefix(s, "pb://")
	if !ok {
		return FURL{}, bad(what, "does not start with pb://")
	}
	tub, rest, ok := strings.Cut(rest, "@")
	if !ok {
		return FURL{}, bad(what, "no @")
	}
	if len(tub) < tubIDLen {
		return FURL{}, bad(what, "short TubID")
	}
	tub = tub[:tubIDLen]
	if _, err := base32.Decode(tub); err != nil {
		return FURL{}, bad(what, "TubID is not base32")
	}
	locations, swissnum, ok := strings.Cut(rest, "/")
	if !ok {
		return FURL{}, bad(what, "no swissnum")
	}
	if err := checkSwissnum(what, swissnum, isGraphic); err != nil {
		return FURL{}, err
	}
	hints, err := parseHints(locations)
	if err != nil {
		return FURL{}, err
	}
	return FURL{TubID: tub, Hints: hints, Swissnum: redact.New(swissnum)}, nil
}

func parseHints(s string) ([]Hint, error) {
	if s == "" {
		return nil, nil
	}
	if strings.Count(s, ",") >= MaxHints {
		return nil, bad("fURL", "too many hints")
	}
	var hints []Hint
	for h := range strings.SplitSeq(s, ",") {
		hint, err := ParseHint(h)
		if err != nil {
			return nil, err
		}
		hints = append(hints, hint)
	}
	return hints, nil
}

// Reveal returns the text of f, swissnum and all. ParseFURL reads it back,
// given a valid TubID and swissnum.
func (f FURL) Reveal() string {
	texts := make([]string, len(f.Hints))
	for i, h := range f.Hints {
		texts[i] = h.String()
	}
	return "pb://" + f.TubID + "@" + strings.Join(texts, ",") + "/" + f.Swissnum.Reveal()
}

// NURLs returns the addresses of the HTTP protocol that belong to f, for a
// server whose certificate has the pin spki: one for each tcp hint in new
// spelling and each tor hint with an onion name, in order.
func (f FURL) NURLs(spki [32]byte) []NURL {
	var out []NURL
	for _, h := range f.Hints {
		n := NURL{SPKI: spki, Host: h.Host, Port: h.Port, Swissnum: f.Swissnum}
		switch {
		case h.Kind == TCP && !h.Legacy && !IsOnion(h.Host):
		case h.Kind == Tor && IsOnion(h.Host):
			n.Tor = true
		default:
			continue
		}
		// A zone means nothing on another machine, and a swissnum that is no
		// path segment has no NURL.
		if _, err := ParseNURL(n.Reveal()); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// String names f by the start of its TubID.
func (f FURL) String() string { return "furl:" + f.TubID[:min(len(f.TubID), 8)] }

// Format prints what String returns, for every verb.
func (f FURL) Format(w fmt.State, _ rune) { io.WriteString(w, f.String()) }

// MarshalJSON writes what String returns.
func (f FURL) MarshalJSON() ([]byte, error) { return []byte(`"` + f.String() + `"`), nil }

// checkSwissnum bounds a swissnum and holds each of its bytes to allowed.
func checkSwissnum(what, s string, allowed func(byte) bool) error {
	if s == "" {
		return bad(what, "no swissnum")
	}
	if len(s) > maxSwissnum {
		return bad(what, "swissnum too long")
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return bad(what, "strange character in the swissnum")
		}
	}
	return nil
}

// isGraphic: visible ASCII, since a fURL stands on a line of its own in files.
func isGraphic(c byte) bool { return c > ' ' && c < 0x7f }

// isUnreserved: what RFC 3986 lets stand in a path without escape.
func isUnreserved(c byte) bool {
	return isAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
