package procgrid

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var built struct {
	sync.Mutex
	dir string
}

// Build builds the program for the tests of a package, without cgo as it is
// shipped, and returns its path. The test that built it removes it; another
// one builds it again, from the go command's cache.
func Build(t testing.TB) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir := t.TempDir()
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "tahoe"), "tahoe-go/cmd/tahoe")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building tahoe: %v\n%s", err, out)
		}
		built.dir = dir
		t.Cleanup(func() {
			built.Lock()
			defer built.Unlock()
			built.dir = ""
		})
	}
	return filepath.Join(built.dir, "tahoe")
}
