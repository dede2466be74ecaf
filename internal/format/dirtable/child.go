package dirtable

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"strings"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

const (
	prefixReadOnly  = "ro."
	prefixImmutable = "imm."
)

// Child is what a directory knows of a child, besides its metadata. It is
// comparable and does not print.
type Child struct {
	// Write grants writing; nil if the directory has or shows none. An
	// caps.Unknown in it may grant anything.
	Write caps.Cap
	// Read grants reading at most. Where it is an Unknown, that only is
	// claimed. nil when nothing is known of the child at all: its kind may be
	// one that only writes.
	Read caps.Cap
}

// Cap is the child's most powerful cap; nil if there is none.
func (c Child) Cap() caps.Cap {
	if c.Write != nil {
		return c.Write
	}
	return c.Read
}

// NewChild makes a child of the texts of two caps, one of which may be empty,
// as the web API takes them and directories hold them: rw grants writing or
// anything, ro reading only. Of a known rw the other follows, so ro is not
// looked at; a known write cap given as ro is diminished. Caps of unknown
// kinds are kept if their place or their prefix says what they grant:
// ErrNotStorable when nobody can tell. With immutable, children that may
// change are ErrNotImmutable.
func NewChild(rw, ro string, immutable bool) (Child, error) {
	rw, ro = strings.TrimRight(rw, " "), strings.TrimRight(ro, " ")
	in := caps.Anywhere
	if immutable {
		in = caps.Immutable
	}
	text := rw
	if text == "" {
		text = ro
	}
	if text == "" {
		return Child{}, nil
	}
	c := caps.Keep(text, in)
	if u, unknown := c.(caps.Unknown); unknown {
		return newUnknown(rw, ro, u, immutable)
	}
	read, ok := caps.Read(c)
	if !ok {
		return Child{}, ErrNotStorable
	}
	if caps.Writable(c) && rw != "" {
		return Child{Write: c, Read: read}, nil
	}
	return Child{Read: read}, nil
}

// newUnknown makes a child of caps of which the more powerful one is unknown.
func newUnknown(rw, ro string, u caps.Unknown, immutable bool) (Child, error) {
	claims := func(s string) bool {
		return strings.HasPrefix(s, prefixReadOnly) || strings.HasPrefix(s, prefixImmutable)
	}
	switch {
	case rw == "":
	case ro == "" && claims(rw) && (!immutable || strings.HasPrefix(rw, prefixImmutable)):
		rw, ro = "", rw // given in the wrong place
	case immutable:
		return Child{}, fmt.Errorf("%w: a write cap of an unknown kind", ErrNotImmutable)
	case ro == "":
		return Child{}, fmt.Errorf("%w: it is of an unknown kind and there is no read cap with it: %w", ErrNotStorable, u.Err())
	case strings.HasPrefix(ro, prefixImmutable):
		return Child{}, fmt.Errorf("%w: it has a write cap and claims to be immutable", ErrNotStorable)
	}
	bare := strings.TrimPrefix(ro, prefixReadOnly)
	if bare == ro {
		bare = strings.TrimPrefix(ro, prefixImmutable)
	}
	if bare == "" || claims(bare) {
		return Child{}, fmt.Errorf("%w: prefixes without or before another", ErrNotStorable)
	}
	if immutable {
		ro = prefixImmutable + bare
	} else if !claims(ro) {
		ro = prefixReadOnly + ro
	}
	read := caps.Keep(ro, caps.Anywhere)
	if r, unknown := read.(caps.Unknown); unknown && r.Err() != caps.ErrUnknownKind {
		if immutable {
			return Child{}, fmt.Errorf("%w: %w", ErrNotImmutable, r.Err())
		}
		return Child{}, fmt.Errorf("%w: %w", ErrNotStorable, r.Err())
	}
	if rw == "" {
		return Child{Read: read}, nil
	}
	return Child{Write: u, Read: read}, nil
}

// checkFor says whether c may stand in a directory.
func (c Child) checkFor(immutable bool) error {
	switch {
	case c.Read == nil:
		return fmt.Errorf("%w: no read cap", ErrNotStorable)
	case immutable && (c.Write != nil || !isUnknown(c.Read) && caps.Mutable(c.Read)):
		return ErrNotImmutable
	case c.Write != nil && !caps.Writable(c.Write):
		return fmt.Errorf("%w: its write cap does not grant writing", ErrNotStorable)
	}
	in := caps.ReadOnly
	if immutable {
		in = caps.Immutable
	}
	if _, err := caps.Mark(c.Read, in); err != nil {
		return fmt.Errorf("%w: %w", ErrNotStorable, err)
	}
	return nil
}

func isUnknown(c caps.Cap) bool { _, ok := c.(caps.Unknown); return ok }

// readText is the read cap as it stands in a directory: without the prefix
// that its place implies.
func (c Child) readText(immutable bool) string {
	s := c.Read.Reveal()
	if immutable && strings.HasPrefix(s, prefixImmutable) {
		return s[len(prefixImmutable):]
	}
	return strings.TrimPrefix(s, prefixReadOnly)
}

// Child returns the caps of the child: the write cap only if the directory's
// cap grants writing. ErrNotStorable or ErrNotImmutable when the directory
// holds nonsense; the reference leaves such children out of its lists.
func (e Entry) Child() (Child, error) {
	r := e.table.records[e.name]
	if r == nil {
		return Child{}, ErrNoChild
	}
	return NewChild(e.table.decrypt(r.write), string(r.read), e.table.immutable)
}

const (
	saltSize = 16
	macSize  = 32
)

// decrypt opens an encrypted write cap, "" without the key. The MAC is not
// checked, as the bytes around it are signed; the reference does not either.
func (t *Table) decrypt(sealed []byte) string {
	if t.writeKey.IsZero() || len(sealed) < saltSize+macSize {
		return ""
	}
	salt := [saltSize]byte(sealed)
	text := bytes.Clone(sealed[saltSize : len(sealed)-macSize])
	xorCTR(tagged.ChildKey(salt, t.writeKey.Reveal()), text)
	return string(text)
}

// encrypt closes a write cap, also an empty one: its absence is no secret, but
// the reference writes it so.
func (t *Table) encrypt(text string) []byte {
	if t.writeKey.IsZero() {
		return nil
	}
	if text == "" && t.noWrite != nil {
		return t.noWrite
	}
	salt := tagged.ChildSalt([]byte(text))
	key := tagged.ChildKey(salt, t.writeKey.Reveal())
	sealed := append(salt[:], text...)
	xorCTR(key, sealed[saltSize:])
	mac := tagged.ChildMAC(key[:], sealed)
	sealed = append(sealed, mac[:]...)
	if text == "" {
		t.noWrite = sealed
	}
	return sealed
}

// xorCTR encrypts or decrypts in place with AES-128 in counter mode from zero.
func xorCTR(key [16]byte, text []byte) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("dirtable: internal error: " + err.Error()) // 16 bytes are a key
	}
	var iv [aes.BlockSize]byte
	cipher.NewCTR(block, iv[:]).XORKeyStream(text, text)
}
