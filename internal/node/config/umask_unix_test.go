//go:build unix

package config_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tahoe-go/internal/node/config"
)

// Secrets are closed however open the umask is. The umask is the whole
// process's, so this test does not run beside others.
func TestUmask(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	o := config.CreateOptions{Listen: []string{"tor"}, Onion: anOnion(), FreePort: ports()}
	dir := filepath.Join(t.TempDir(), "n")
	if _, err := config.Create(dir, o, now); err != nil {
		t.Fatal(err)
	}
	checkDirectory(t, dir, o)
}
