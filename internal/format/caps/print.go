package caps

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"tahoe-go/internal/codec/base32"
)

// Kind is "chk".
func (c CHK) Kind() Kind { return "chk" }

// Kind is "chk-verifier".
func (c CHKVerifier) Kind() Kind { return "chk-verifier" }

// Kind is "lit".
func (c LIT) Kind() Kind { return "lit" }

// Kind is "ssk" or "mdmf".
func (c SSK) Kind() Kind { return sskKind(c.MDMF, "") }

// Kind is "ssk-ro" or "mdmf-ro".
func (c SSKRead) Kind() Kind { return sskKind(c.MDMF, "-ro") }

// Kind is "ssk-verifier" or "mdmf-verifier".
func (c SSKVerifier) Kind() Kind { return sskKind(c.MDMF, "-verifier") }

// Kind is "dir2" and what the file's kind adds, such as "dir2-mdmf-ro".
func (c Dir) Kind() Kind {
	if c.file == nil {
		return "dir2-invalid"
	}
	k := string(c.file.Kind())
	if what, ok := strings.CutPrefix(k, "ssk"); ok {
		return Kind("dir2" + what)
	}
	return Kind("dir2-" + k)
}

// Kind is KindUnknown.
func (c Unknown) Kind() Kind { return KindUnknown }

func sskKind(mdmf bool, what string) Kind {
	if mdmf {
		return Kind("mdmf" + what)
	}
	return Kind("ssk" + what)
}

// Reveal returns the text of the cap.
func (c CHK) Reveal() string {
	key := c.Key.Reveal()
	return revealCHK("CHK", key, c.UEBHash, c.K, c.N, c.Size)
}

// Reveal returns the text of the cap.
func (c CHKVerifier) Reveal() string {
	return revealCHK("CHK-Verifier", c.Index, c.UEBHash, c.K, c.N, c.Size)
}

// Reveal returns the text of the cap.
func (c LIT) Reveal() string { return "URI:LIT:" + base32.Encode(c.Data()) }

// Reveal returns the text of the cap.
func (c SSK) Reveal() string { return revealSSK(c.MDMF, "", c.WriteKey.Reveal(), c.Fingerprint) }

// Reveal returns the text of the cap.
func (c SSKRead) Reveal() string { return revealSSK(c.MDMF, "-RO", c.ReadKey.Reveal(), c.Fingerprint) }

// Reveal returns the text of the cap.
func (c SSKVerifier) Reveal() string {
	return revealSSK(c.MDMF, "-Verifier", c.Index, c.Fingerprint)
}

// Reveal returns the text of the cap, or "" for the zero Dir.
func (c Dir) Reveal() string {
	if c.file == nil {
		return ""
	}
	file := c.file.Reveal()
	if rest, ok := strings.CutPrefix(file, "URI:SSK"); ok {
		return "URI:DIR2" + rest
	}
	return "URI:DIR2-" + strings.TrimPrefix(file, "URI:")
}

// Reveal returns the text as it was given to Keep.
func (c Unknown) Reveal() string { return c.text.Reveal() }

func revealCHK(name string, key [16]byte, hash [32]byte, k, n int, size int64) string {
	return fmt.Sprintf("URI:%s:%s:%s:%d:%d:%d", name, base32.Encode(key[:]), base32.Encode(hash[:]), k, n, size)
}

func revealSSK(mdmf bool, what string, key [16]byte, hash [32]byte) string {
	name := "SSK"
	if mdmf {
		name = "MDMF"
	}
	return "URI:" + name + what + ":" + base32.Encode(key[:]) + ":" + base32.Encode(hash[:])
}

// tag is what may be shown of a cap: its kind and the start of its storage
// index. A LIT gets its kind only, as a hash of little data gives it away.
func tag(c Cap) string {
	t := "cap:" + string(c.Kind())
	if si, ok := Index(c); ok {
		return t + ":" + si.String()[:4] + "…"
	}
	if u, ok := c.(Unknown); ok {
		h := sha256.Sum256([]byte(u.text.Reveal()))
		return t + ":" + base32.Encode(h[:])[:4] + "…"
	}
	return t
}

// The rest makes every road of fmt, slog and encoding/json show the tag. Where
// fmt cannot call methods (unexported fields), Key, LIT and Unknown hold
// their bytes behind a redact.Secret.

func write(f fmt.State, c Cap)               { io.WriteString(f, tag(c)) }
func marshal(c fmt.Stringer) ([]byte, error) { return []byte(`"` + c.String() + `"`), nil }

// String returns a fixed word.
func (k Key) String() string { return k.secret.String() }

// String returns the tag.
func (c CHK) String() string { return tag(c) }

// String returns the tag.
func (c CHKVerifier) String() string { return tag(c) }

// String returns the tag.
func (c LIT) String() string { return tag(c) }

// String returns the tag.
func (c SSK) String() string { return tag(c) }

// String returns the tag.
func (c SSKRead) String() string { return tag(c) }

// String returns the tag.
func (c SSKVerifier) String() string { return tag(c) }

// String returns the tag.
func (c Dir) String() string { return tag(c) }

// String returns the tag.
func (c Unknown) String() string { return tag(c) }

// Format prints a fixed word for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// Format prints the tag for every verb.
func (c CHK) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c CHKVerifier) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c LIT) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c SSK) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c SSKRead) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c SSKVerifier) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c Dir) Format(f fmt.State, _ rune) { write(f, c) }

// Format prints the tag for every verb.
func (c Unknown) Format(f fmt.State, _ rune) { write(f, c) }

// MarshalJSON writes a fixed word.
func (k Key) MarshalJSON() ([]byte, error) { return marshal(k) }

// MarshalJSON writes the tag.
func (c CHK) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c CHKVerifier) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c LIT) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c SSK) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c SSKRead) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c SSKVerifier) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c Dir) MarshalJSON() ([]byte, error) { return marshal(c) }

// MarshalJSON writes the tag.
func (c Unknown) MarshalJSON() ([]byte, error) { return marshal(c) }
