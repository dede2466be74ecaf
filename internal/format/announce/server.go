package announce

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/furl"
)

// Names of the fields with NURLs. OnionNURLsField is our own: the reference
// hands the host of any NURL it sees to a resolver, and never falls back to
// Foolscap.
const (
	NURLsField      = "anonymous-storage-NURLs"
	OnionNURLsField = "tahoe-go-onion-NURLs"
)

// CertificatesField is the name of the field with what grid managers say.
const CertificatesField = "grid-manager-certificates"

// Names of other fields that others read and write too.
const (
	keyFURL = "anonymous-storage-FURL"
	keySeed = "permutation-seed-base32"
)

// Bounds of a server's fields.
const (
	MaxNURLs = 64
	MaxCerts = 64
	maxSeed  = 1 << 10 // bytes
	maxID    = 200
)

// Server is a storage server: how to reach it, and its place on the grid. It
// holds swissnums, which do not print.
type Server struct {
	ID       string // "v0-…" if it signed; lists of servers may call it anything
	Nickname string
	Version  string    // of its program; "" if it does not say
	FURL     furl.FURL // its TubID also seeds lease secrets
	// NURLs are of the HTTP protocol; OnionNURLs are those that are only for
	// programs that know how to reach them. Either may be empty.
	NURLs      []furl.NURL
	OnionNURLs []furl.NURL
	Seed       []byte // its place in the permuted order of servers
	// GridManagerCerts are as announced, unchecked.
	GridManagerCerts []Certificate
	Seqnum           int64 // of the announcement it comes from; 0: none. Sign has its own

	// Dropped says what was left out of the lists above and why.
	Dropped []error
}

