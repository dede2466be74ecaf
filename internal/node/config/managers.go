package config

import (
	"fmt"
	"maps"
	"slices"

	"tahoe-go/internal/format/announce"
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
