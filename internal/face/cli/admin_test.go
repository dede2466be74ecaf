package cli

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/node/config"
)

// A certificate of a grid manager goes into the node directory and into
// tahoe.cfg, whose comments stay; what cannot be meant is refused and changes
// nothing.
func TestAddGridManagerCert(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	if code, _, stderr := tahoe(t, nil, "", "create-node", "--hostname=localhost", dir); code != exitOK {
		t.Fatalf("create-node: %d %s", code, stderr)
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	own, err := announce.ParsePublic(strings.TrimSpace(read("node.pubkey")))
	if err != nil {
		t.Fatal(err)
	}
	manager, err := announce.NewSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(server announce.Key, expires time.Time) string {
		c, err := announce.Certify(manager, announce.Grant{Server: server, Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(c, "", "    ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	next := time.Now().Add(time.Hour)
	good := certificate(own, next)
	file := filepath.Join(t.TempDir(), "ann.cert.0")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	before := read("tahoe.cfg")
	for _, tt := range []struct {
		name, stdin string
		args        []string
		code        int
		stderr      string
	}{
		{"good", "", []string{"--name=ann", "--filename=" + file}, 0, "There are now 1 certificates\n"},
		{"from standard input", certificate(own, next.Add(time.Hour)), []string{"-n", "Bob", "-f", "-"}, 0, "There are now 2 certificates\n"},
		{"expired", certificate(own, time.Unix(1e9, 0)), []string{"-n", "cem", "-f", "-"}, 0, "warning: it expired at 2001-09-09 01:46 UTC\nThere are now 3 certificates\n"},
		{"taken", good, []string{"-n", "BOB", "-f", "-"}, 1, "there is a certificate called BOB already"},
		{"of another server", certificate(manager.Key(), next), []string{"-n", "dan", "-f", "-"}, 1, "the certificate is for another server, " + manager.Key().Public()},
		{"not a certificate", "{}", []string{"-n", "dan", "-f", "-"}, 1, "not an object of certificate and signature"},
		{"not a name", good, []string{"-n", "../dan", "-f", "-"}, 1, "a name has letters"},
		{"no name", good, []string{"-f", "-"}, 1, "--name and --filename are needed"},
		{"no file", "", []string{"-n", "dan", "-f", file + ".gone"}, 1, "no such file"},
	} {
		cfg := read("tahoe.cfg")
		code, _, stderr := tahoe(t, nil, tt.stdin, append([]string{"-d", dir, "admin", "add-grid-manager-cert"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: %d %s", tt.name, code, stderr)
		}
		if code != 0 && read("tahoe.cfg") != cfg {
			t.Errorf("%s: tahoe.cfg has changed", tt.name)
		}
	}
	if read("ann.cert") != good {
		t.Error("the certificate is not as it was given")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.cert")); len(files) != 3 {
		t.Errorf("files %q", files)
	}
	for _, line := range strings.Split(before, "\n") {
		if !strings.Contains(read("tahoe.cfg"), line) {
			t.Errorf("tahoe.cfg has lost %q", line)
		}
	}
	c, err := config.Load(dir)
	if err != nil || len(c.Certificates) != 3 {
		t.Errorf("%d certificates, %v", len(c.Certificates), err)
	}
}
