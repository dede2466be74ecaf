package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/durable"
	"tahoe-go/internal/node/config/ini"
)

// maxCertificate bounds the file of a grid manager's certificate, in bytes.
const maxCertificate = 32 << 10

// checkGridManagers reads the keys of those who say which servers to use, and
// what they say of this server, if that is to be announced. A key that cannot
// be read must not mean that everybody is welcome.
func (c *Config) checkGridManagers() {
	for _, name := range slices.Sorted(maps.Keys(c.GridManagers)) {
		key, err := announce.ParsePublic(c.GridManagers[name])
		if err != nil {
			c.problem(gridManagers, name, "not a grid manager's key: "+err.Error(), "write what the manager calls its public identity: pub-v0-…")
			continue
		}
		c.Managers = append(c.Managers, key)
	}
	if !c.Storage.Enabled || !c.Storage.GridManaged {
		if len(c.GridCertificates) > 0 {
			c.warn(gridCertificates, "", "not announced", "set [storage] grid_management = true")
		}
		return
	}
	if len(c.GridCertificates) == 0 {
		c.warn("storage", "grid_management", "there is no certificate to announce", "add one with: tahoe admin add-grid-manager-cert")
	}
	if len(c.GridCertificates) > announce.MaxCerts {
		c.problem(gridCertificates, "", fmt.Sprintf("more than %d certificates", announce.MaxCerts), "delete those that have expired")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.GridCertificates)) {
		cert, err := c.readCertificate(c.GridCertificates[name])
		if err != nil {
			c.problem(gridCertificates, name, err.Error(), "it names the file that the grid manager wrote (tahoe admin add-grid-manager-cert does)")
			continue
		}
		c.Certificates = append(c.Certificates, cert)
	}
}

func (c *Config) readCertificate(name string) (announce.Certificate, error) {
	path, err := c.path(name)
	if err != nil {
		return announce.Certificate{}, err
	}
	text, err := readLimited(path, maxCertificate+1)
	if err != nil {
		return announce.Certificate{}, fmt.Errorf("the file cannot be read: %s", reason(err))
	}
	return announce.ParseCertificate(text)
}

// AddCertificate has a server announce a grid manager's certificate from its
// next start: it writes NAME.cert and the lines of tahoe.cfg, and returns what
// the certificate says and how many there are now. It refuses a name that is
// taken, and a certificate for another server.
func AddCertificate(dir, name string, text []byte) (says announce.Grant, count int, err error) {
	if !plainName(name) {
		return says, 0, errors.New("a name has letters of the alphabet, digits, and - and _ between them")
	}
	cert, err := announce.ParseCertificate(text)
	if err != nil {
		return says, 0, err
	}
	if says, err = cert.Claim(); err != nil {
		return says, 0, err
	}
	own, err := readText(dir, pubkeyFile)
	if err != nil {
		return says, 0, fmt.Errorf("reading this node's key: %w", err)
	}
	if says.Server.Public() != own {
		return says, 0, fmt.Errorf("the certificate is for another server, %s; this one is %s", says.Server.Public(), own)
	}
	path := filepath.Join(dir, FileName)
	cfg, err := readLimited(path, ini.MaxSize+1)
	if err != nil {
		return says, 0, fmt.Errorf("reading the configuration: %w", err)
	}
	f, bad := ini.Parse(cfg)
	if len(bad) > 0 {
		return says, 0, fmt.Errorf("%s: %w", FileName, bad[0])
	}
	file := name + ".cert"
	if _, taken := f.Raw(gridCertificates, name); taken {
		return says, 0, fmt.Errorf("there is a certificate called %s already", name)
	}
	if err := f.Set(gridCertificates, name, file); err != nil {
		return says, 0, err
	}
	if err := f.Set("storage", "grid_management", "true"); err != nil {
		return says, 0, err
	}
	err = durable.WriteNewFile(filepath.Join(dir, file), text, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return says, 0, fmt.Errorf("there is a file %s already", file)
	}
	if err == nil {
		if err = durable.WriteFile(path, f.Bytes(), mode(path)); err != nil {
			os.Remove(filepath.Join(dir, file))
		}
	}
	if err != nil {
		return says, 0, fmt.Errorf("writing the certificate: %w", err)
	}
	return says, len(f.Keys(gridCertificates)), nil
}

// plainName accepts what can be a key of tahoe.cfg and a file's name anywhere.
func plainName(s string) bool {
	if s == "" || len(s) > 100 || strings.Trim(s, "-_") != s {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}

// mode is that of a file that is replaced.
func mode(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}