// AllNURLs returns NURLs and OnionNURLs, each address once.
func (s Server) AllNURLs() []furl.NURL {
	var all []furl.NURL
	for _, n := range slices.Concat(s.NURLs, s.OnionNURLs) {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// Server returns the storage server that a announces. An announcement of
// another service, or without the address by which everybody names the
// server, is an error. A bad NURL or certificate is only Dropped.
func (a *Announcement) Server() (Server, error) {
	if a.Service != Storage {
		return Server{}, errors.New("the announcement is not of a storage server")
	}
	f, err := parseFields(a.msg.Reveal())
	if err != nil {
		return Server{}, err
	}
	s, err := f.server(a.Key.String())
	if err != nil {
		return Server{}, fmt.Errorf("server %s: %w", a.Key, err)
	}
	s.Seqnum = a.Seqnum
	return s, nil
}

// ParseServer reads the fields of a server that somebody vouches for without
// a signature, as in private/servers.yaml. id is any name in visible ASCII.
func ParseServer(id string, ann map[string]any) (Server, error) {
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return Server{}, fmt.Errorf("%w: server id", ErrSyntax)
	}
	msg, err := toJSON(ann)
	if err != nil {
		return Server{}, err
	}
	f, err := parseFields(msg)
	if err != nil {
		return Server{}, err
	}
	return f.server(id)
}

func (f fields) server(id string) (Server, error) {
	s := Server{ID: id}
	var seed, address string
	for _, t := range []struct {
		to   *string
		key  string
		most int
	}{
		{&s.Nickname, "nickname", maxText},
		{&s.Version, "my-version", maxText},
		{&address, keyFURL, furl.MaxLength},
		{&seed, keySeed, 2 * maxSeed},
	} {
		var err error
		if *t.to, err = f.text(t.key, t.most); err != nil {
			return Server{}, err
		}
	}
	if address == "" {
		return Server{}, fmt.Errorf("%w: no %s", ErrSyntax, keyFURL)
	}
	var err error
	if s.FURL, err = furl.ParseFURL(address); err != nil {
		return Server{}, fmt.Errorf("%s: %w", keyFURL, err)
	}
	if s.Seed, err = seedOf(id, seed); err != nil {
		return Server{}, err
	}
	if s.NURLs, err = f.nurls(NURLsField, &s.Dropped); err != nil {
		return Server{}, err
	}
	if s.OnionNURLs, err = f.nurls(OnionNURLsField, &s.Dropped); err != nil {
		return Server{}, err
	}
	s.OnionNURLs = slices.DeleteFunc(s.OnionNURLs, func(n furl.NURL) bool {
		if n.Tor {
			return false
		}
		s.Dropped = append(s.Dropped, errors.New(OnionNURLsField+": a NURL that is not of Tor"))
		return true
	})
	if s.GridManagerCerts, err = f.certificates(&s.Dropped); err != nil {
		return Server{}, err
	}
	return s, nil
}

// seedOf is the announced permutation seed, else the server's public key,
// else a hash of its id.
func seedOf(id, text string) ([]byte, error) {
	if text != "" {
		b, err := base32.Decode(text)
		if err != nil || len(b) == 0 || len(b) > maxSeed {
			return nil, fmt.Errorf("%w: %s", ErrSyntax, keySeed)
		}
		return b, nil
	}
	if key, err := ParseKey(strings.ToLower(id)); err == nil && strings.HasPrefix(id, prefix) {
		return key[:], nil
	}
	h := sha256.Sum256([]byte(id))
	return h[:], nil
}

func (f fields) nurls(key string, dropped *[]error) ([]furl.NURL, error) {
	list, err := f.list(key, MaxNURLs)
	if err != nil {
		return nil, err
	}
	var nurls []furl.NURL
	for i, raw := range list {
		var text string
		err := json.Unmarshal(raw, &text)
		if err != nil {
			err = fmt.Errorf("%w: not a string", ErrSyntax)
		}
		var n furl.NURL
		if err == nil {
			n, err = furl.ParseNURL(text)
		}
		if err != nil {
			*dropped = append(*dropped, fmt.Errorf("%s, entry %d: %w", key, i, err))
			continue
		}
		nurls = append(nurls, n)
	}
	return nurls, nil
}

func (f fields) certificates(dropped *[]error) ([]Certificate, error) {
	list, err := f.list(CertificatesField, MaxCerts)
	if err != nil {
		return nil, err
	}
	var certs []Certificate
	for i, raw := range list {
		c, err := ParseCertificate(raw)
		if err != nil {
			*dropped = append(*dropped, fmt.Errorf("%s, entry %d: %w", CertificatesField, i, err))
			continue
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// message is a storage server's announcement, its fields in the reference's
// order.
type message struct {
	Version   int           `json:"version"`
	Nickname  string        `json:"nickname"`
	Apps      []string      `json:"app-versions"` // always empty today
	MyVersion string        `json:"my-version"`
	Oldest    string        `json:"oldest-supported"`
	Service   string        `json:"service-name"`
	FURL      string        `json:"anonymous-storage-FURL"`
	NURLs     []string      `json:"anonymous-storage-NURLs,omitempty"`
	Onions    []string      `json:"tahoe-go-onion-NURLs,omitempty"`
	Seed      string        `json:"permutation-seed-base32"`
	Certs     []Certificate `json:"grid-manager-certificates,omitempty"`
	Seqnum    int64         `json:"seqnum"`
	Nonce     string        `json:"nonce"`
}

// OldestSupported is the oldest version that announcements claim to get on
// with. Everybody writes this one; nobody reads it.
const OldestSupported = "1.0.0"

// Sign announces s, whose ID must be that of k, or empty. seqnum must grow
// from one announcement of k to the next, also over restarts; nonce is random
// bytes, the reference has 32.
func (s Server) Sign(k SigningKey, seqnum int64, nonce []byte) (Signed, error) {
	switch {
	case k == SigningKey{}:
		return Signed{}, errors.New("announcing a server: no key")
	case s.ID != "" && s.ID != k.Key().String():
		return Signed{}, errors.New("announcing a server: the key is another's")
	case len(nonce) == 0:
		return Signed{}, errors.New("announcing a server: no nonce")
	}
	seed := s.Seed
	if len(seed) == 0 {
		key := k.Key()
		seed = key[:]
	}
	m := message{
		Nickname: s.Nickname, Apps: []string{}, MyVersion: s.Version, Oldest: OldestSupported, Service: Storage,
		FURL: s.FURL.Reveal(), NURLs: texts(s.NURLs), Onions: texts(s.OnionNURLs), Seed: base32.Encode(seed),
		Certs: s.GridManagerCerts, Seqnum: seqnum, Nonce: base32.Encode(nonce),
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return Signed{}, fmt.Errorf("announcing a server: %w", err)
	}
	signed := sign(k, strings.TrimSuffix(b.String(), "\n"))
	// What nobody could read is better refused here than by everybody.
	a, err := signed.Verify()
	if err != nil {
		return Signed{}, err
	}
	back, err := a.Server()
	if err != nil {
		return Signed{}, err
	}
	if len(back.Dropped) > 0 {
		return Signed{}, fmt.Errorf("announcing a server: %w", errors.Join(back.Dropped...))
	}
	return signed, nil
}

func texts(nurls []furl.NURL) []string {
	var list []string
	for _, n := range nurls {
		list = append(list, n.Reveal())
	}
	return list
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
