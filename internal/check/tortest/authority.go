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

// makeAuthority gives an authority its keys, from the cache if they are there,
// and learns its fingerprints.
func (n *Network) makeAuthority(ctx context.Context, nd *Node) error {
	keys := filepath.Join(nd.dir, "keys")
	cached := ""
	if n.cfg.KeyCache != "" {
		cached = filepath.Join(n.cfg.KeyCache, nd.Name)
	}
	if cached == "" || loadKeys(cached, keys) != nil {
		if err := n.generate(ctx, nd, keys); err != nil {
			return err
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
	if nd.fingerprint, err = n.relayFingerprint(ctx, nd); err != nil {
		return err
	}
	if cached != "" {
		saveKeys(keys, cached) // next time it is made again otherwise
	}
	return nil
}

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
