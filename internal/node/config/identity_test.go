package config_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/node/config"
)

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A directory that the reference left: the files and their forms are its.
// The entry of a server has the certificates that it announces, in the form in
// which the Python program reads them.
func TestEntryWithCertificates(t *testing.T) {
	manager, err := announce.NewSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := announce.Certify(manager, announce.Grant{Server: manager.Key(), Expires: time.Unix(2e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := furl.ParseFURL("pb://upxcvcgnomhunstekcj7dstmm665jkki@tcp:example.org:4567/swissnum")
	if err != nil {
		t.Fatal(err)
	}
	s := config.Server{Server: announce.Server{ID: manager.Key().String(), FURL: f, Seed: []byte("seed"), GridManagerCerts: []announce.Certificate{cert, cert}}}
	back, warnings, err := config.ParseServers(s.Entry())
	if err != nil || len(warnings) > 0 || len(back) != 1 || !slices.Equal(back[0].GridManagerCerts, s.GridManagerCerts) {
		t.Errorf("%s reads as %+v, %v, %v", s.Entry(), back, warnings, err)
	}
}

func TestIdentityOfTheReference(t *testing.T) {
	dir := t.TempDir()
	secret := strings.Repeat("secret", 6)[:32]
	write(t, dir, "private/secret", base32.Encode([]byte(secret))+"\n")
	write(t, dir, "private/convergence", base32.Encode([]byte("shared"))+"\n")
	write(t, dir, "private/node.privkey", "priv-v0-"+base32.Encode(make([]byte, 32))+"\n")
	id, err := config.EnsureIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The ed25519 public key of the seed of 32 zeros.
	const pub = "hnvcppgow2sc2yvdvdicu3ynonsteflxdxrehjr2ybekdc2z3iuq"
	if id.LeaseSecret.Reveal() != secret || id.Convergence.Reveal() != "shared" || id.NodeKey.Reveal() != string(make([]byte, 32)) {
		t.Error("secrets are not those of the files")
	}
	if id.ServerID != "v0-"+pub || read(t, dir, "node.pubkey") != "pub-v0-"+pub+"\n" {
		t.Errorf("ServerID %s, pubkey %q", id.ServerID, read(t, dir, "node.pubkey"))
	}
}

func TestIdentityIsStable(t *testing.T) {
	dir := t.TempDir()
	ids := make([]config.Identity, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = config.EnsureIdentity(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids[1:] {
		if d := cmp.Diff(ids[0], id, cmpopts.EquateComparable(redact.Secret{})); d != "" {
			t.Errorf("two identities: %s", d)
		}
	}
	if s := ids[0].LeaseSecret; s == ids[0].Convergence || s == ids[0].NodeKey || len(s.Reveal()) != 32 {
		t.Error("secrets are not of their own")
	}
}

func TestDamagedIdentity(t *testing.T) {
	for name, text := range map[string]string{
		"private/secret":       "!!!SECRETSECRET",
		"private/convergence":  "",
		"private/node.privkey": "priv-v0-" + base32.Encode([]byte("short")),
	} {
		dir := t.TempDir()
		write(t, dir, name, text)
		_, err := config.EnsureIdentity(dir)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
		if read(t, dir, name) != text {
			t.Errorf("%s was replaced", name)
		}
	}
}

func TestSeed(t *testing.T) {
	dir := t.TempDir()
	id, err := config.EnsureIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	tub := [20]byte{1, 2, 3}
	old := t.TempDir()
	for _, tt := range []struct {
		dir    string
		shares bool
		want   []byte
	}{{dir, false, id.PublicKey}, {dir, true, id.PublicKey}, {old, true, tub[:]}, {old, false, tub[:]}} {
		got, err := id.EnsureSeed(tt.dir, tub, tt.shares)
		if err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("seed %x, %v; want %x", got, err, tt.want)
		}
		if text := read(t, tt.dir, "permutation-seed"); text != base32.Encode(tt.want)+"\n" {
			t.Errorf("file %q", text)
		}
	}
	write(t, dir, "permutation-seed", "!")
	if _, err := id.EnsureSeed(dir, tub, false); err == nil {
		t.Error("a damaged seed is taken")
	}
}

func TestStorageFURL(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	const tub = "upxcvcgnomhunstekcj7dstmm665jkki"
	one, err := config.EnsureFURL(dir, config.StorageFURLFile, tub, []furl.Hint{{Kind: furl.TCP, Host: "a", Port: 1}})
	if err != nil || len(one.Swissnum.Reveal()) != 32 {
		t.Fatal(one, err)
	}
	two, err := config.EnsureFURL(dir, config.StorageFURLFile, tub, []furl.Hint{{Kind: furl.TCP, Host: "b", Port: 2}, {Kind: furl.Tor, Host: onion, Port: 3}})
	if err != nil || two.Swissnum != one.Swissnum {
		t.Errorf("the swissnum changed, %v", err)
	}
	want := "pb://" + tub + "@tcp:b:2,tor:" + onion + ":3/" + one.Swissnum.Reveal() + "\n"
	if got := read(t, dir, "private/storage.furl"); got != want {
		t.Errorf("storage.furl = %q, want %q", got, want)
	}
	write(t, dir, "private/storage.furl", "pb://garbage")
	if _, err := config.EnsureFURL(dir, config.StorageFURLFile, tub, nil); err == nil || read(t, dir, "private/storage.furl") != "pb://garbage" {
		t.Errorf("damaged file: %v", err)
	}
}

func TestSmallFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "private/README", "")
	one, err1 := config.NewAuthToken(dir)
	two, err2 := config.NewAuthToken(dir)
	if err1 != nil || err2 != nil || one == two || read(t, dir, "private/api_auth_token") != two.Reveal()+"\n" {
		t.Errorf("tokens: %v, %v", err1, err2)
	}
	if _, err := config.NodeURL(dir); err == nil {
		t.Error("NodeURL without the file")
	}
	if err := config.WriteNodeURL(dir, "http://127.0.0.1:1/"); err != nil {
		t.Fatal(err)
	}
	if url, err := config.NodeURL(dir); url != "http://127.0.0.1:1/" || err != nil {
		t.Errorf("NodeURL = %q, %v", url, err)
	}
}

const otherServers = `# my servers
storage:
  # the good one
  v0-old:
    ann:
      nickname: old
      anonymous-storage-FURL: pb://upxcvcgnomhunstekcj7dstmm665jkki@tcp:example.org:4567/ydcwfczbk3bdgfjax2vxvzgverntvcln
      something: else
extra: [1]
`

func TestAddServers(t *testing.T) {
	clientDir := t.TempDir()
	write(t, clientDir, "private/servers.yaml", otherServers)
	server := filepath.Join(t.TempDir(), "n")
	made, err := config.Create(server, config.CreateOptions{Hostname: "h.example", FreePort: ports(), Nickname: "yes: no"}, now)
	if err != nil {
		t.Fatal(err)
	}
	entry := []byte(read(t, server, config.EntryFile))
	for range 2 { // the second time it replaces itself
		added, err := config.AddServers(clientDir, entry)
		if err != nil || len(added) != 1 || added[0].ID != made.Server.ID {
			t.Fatalf("AddServers = %v, %v", added, err)
		}
	}
	text := read(t, clientDir, "private/servers.yaml")
	for _, part := range []string{"# my servers", "# the good one", "something: else", "extra: [1]"} {
		if !strings.Contains(text, part) {
			t.Errorf("lost %q:\n%s", part, text)
		}
	}
	servers, _, err := config.ParseServers([]byte(text))
	if err != nil || len(servers) != 2 || servers[0].ID != "v0-old" || servers[1].Nickname != "yes: no" {
		t.Errorf("servers %v, %v", servers, err)
	}
	if info, err := os.Stat(filepath.Join(clientDir, "private/servers.yaml")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode: %v, %v", info, err)
	}
	for _, bad := range []string{"", "storage: {}", "storage:\n  v0-x: {}\n", "\x00", strings.Repeat("#", 65<<10)} {
		if _, err := config.AddServers(clientDir, []byte(bad)); err == nil {
			t.Errorf("AddServers(%.20q) is taken", bad)
		}
	}
	if read(t, clientDir, "private/servers.yaml") != text {
		t.Error("a bad entry changed the file")
	}
	fresh, err := config.AddServers(server, entry) // "storage: {}" of Create
	if err != nil || len(fresh) != 1 || !strings.HasPrefix(read(t, server, "private/servers.yaml"), "storage:\n  v0-") {
		t.Errorf("%v:\n%s", err, read(t, server, "private/servers.yaml"))
	}
}

func TestServerSeed(t *testing.T) {
	const ann = ": {ann: {anonymous-storage-FURL: '" + introducer + "'"
	key := "v0-" + base32.Encode(bytes.Repeat([]byte{7}, 32))
	servers, warnings, err := config.ParseServers([]byte("storage:\n  " + key + ann + "}}\n  other" + ann + "}}\n  v0-x" + ann +
		", permutation-seed-base32: aebagba, nickname: null, anonymous-storage-NURLs: !!set {'pb+i2p://x#v=1', 'pb://O2rlGDtVgcrmFjqRb5ZJs4Ioy0dx30B6APhYMOqd5AU@h:1/s#v=1'}}, connections: {tcp: tor}}\n"))
	if err != nil || len(warnings) > 0 || len(servers) != 3 {
		t.Fatal(servers, warnings, err)
	}
	if !bytes.Equal(servers[0].Seed, bytes.Repeat([]byte{7}, 32)) || len(servers[1].Seed) != 32 || !bytes.Equal(servers[2].Seed, []byte{1, 2, 3, 4}) {
		t.Errorf("seeds %x", []any{servers[0].Seed, servers[1].Seed, servers[2].Seed})
	}
	if s := servers[2]; len(s.NURLs) != 1 || s.NURLs[0].Host != "h" || s.Handlers["tcp"] != "tor" || s.Nickname != "" {
		t.Errorf("server %+v", s)
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add([]byte(otherServers))
	f.Add([]byte("storage: {v0-a: {ann: {anonymous-storage-FURL: 'pb://x@/y', anonymous-storage-NURLs: [a]}}}"))
	f.Add([]byte("storage: &a {b: *a}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		servers, _, err := config.ParseServers(text)
		if err != nil {
			return
		}
		for _, s := range servers {
			again, warnings, err := config.ParseServers(s.Entry())
			if err != nil || len(warnings) > 0 || len(again) != 1 || again[0].ID != s.ID || again[0].Nickname != s.Nickname ||
				again[0].FURL.Reveal() != s.FURL.Reveal() || !bytes.Equal(again[0].Seed, s.Seed) {
				t.Fatalf("%+v writes\n%s\nwhich reads %+v, %v, %v", s, s.Entry(), again, warnings, err)
			}
		}
	})
}

// Sequence numbers grow, from whatever the Python program has left, and are on
// disk before they are used.
func TestNextSeqnum(t *testing.T) {
	dir := t.TempDir()
	for want := int64(1); want < 4; want++ {
		if got, err := config.NextSeqnum(dir); got != want || err != nil {
			t.Fatalf("%d, %v; want %d", got, err, want)
		}
		if text := read(t, dir, "announcement-seqnum"); text != fmt.Sprintf("%d\n", want) {
			t.Errorf("the file says %q", text)
		}
	}
	write(t, dir, "announcement-seqnum", "41")
	if got, err := config.NextSeqnum(dir); got != 42 || err != nil {
		t.Errorf("%d, %v; want 42", got, err)
	}
	for _, bad := range []string{"many", "-1", "9223372036854775807", "1 2", strings.Repeat("9", 100)} {
		write(t, dir, "announcement-seqnum", bad)
		if got, err := config.NextSeqnum(dir); err == nil || read(t, dir, "announcement-seqnum") != bad {
			t.Errorf("after %.20q comes %d", bad, got)
		}
	}
}

// An introducer of old keeps its address, where nobody else reads it.
func TestMoveIntroducerFURL(t *testing.T) {
	dir := t.TempDir()
	if err := config.MoveIntroducerFURL(dir); err != nil {
		t.Errorf("nothing to move: %v", err)
	}
	write(t, dir, "private/README", "")
	write(t, dir, "introducer.furl", introducer)
	if err := config.MoveIntroducerFURL(dir); err != nil || read(t, dir, "private/introducer.furl") != introducer {
		t.Errorf("not moved: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "private/introducer.furl")); err != nil || info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info, err)
	}
	write(t, dir, "introducer.furl", "pb://other")
	if err := config.MoveIntroducerFURL(dir); err == nil || read(t, dir, "private/introducer.furl") != introducer {
		t.Errorf("two of them: %v", err)
	}
}
