package announce

import (
	"encoding/json"
	"errors"
	"fmt"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/kit/redact"
)

// Bounds of one announcement. Real ones have 600 to 2000 bytes.
const (
	MaxMessage = 64 << 10 // bytes of JSON
	maxService = 100
	maxText    = 1000 // bytes of a nickname or version
	// maxDepth bounds nesting, as a cache in indented YAML grows with its
	// square.
	maxDepth = 16
)

// Storage is the service that storage servers announce.
const Storage = "storage"

// Errors to branch on. Their texts show nothing of an announcement.
var (
	ErrSyntax = errors.New("malformed")
	// ErrDuplicate says that an announcement is already known.
	ErrDuplicate = errors.New("announcement is already known")
	// ErrStale says that an announcement is older than the known one, or does
	// not say: perhaps somebody replays it.
	ErrStale = errors.New("announcement is not newer than the known one")
)

// Signed is an announcement on the wire: the triple of publish_v2 and
// announce_v2. It is comparable. It does not print, as Msg holds a swissnum.
type Signed struct {
	Msg redact.Secret // JSON, the very bytes that are signed
	Sig string        // "v0-…" of 64 bytes
	Key string        // "v0-…" of 32 bytes
}

// Verify checks the signature and reads the message. ErrUnknownKey without
// signature or with one of a later kind, ErrSignature, or ErrSyntax.
func (s Signed) Verify() (*Announcement, error) {
	key, err := ParseKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("announcement: %w", err)
	}
	sig, err := decode(s.Sig, prefix, 64)
	if err != nil {
		return nil, fmt.Errorf("announcement of %s: signature: %w", key, err)
	}
	msg := s.Msg.Reveal()
	if len(msg) > MaxMessage {
		return nil, fmt.Errorf("announcement of %s: %w: %d bytes", key, ErrSyntax, len(msg))
	}
	if !key.verifies(msg, sig) {
		return nil, fmt.Errorf("announcement of %s: %w", key, ErrSignature)
	}
	return parse(key, s.Msg)
}

// sign makes the triple of a message.
func sign(k SigningKey, msg string) Signed {
	return Signed{redact.New(msg), prefix + base32.Encode(k.sign(msg)), k.Key().String()}
}

// Announcement is one that was verified, or comes from a trusted file. The
// introducer keeps one for each pair of service and key. It does not print
// its fields and does not change.
type Announcement struct {
	Key       Key
	Service   string
	Nickname  string
	Version   string // of the announcing program
	Seqnum    int64  // 0 without HasSeqnum
	HasSeqnum bool

	msg redact.Secret // the JSON
}

// parse reads a message. Fields of wrong type that everybody needs are
// ErrSyntax; those that only make a server unusable are not looked at.
func parse(key Key, msg redact.Secret) (*Announcement, error) {
	a := &Announcement{Key: key, msg: msg}
	fields, err := parseFields(msg.Reveal())
	if err == nil {
		a.Service, err = fields.text("service-name", maxService)
	}
	if err == nil && a.Service == "" {
		err = fmt.Errorf("%w: no service-name", ErrSyntax)
	}
	if err == nil {
		a.Nickname, err = fields.text("nickname", maxText)
	}
	if err == nil {
		a.Version, err = fields.text("my-version", maxText)
	}
	if err == nil {
		a.Seqnum, a.HasSeqnum, err = fields.seqnum()
	}
	if err != nil {
		return nil, fmt.Errorf("announcement of %s: %w", key, err)
	}
	return a, nil
}

// Replaces says whether a may take the place of old, of the same service and
// key: nil if it may, else ErrDuplicate or ErrStale. Only a greater sequence
// number replaces one; an announcement without any is replaced by whatever
// comes. A nil old is always replaced.
func (a *Announcement) Replaces(old *Announcement) error {
	switch {
	case old == nil:
		return nil
	case a.Service != old.Service || a.Key != old.Key:
		return errors.New("announcements of different services or nodes")
	case a.canonical() == old.canonical():
		return ErrDuplicate
	case !old.HasSeqnum || a.HasSeqnum && a.Seqnum > old.Seqnum:
		return nil
	}
	return ErrStale
}

// canonical is the message without its order and spaces: a cache keeps
// neither.
func (a *Announcement) canonical() string {
	b, err := json.Marshal(a.Fields())
	if err != nil {
		panic("announce: internal error: " + err.Error()) // it came out of JSON
	}
	return string(b)
}
