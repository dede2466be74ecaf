//go:build unix

package backup

import (
	"testing"

	"golang.org/x/sys/unix"
)

// special makes something that is neither file, folder nor link.
func special(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
