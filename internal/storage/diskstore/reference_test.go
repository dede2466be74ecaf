package diskstore

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// testdata/chk-0 and chk-5 are shares 0 and 5 of a file as a reference server
// (1.20.0.post162) kept them, each with one lease of the client below.
const goldenSI = "kscdw7cvqtis7nkf5kenwvjbfm"

var goldenPeer = [20]byte{ // 7frlwnuclgcebyip3cii4xbxavomfc2p
	0xf9, 0x62, 0xbb, 0x36, 0x82, 0x59, 0x84, 0x40, 0xe1, 0x0f,
	0xd8, 0x90, 0x8e, 0x5c, 0x37, 0x05, 0x5c, 0xc2, 0x8b, 0x4f,
}

func goldenIndex(t *testing.T) storage.Index {
	t.Helper()
	si, err := ids.ParseIndex(goldenSI)
	if err != nil {
		t.Fatal(err)
	}
	return si
}

// goldenSecrets derives the secrets the reference client used.
func goldenSecrets(t *testing.T) storage.LeaseSecrets {
	t.Helper()
	master := bytes.Repeat([]byte{0x11}, 32)
	renew := tagged.LeaseRenew(master, goldenIndex(t), goldenPeer)
	cancel := tagged.LeaseCancel(master, goldenIndex(t), goldenPeer)
	return storage.LeaseSecrets{Renew: redact.New(string(renew[:])), Cancel: redact.New(string(cancel[:]))}
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plant writes a share file as another server may have left it.
func plant(t testing.TB, dir string, k key, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, "shares", filepath.FromSlash(k.path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func readShare(t testing.TB, s *Store, k key) []byte {
	t.Helper()
	shares, err := s.Shares(t.Context(), k.si)
	if err != nil {
		t.Fatal(err)
	}
	if shares[k.num] == nil {
		t.Fatalf("share %d is missing", k.num)
	}
	p := make([]byte, 1<<20)
	n, _ := shares[k.num].ReadAt(t.Context(), p, 0)
	return p[:n]
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestServesReferenceStore opens a directory the reference left, with all
// that may lie about in one.
func TestServesReferenceStore(t *testing.T) {
	dir, si := t.TempDir(), goldenIndex(t)
	path0 := plant(t, dir, key{si, 0}, golden(t, "chk-0"))
	plant(t, dir, key{si, 5}, golden(t, "chk-5"))
	shares := filepath.Join(dir, "shares")
	mutable := append([]byte("Tahoe mutable container v1\n\x75\x09\x44\x03\x8e"), make([]byte, 500)...)
	plant(t, dir, key{si, 7}, mutable)
	for _, f := range []string{
		"ks/" + goldenSI + "/notes", "ks/" + goldenSI + "/05", "ks/" + goldenSI + "/256", "ks/stray",
		"incoming/ks/" + goldenSI + "/3", "stray", "../lease_checker.history.json",
	} {
		path := filepath.Join(shares, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// One the reference would call damaged.
	plant(t, dir, key{si, 9}, []byte{0, 0, 0, 2, 0, 0})

	s := openTest(t, Config{Dir: dir, Now: func() time.Time { return time.Unix(1_900_000_000, 0) }})
	for num, name := range map[storage.ShareNum]string{0: "chk-0", 5: "chk-5"} {
		want := golden(t, name)
		want = want[headerSize : len(want)-leaseSize]
		if got := readShare(t, s, key{si, num}); !bytes.Equal(got, want) {
			t.Errorf("share %d: read %d bytes that differ from the %d there", num, len(got), len(want))
		}
	}
	if _, err := os.Stat(filepath.Join(shares, "incoming", "ks")); !os.IsNotExist(err) {
		t.Errorf("incoming was not wiped: %v", err)
	}

	// Numbers of mutable and damaged files are neither held nor free.
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{0, 7, 9}, 10, goldenSecrets(t))
	if err != nil || !slices.Equal(a.Have, []storage.ShareNum{0, 5}) || len(a.Writers) != 0 {
		t.Fatalf("Allocate = %+v, %v; want 0 and 5 held and no writers", a, err)
	}
	// The client's own lease was found under its hash and renewed in place.
	before, after := golden(t, "chk-0"), mustRead(t, path0)
	n := len(before)
	if len(after) != n || !bytes.Equal(after[:n-4], before[:n-4]) {
		t.Fatalf("the lease was not renewed in place: %d bytes, were %d", len(after), n)
	}
	if got := binary.BigEndian.Uint32(after[n-4:]); got <= binary.BigEndian.Uint32(before[n-4:]) {
		t.Errorf("expiry %d is not later", got)
	}
	// A stranger's lease is added, hashed.
	if err := s.AddLease(t.Context(), si, secretsA); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, path0); len(got) != n+leaseSize || got[11] != 2 || bytes.Contains(got, []byte(secretsA.Renew.Reveal())) {
		t.Errorf("after a stranger's lease: %d bytes, %d leases", len(got), got[11])
	}
	if got := readShare(t, s, key{si, 0}); !bytes.Equal(got, before[headerSize:n-leaseSize]) {
		t.Error("the second lease changed the data")
	}
}

// TestWritesWhatTheReferenceWrites uploads the golden share and compares the
// whole file.
func TestWritesWhatTheReferenceWrites(t *testing.T) {
	want := golden(t, "chk-0")
	n := len(want)
	created := time.Unix(int64(binary.BigEndian.Uint32(want[n-4:])), 0).Add(-LeaseDuration)
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir, Now: func() time.Time { return created }})
	si := goldenIndex(t)
	a, err := s.Allocate(t.Context(), si, []storage.ShareNum{0}, int64(n-headerSize-leaseSize), goldenSecrets(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Writers[0].WriteAt(t.Context(), want[headerSize:n-leaseSize], 0); err != nil {
		t.Fatal(err)
	}
	if err := a.Writers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := mustRead(t, filepath.Join(dir, "shares", "ks", goldenSI, "0"))
	if !bytes.Equal(got, want) {
		t.Errorf("the file differs from the reference's:\n%x\n%x", got, want)
	}
}

// TestVersion1 serves a container with plain secrets and keeps it one.
func TestVersion1(t *testing.T) {
	dir, k := t.TempDir(), key{siA, 4}
	data := []byte("data of long ago")
	v1 := binary.BigEndian.AppendUint32(nil, 1)
	v1 = binary.BigEndian.AppendUint32(v1, uint32(len(data)))
	v1 = binary.BigEndian.AppendUint32(v1, 1)
	v1 = append(v1, data...)
	l := binary.BigEndian.AppendUint32(nil, 1)
	l = append(l, secretsA.Renew.Reveal()+secretsA.Cancel.Reveal()...)
	l = binary.BigEndian.AppendUint32(l, 1000)
	path := plant(t, dir, k, append(v1, l...))

	now := time.Unix(5000, 0)
	s := openTest(t, Config{Dir: dir, Now: func() time.Time { return now }})
	if got := readShare(t, s, k); !bytes.Equal(got, data) {
		t.Errorf("read %q", got)
	}
	for _, ls := range []storage.LeaseSecrets{secretsA, secretsB} {
		if err := s.AddLease(t.Context(), k.si, ls); err != nil {
			t.Fatal(err)
		}
	}
	want := slices.Clone(v1)
	want[11] = 2
	expiry := uint32(now.Add(LeaseDuration).Unix())
	want = append(want, binary.BigEndian.AppendUint32(l[:leaseSize-4], expiry)...)
	want = binary.BigEndian.AppendUint32(want, 1)
	want = append(want, secretsB.Renew.Reveal()+secretsB.Cancel.Reveal()...)
	want = binary.BigEndian.AppendUint32(want, expiry)
	if got := mustRead(t, path); !bytes.Equal(got, want) {
		t.Errorf("file:\n%x\nwant\n%x", got, want)
	}
	if got := readShare(t, s, k); !bytes.Equal(got, data) {
		t.Errorf("read %q after the leases", got)
	}
}
