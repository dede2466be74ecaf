package tortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// keysLast is how long cached keys are used; the certificates in them live for
// a year.
const keysLast = 180 * 24 * time.Hour

// makeKeys gives an authority or relay its keys and learns their fingerprints.
func (n *Network) makeKeys(ctx context.Context, nd *Node) (err error) {
	if nd.role == authority {
		if err := n.makeIdentity(ctx, nd); err != nil {
			return err
		}
	}
	nd.fingerprint, err = n.relayFingerprint(ctx, nd)
	return err
}

// makeIdentity gives an authority the keys it signs with, from the cache if
// they are there.
func (n *Network) makeIdentity(ctx context.Context, nd *Node) error {
	keys := filepath.Join(nd.dir, "keys")
	cached := ""
	if n.cfg.KeyCache != "" {
		cached = filepath.Join(n.cfg.KeyCache, nd.Name)
	}
	if cached == "" || loadKeys(cached, keys) != nil {
		if err := n.generate(ctx, nd, keys); err != nil {
			return err
		}
		if cached != "" {
			saveKeys(keys, cached)
		}
	}
	cert, err := os.ReadFile(filepath.Join(keys, "authority_certificate"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(cert)) {
		if name, ok := strings.CutPrefix(line, "fingerprint "); ok {
			nd.v3name = strings.TrimSpace(name)
		}
	}
	if nd.v3name == "" {
		return fmt.Errorf("the certificate of %s has no fingerprint", nd.Name)
	}
	return nil
}

// writeBandwidths tells the authorities that all relays are equally fast. A new
// relay knows nothing of its own speed and is listed with bandwidth 0; the one
// or two nodes that happen to be listed with more are then chosen for every
// place in a path, guard and rendezvous point alike, and no circuit goes
// through one relay twice in a row. That is where the long stalls of young
// networks come from. (Authorities keep their small bandwidth whatever the file
// says.)
func (n *Network) writeBandwidths(nodes []*Node) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", time.Now().Unix())
	for _, nd := range nodes {
		fmt.Fprintf(&b, "node_id=$%s bw=%d\n", nd.fingerprint, bandwidth)
	}
	return os.WriteFile(n.file(bandwidths), []byte(b.String()), 0o600)
}

// bandwidths is the file's name, bandwidth what it says of each node, in kB/s.
const (
	bandwidths = "bandwidths"
	bandwidth  = 10000
)

func (n *Network) generate(ctx context.Context, nd *Node, keys string) error {
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(keys, name) }
	gencert := filepath.Join(filepath.Dir(n.cfg.Executable), "tor-gencert")
	if _, err := os.Stat(gencert); err != nil {
		gencert = "tor-gencert" // beside the tor of a package manager it may not be
	}
	_, err := run(ctx, "passphrase\n", gencert, "--create-identity-key", "--passphrase-fd", "0", "-m", "12",
		"-i", in("authority_identity_key"), "-s", in("authority_signing_key"), "-c", in("authority_certificate"))
	return err
}

// relayFingerprint has tor make its relay keys and say what they are.
func (n *Network) relayFingerprint(ctx context.Context, nd *Node) (string, error) {
	out, err := run(ctx, "", n.cfg.Executable, "--list-fingerprint", "--defaults-torrc", n.file("empty"), "-f", n.file("empty"),
		"--ORPort", strconv.Itoa(nd.orPort), "--Nickname", nd.Name, "--DataDirectory", nd.dir,
		"--DirAuthority", "x 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff", "--hush", "--Log", "err stderr")
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(nd.dir, "fingerprint"))
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	fields := strings.Fields(string(b))
	if len(fields) != 2 {
		return "", fmt.Errorf("the fingerprint file of %s is odd: %q", nd.Name, b)
	}
	return fields[1], nil
}

func run(ctx context.Context, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running %s: %w: %s", argv[0], err, out.String())
	}
	return out.String(), nil
}

// loadKeys copies keys out of the cache.
func loadKeys(from, to string) error {
	fi, err := os.Stat(filepath.Join(from, "authority_certificate"))
	if err != nil {
		return err
	}
	if time.Since(fi.ModTime()) > keysLast {
		return errors.New("too old")
	}
	return os.CopyFS(to, os.DirFS(from))
}

// saveKeys puts keys into the cache in one step, unless some are there that
// still serve.
func saveKeys(from, to string) {
	if fi, err := os.Stat(filepath.Join(to, "authority_certificate")); err == nil && time.Since(fi.ModTime()) < keysLast {
		return
	}
	if os.MkdirAll(filepath.Dir(to), 0o700) != nil {
		return
	}
	temp, err := os.MkdirTemp(filepath.Dir(to), "new")
	if err != nil {
		return
	}
	defer os.RemoveAll(temp)
	if os.CopyFS(temp, os.DirFS(from)) != nil {
		return
	}
	os.RemoveAll(to)
	os.Rename(temp, to)
}
