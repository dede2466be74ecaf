package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/durable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/tubcert"
)

// Names of the files that hold what a node is.
const (
	secretFile      = "private/secret"
	convergenceFile = "private/convergence"
	privkeyFile     = "private/node.privkey"
	pubkeyFile      = "node.pubkey"
	nodeIDFile      = "my_nodeid"
	seedFile        = "permutation-seed"
	nodeURLFile     = "node.url"
	tokenFile       = "private/api_auth_token"
	seqnumFile      = "announcement-seqnum"

	maxSecretFile = 4096
	keyPrefix     = "priv-v0-"
	pubPrefix     = "pub-v0-"
)

// Files that hold the address of a service, and with it the key to it.
const (
	StorageFURLFile    = "private/storage.furl"
	IntroducerFURLFile = "private/introducer.furl"
)

// Identity is what makes a node itself. The secrets are raw bytes.
type Identity struct {
	LeaseSecret redact.Secret // root of all lease secrets
	Convergence redact.Secret // equal files meet only among those who share it
	NodeKey     redact.Secret // seed of the ed25519 key that signs announcements
	PublicKey   ed25519.PublicKey
	ServerID    string // "v0-" and the public key in base32
	TubCert     string // path of the certificate; see package tubcert
}

// EnsureIdentity reads a node's identity and makes what is missing. Files in
// private/ have mode 0600 from the start; a file that is there is never
// replaced. It may be called by several processes at once.
func EnsureIdentity(dir string) (Identity, error) {
	id := Identity{TubCert: filepath.Join(dir, PrivateDir, tubcert.FileName)}
	if err := os.Mkdir(filepath.Join(dir, PrivateDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return id, fmt.Errorf("making the private folder: %w", err)
	}
	var err error
	if id.LeaseSecret, err = ensureSecret(dir, secretFile, ""); err != nil {
		return id, err
	}
	if id.Convergence, err = ensureSecret(dir, convergenceFile, ""); err != nil {
		return id, err
	}
	if id.NodeKey, err = ensureSecret(dir, privkeyFile, keyPrefix); err != nil {
		return id, err
	}
	if len(id.NodeKey.Reveal()) != ed25519.SeedSize {
		return id, fmt.Errorf("%s: the key has the wrong length", privkeyFile)
	}
	key := ed25519.NewKeyFromSeed([]byte(id.NodeKey.Reveal()))
	id.PublicKey = key.Public().(ed25519.PublicKey)
	text := base32.Encode(id.PublicKey)
	id.ServerID = "v0-" + text
	return id, keep(dir, pubkeyFile, pubPrefix+text+"\n", 0o644)
}

// ensureSecret reads prefix + base32 from a file, or makes one of 32 random
// bytes.
func ensureSecret(dir, name, prefix string) (redact.Secret, error) {
	text, err := readText(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		var b [32]byte
		rand.Read(b[:])
		text = prefix + base32.Encode(b[:])
		err = durable.WriteNewFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600)
		if errors.Is(err, fs.ErrExist) { // another process was faster
			text, err = readText(dir, name)
		}
	}
	if err != nil {
		return redact.Secret{}, fmt.Errorf("reading or making %s: %w", name, err)
	}
	b, err := base32.Decode(strings.TrimPrefix(text, prefix))
	if err != nil || !strings.HasPrefix(text, prefix) || len(b) == 0 {
		return redact.Secret{}, fmt.Errorf("%s: not %q and base32 (the file is damaged: restore it from a backup)", name, prefix)
	}
	return redact.New(string(b)), nil
}

func readText(dir, name string) (string, error) {
	b, err := readLimited(filepath.Join(dir, name), maxSecretFile)
	return strings.TrimSpace(string(b)), err
}

