package foolscap

import (
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/network/tubcert"
)

// testCerts are made once: a key takes a while.
var testCerts struct {
	sync.Mutex
	made []tubcert.Cert
}

// testCert returns the nth certificate of the tests.
func testCert(t testing.TB, n int) tubcert.Cert {
	t.Helper()
	testCerts.Lock()
	defer testCerts.Unlock()
	for len(testCerts.made) <= n {
		pem, err := tubcert.Generate(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c, err := tubcert.Parse(pem)
		if err != nil {
			t.Fatal(err)
		}
		testCerts.made = append(testCerts.made, c)
	}
	return testCerts.made[n]
}
