package tortest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Need ends the test if tor is not installed: it fails where everything must
// run (CI), and is skipped, loudly, elsewhere.
func Need(t testing.TB) {
	t.Helper()
	for _, program := range []string{"tor", "tor-gencert"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed, and CI must run this test", program)
			}
			t.Skipf("SKIPPED, NOTHING TESTED: %s is not installed (on Debian: sudo apt install tor)", program)
		}
	}
}

var shared struct {
	sync.Mutex
	network *Network
	err     error
	tried   bool
}

// Shared returns the network of this test binary, which the first caller
// starts. The package's TestMain must call Main.
func Shared(t testing.TB) *Network {
	t.Helper()
	Need(t)
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		cache, err := os.UserCacheDir()
		if err == nil {
			cache = filepath.Join(cache, "tahoe-go", "tortest-keys")
		}
		shared.network, shared.err = Start(context.Background(), Config{KeyCache: cache})
	}
	if shared.err != nil {
		t.Fatalf("starting the private Tor network: %v", shared.err)
	}
	return shared.network
}

// Main runs the tests of a package and stops the network after them.
func Main(m *testing.M) {
	code := m.Run()
	if shared.network != nil {
		shared.network.Stop()
	}
	os.Exit(code)
}