// keep writes a file unless it holds just this already.
func keep(dir, name, text string, mode fs.FileMode) error {
	path := filepath.Join(dir, name)
	if old, err := readLimited(path, maxSecretFile); err == nil && string(old) == text {
		return nil
	}
	if err := durable.WriteFile(path, []byte(text), mode); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// EnsureSeed returns the node's permutation seed, its place in every
// client's order of servers. It is chosen once: the server's public key, or,
// if shares were stored before the file existed, the TubID, as clients of that
// time had it.
func (id Identity) EnsureSeed(dir string, tubID [20]byte, haveShares bool) ([]byte, error) {
	text, err := readText(dir, seedFile)
	if err == nil && text != "" {
		b, err := base32.Decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", seedFile, err)
		}
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", seedFile, err)
	}
	seed := []byte(id.PublicKey)
	if haveShares {
		seed = tubID[:]
	}
	return seed, keep(dir, seedFile, base32.Encode(seed)+"\n", 0o644)
}

// WriteNodeID records the node's TubID.
func WriteNodeID(dir, tubID string) error { return keep(dir, nodeIDFile, tubID+"\n", 0o644) }

// WritePort records the port that was chosen for the node, as an endpoint.
func WritePort(dir, endpoint string) error { return keep(dir, PortFile, endpoint+"\n", 0o644) }

// WriteNodeURL records where the web gateway is.
func WriteNodeURL(dir, url string) error { return keep(dir, nodeURLFile, url+"\n", 0o644) }

// NodeURL returns where the web gateway of a node directory is. A missing
// file is fs.ErrNotExist.
func NodeURL(dir string) (string, error) {
	text, err := readText(dir, nodeURLFile)
	if err != nil {
		return "", fmt.Errorf("finding the node's web gateway: %w", err)
	}
	return text, nil
}

// NewAuthToken makes the token by which local programs show the gateway that
// they may read private/. Each start makes another.
func NewAuthToken(dir string) (redact.Secret, error) {
	var b [32]byte
	rand.Read(b[:])
	text := base64.URLEncoding.EncodeToString(b[:])
	return redact.New(text), keep(dir, tokenFile, text+"\n", 0o600)
}

// EnsureFURL returns the fURL in a file, one of the names above, for this TubID
// and these hints. Its swissnum is kept, or made; the file is rewritten where
// the rest of it changed.
func EnsureFURL(dir, name, tubID string, hints []furl.Hint) (furl.FURL, error) {
	f := furl.FURL{TubID: tubID, Hints: hints}
	text, err := readText(dir, name)
	switch {
	case err == nil:
		old, err := furl.ParseFURL(text)
		if err != nil {
			return f, fmt.Errorf("%s: %w", name, err)
		}
		f.Swissnum = old.Swissnum
	case errors.Is(err, fs.ErrNotExist):
		var b [20]byte
		rand.Read(b[:])
		f.Swissnum = redact.New(base32.Encode(b[:]))
	default:
		return f, fmt.Errorf("reading %s: %w", name, err)
	}
	return f, keep(dir, name, f.Reveal()+"\n", 0o600)
}

// MoveIntroducerFURL puts the address of an introducer to where it belongs,
// if an old version left it where others may read it.
func MoveIntroducerFURL(dir string) error {
	old, now := filepath.Join(dir, "introducer.furl"), filepath.Join(dir, filepath.FromSlash(IntroducerFURLFile))
	if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(now); err == nil {
		return fmt.Errorf("there are an old introducer.furl and %s: keep in the latter the address that the nodes of the grid have, and delete the former", IntroducerFURLFile)
	}
	if err := os.Chmod(old, 0o600); err != nil {
		return fmt.Errorf("closing introducer.furl to others: %w", err)
	}
	if err := os.Rename(old, now); err != nil {
		return fmt.Errorf("moving introducer.furl to %s: %w", IntroducerFURLFile, err)
	}
	return nil
}

// NextSeqnum returns the sequence number for the next announcement of this
// node, which is on disk before it is used: others believe only those that
// grow.
func NextSeqnum(dir string) (int64, error) {
	text, err := readText(dir, seqnumFile)
	n := int64(0)
	if err == nil && text != "" {
		n, err = strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n == math.MaxInt64 {
			return 0, fmt.Errorf("%s: %q is no sequence number; write one there that is greater than any this node has announced", seqnumFile, clipID(text))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("reading %s: %w", seqnumFile, err)
	}
	n++
	return n, keep(dir, seqnumFile, strconv.FormatInt(n, 10)+"\n", 0o644)
}
