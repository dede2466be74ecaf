package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/node/config"
)

// The life of a grid manager: its certificates are what servers take.
func TestGridManagerCommand(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "deep", "manager")
	manage := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, out, errs := tahoe(t, nil, "", append([]string{"grid-manager", "--config", folder}, args...)...)
		if code != want || code == 0 && errs != "" {
			t.Errorf("%q: %d %s%s", args, code, out, errs)
		}
		return out, errs
	}
	manage(0, "create")
	manage(1, "create")
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info, err)
	}
	id, _ := manage(0, "public-identity")
	manager, err := announce.ParsePublic(strings.TrimSpace(id))
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(t.TempDir(), "node")
	if code, _, stderr := tahoe(t, nil, "", "create-node", "--hostname=localhost", node); code != exitOK {
		t.Fatalf("create-node: %d %s", code, stderr)
	}
	pubkey, err := os.ReadFile(filepath.Join(node, "node.pubkey"))
	if err != nil {
		t.Fatal(err)
	}
	manage(0, "add", "ann", string(pubkey))
	manage(1, "add", "ann", string(pubkey))
	manage(1, "add", "../bob", string(pubkey))
	manage(1, "add", "bob", "pub-v0-x")
	manage(1, "sign", "ann", "0")
	manage(1, "sign", "ann", "1826")
	manage(1, "sign", "bob", "1")
	cert, _ := manage(0, "sign", "ann", "30")
	manage(0, "sign", "ann", "1825")
	list, _ := manage(0, "list")
	lines := strings.Split(list, "\n")
	if len(lines) != 4 || lines[0] != "ann: "+strings.TrimSpace(string(pubkey)) || !strings.HasPrefix(lines[1], "     cert 0: valid until 20") || !strings.HasSuffix(lines[1], "from now)") ||
		!strings.HasPrefix(lines[2], "     cert 1: valid until 20") {
		t.Errorf("list:\n%s", list)
	}
	if kept, err := os.ReadFile(filepath.Join(folder, "ann.cert.0")); err != nil || string(kept)+"\n" != cert {
		t.Errorf("%q was printed, and %q is kept; %v", cert, kept, err)
	}
	if code, _, stderr := tahoe(t, nil, cert, "-d", node, "admin", "add-grid-manager-cert", "-n", "m", "-f", "-"); code != 0 {
		t.Fatalf("add-grid-manager-cert: %d %s", code, stderr)
	}
	c, err := config.Load(node)
	if err != nil || len(c.Certificates) != 1 {
		t.Fatalf("%d certificates, %v", len(c.Certificates), err)
	}
	own, err := announce.ParsePublic(strings.TrimSpace(string(pubkey)))
	if err != nil || announce.CertifiedUntil([]announce.Key{manager}, c.Certificates, own).IsZero() {
		t.Errorf("the server is not certified: %v", err)
	}
	manage(0, "remove", "ann")
	manage(1, "remove", "ann")
	if left, _ := filepath.Glob(filepath.Join(folder, "*.cert.*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if code, _, stderr := tahoe(t, nil, "", "grid-manager", "list"); code != 1 || !strings.Contains(stderr, "--config=DIR is needed") {
		t.Errorf("without a folder: %d %s", code, stderr)
	}
}

// With "-" all goes through standard input and output.
func TestGridManagerByPipes(t *testing.T) {
	pipe := func(stdin string, args ...string) string {
		t.Helper()
		code, out, errs := tahoe(t, nil, stdin, append([]string{"grid-manager", "-c", "-"}, args...)...)
		if code != 0 {
			t.Fatalf("%q: %d %s", args, code, errs)
		}
		return out
	}
	text := pipe("", "create")
	id := strings.TrimSpace(pipe(text, "public-identity"))
	text = pipe(text, "add", "me", id)
	if got := pipe(text, "list"); got != "me: "+id+"\n" {
		t.Errorf("list: %s", got)
	}
	if _, err := announce.ParseCertificate([]byte(pipe(text, "sign", "me", "1"))); err != nil {
		t.Error(err)
	}
	if text = pipe(text, "remove", "me"); strings.Contains(text, "storage_servers") {
		t.Errorf("without servers: %s", text)
	}
}
