package diskstore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin allocates one share.
func begin(t testing.TB, s *Store, k key, size int64) storage.ShareWriter {
	t.Helper()
	a, err := s.Allocate(t.Context(), k.si, []storage.ShareNum{k.num}, size, secretsA)
	if err != nil {
		t.Fatal(err)
	}
	return a.Writers[k.num]
}

// tree lists every file and directory below dir with its mode.
func tree(t testing.TB, dir string) map[string]fs.FileMode {
	t.Helper()
	out := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNamesModesAndSecrets looks at everything a life leaves on disk.
func TestNamesModesAndSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	var logged bytes.Buffer
	s := openTest(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&logged, nil)), Now: func() time.Time { return time.Unix(1_700_000_000, 5000) }})
	upload(t, s, siA, 3, []byte("hello"), 5)
	if err := s.AddLease(t.Context(), siA, secretsA); err != nil {
		t.Fatal(err)
	}
	if err := s.AddLease(t.Context(), siA, secretsB); err != nil {
		t.Fatal(err)
	}
	if err := (reader{s, key{siA, 3}}).ReportCorrupt(t.Context(), "bad \x1b[31mblock\nhere\xff"); err != nil {
		t.Fatal(err)
	}
	w := begin(t, s, key{siB, 0}, 10)
	defer w.Abort(context.Background())

	advisory := "corruption-advisories/2023-11-14T221320.000005--" + siA.String() + "-3"
	share := "shares/ae/" + siA.String() + "/3"
	got := tree(t, dir)
	want := []string{
		".", "shares", "shares/ae", "shares/ae/" + siA.String(), share,
		"shares/incoming", "shares/incoming/" + siB.String() + ".0", "redo", "corruption-advisories", advisory,
	}
	for _, name := range want {
		mode, ok := got[name]
		if !ok {
			t.Errorf("%s is missing", name)
		}
		delete(got, name)
		if runtime.GOOS == "windows" {
			continue
		}
		if mode.Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v; others may look", name, mode)
		}
	}
	if len(got) > 0 {
		t.Errorf("there is more than there should be: %v", got)
	}
	text := string(mustRead(t, filepath.Join(dir, filepath.FromSlash(advisory))))
	if want := "report: Share Corruption\ntype: immutable\nstorage_index: " + siA.String() + "\nshare_number: 3\n\nbad ?[31mblock\nhere?\n\n"; text != want {
		t.Errorf("advisory:\n%q\nwant\n%q", text, want)
	}
	all := logged.String() + text + string(mustRead(t, filepath.Join(dir, filepath.FromSlash(share))))
	for _, ls := range []storage.LeaseSecrets{benchSecrets, secretsA, secretsB} {
		if strings.Contains(all, ls.Renew.Reveal()) || strings.Contains(all, ls.Cancel.Reveal()) {
			t.Error("a plain lease secret is on disk or in the log")
		}
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir})
	upload(t, s, siA, 0, []byte("hello"), 5)
	ro := openTest(t, Config{Dir: dir, ReadOnly: true, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	storagetest.Refusing(t, ro, 1)
	if v, err := ro.Version(t.Context()); err != nil || v.AvailableSpace != 0 || v.MaxImmutableShareSize != 0 || v.MaxMutableShareSize != maxMutableShareSize {
		t.Errorf("Version = %+v, %v", v, err)
	}
	if got := readShare(t, ro, key{siA, 0}); string(got) != "hello" {
		t.Errorf("read %q", got)
	}
	if err := ro.AddLease(t.Context(), siA, benchSecrets); err != nil {
		t.Errorf("renewing a lease: %v", err)
	}
	if err := ro.AddLease(t.Context(), siA, secretsB); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("adding a lease: %v; want ErrNoSpace", err)
	}
}

// freeFS is a disk with so much space.
type freeFS struct {
	filesystem
	free int64
	err  error
}

func (f *freeFS) Free() (int64, error) { return f.free, f.err }

// TestReservedSpace counts what uploads in progress were promised.
func TestReservedSpace(t *testing.T) {
	s := openTest(t, Config{ReservedSpace: 1000})
	disk := &freeFS{filesystem: s.shares, free: 1000 + 2*4096 - 1}
	s.shares = disk
	first := begin(t, s, key{siA, 0}, 4000)
	if first == nil {
		t.Fatal("the first share was refused")
	}
	second := begin(t, s, key{siA, 1}, 3)
	if second != nil {
		t.Error("the second share fits only into blocks that are promised or reserved")
	}
	if err := first.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	upload(t, s, siA, 0, []byte("hello"), 5)
	disk.free = 1000 + leaseSize - 1
	if err := s.AddLease(t.Context(), siA, secretsB); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("a lease within the reserve: %v; want ErrNoSpace", err)
	}
	if _, err := s.Allocate(t.Context(), siA, nil, 5, secretsB); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("a lease within the reserve, by Allocate: %v; want ErrNoSpace", err)
	}
	if err := (reader{s, key{siA, 0}}).ReportCorrupt(t.Context(), "bad"); err != nil || s.advised != 0 {
		t.Errorf("a report within the reserve: %v, %d advisories; want it dropped", err, s.advised)
	}
	storagetest.Refusing(t, s, 100)
	disk.free = 999
	if v, err := s.Version(t.Context()); err != nil || v.AvailableSpace != 0 {
		t.Errorf("Version below the reserve = %+v, %v", v, err)
	}
	disk.err = errors.New("no answer")
	storagetest.Refusing(t, s, 100)
	disk.err = errors.ErrUnsupported
	if v, err := s.Version(t.Context()); err != nil || v.AvailableSpace != math.MaxInt64 {
		t.Errorf("Version of a system that cannot say = %+v, %v", v, err)
	}
}

func TestFreeSpaceOfThisSystem(t *testing.T) {
	free, err := freeSpace(t.TempDir())
	if err != nil && !errors.Is(err, errors.ErrUnsupported) || err == nil && (free <= 0 || free > 1<<60) {
		t.Errorf("freeSpace = %d, %v", free, err)
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir, Discard: true})
	upload(t, s, siA, 0, bytes.Repeat([]byte("x"), 100_000), 1000)
	if got := readShare(t, s, key{siA, 0}); !bytes.Equal(got, make([]byte, 100_000)) {
		t.Errorf("read %d bytes; want 100,000 zeros", len(got))
	}
}

func TestAdvisoriesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir, Now: func() time.Time { return time.Unix(1_700_000_000, 0) }})
	upload(t, s, siA, 0, []byte("hello"), 5)
	r := reader{s, key{siA, 0}}
	for range 3 { // at the same microsecond
		if err := r.ReportCorrupt(t.Context(), strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []os.DirEntry {
		entries, err := os.ReadDir(filepath.Join(dir, "corruption-advisories"))
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if got := list(); len(got) != 3 {
		t.Fatalf("%d advisories; want 3", len(got))
	}
	if info, err := list()[0].Info(); err != nil || info.Size() > maxReason+200 {
		t.Errorf("advisory of %d bytes, %v", info.Size(), err)
	}
	s.advised = maxAdvisories
	if err := r.ReportCorrupt(t.Context(), "one more"); err != nil || len(list()) != 3 {
		t.Errorf("one too many: %v, %d advisories", err, len(list()))
	}
	if again := openTest(t, Config{Dir: dir}); again.advised != 3 {
		t.Errorf("a new process counts %d advisories; want 3", again.advised)
	}
	if err := (reader{s, key{siA, 1}}).ReportCorrupt(t.Context(), "not held"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reporting a share not held: %v", err)
	}
}

// TestShareGone deletes the file below a reader.
func TestShareGone(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir})
	upload(t, s, siA, 0, []byte("hello"), 5)
	r := reader{s, key{siA, 0}}
	if _, err := r.ReadAt(t.Context(), make([]byte, 5), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "shares", filepath.FromSlash(indexDir(siA)))); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(t.Context(), make([]byte, 5), 0); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading a share that has gone: %v", err)
	}
	if shares, err := s.Shares(t.Context(), siA); err != nil || len(shares) != 0 {
		t.Errorf("Shares = %v, %v", shares, err)
	}
}

// TestSymlinkDoesNotLeadOut plants a link in place of a share.
func TestSymlinkDoesNotLeadOut(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, golden(t, "chk-0"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, Config{Dir: dir})
	upload(t, s, siA, 0, []byte("hello"), 5)
	if err := os.Symlink(secret, filepath.Join(dir, "shares", filepath.FromSlash(key{siA, 1}.path()))); err != nil {
		t.Fatal(err)
	}
	if n, err := (reader{s, key{siA, 1}}).ReadAt(t.Context(), make([]byte, 5), 0); err == nil || n != 0 {
		t.Errorf("read %d bytes through a link out of the store, %v", n, err)
	}
}

// TestManyUploads keeps more shares open than there are handles.
func TestManyUploads(t *testing.T) {
	s := openTest(t, Config{})
	const perIndex = 200
	content := func(si, num int) []byte { return []byte{byte(si), byte(num), 1, 2} }
	writers := map[key]storage.ShareWriter{}
	var nums []storage.ShareNum
	for num := range perIndex {
		nums = append(nums, storage.ShareNum(num))
	}
	for i := range 2 {
		a, err := s.Allocate(t.Context(), storage.Index{byte(i)}, nums, 4, secretsA)
		if err != nil {
			t.Fatal(err)
		}
		for num, w := range a.Writers {
			writers[key{storage.Index{byte(i)}, num}] = w
		}
	}
	if len(writers) != 2*perIndex || len(s.handles) != maxHandles {
		t.Fatalf("%d writers, %d files open; want %d, %d", len(writers), len(s.handles), 2*perIndex, maxHandles)
	}
	for k, w := range writers {
		data := content(int(k.si[0]), int(k.num))
		if err := errors.Join(w.WriteAt(t.Context(), data[2:], 2), w.WriteAt(t.Context(), data, 0), w.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	for k := range writers {
		if got := readShare(t, s, k); !bytes.Equal(got, content(int(k.si[0]), int(k.num))) {
			t.Errorf("share %v: %x", k, got)
		}
	}
	if len(s.handles) != 0 || s.reserved != 0 {
		t.Errorf("%d handles, %d bytes left over", len(s.handles), s.reserved)
	}
}

// TestTooManyPieces writes every other byte.
func TestTooManyPieces(t *testing.T) {
	s := openTest(t, Config{Discard: true})
	w := begin(t, s, key{siA, 0}, 1<<20)
	defer w.Abort(context.Background())
	for i := range int64(storage.MaxPieces) {
		if err := w.WriteAt(t.Context(), []byte{1}, 2*i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteAt(t.Context(), []byte{1}, 2*storage.MaxPieces); !errors.Is(err, storage.ErrFragmented) {
		t.Errorf("one piece too many: %v", err)
	}
	if err := w.WriteAt(t.Context(), make([]byte, 1<<20), 0); err != nil {
		t.Errorf("the whole: %v", err)
	}
}

// TestCloseDiscards shuts a store with uploads in progress, and reopens it.
func TestCloseDiscards(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	upload(t, s, siA, 0, []byte("hello"), 5)
	w := begin(t, s, key{siB, 0}, 5)
	if err := w.WriteAt(t.Context(), []byte("hel"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteAt(t.Context(), []byte("lo"), 3); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("WriteAt after the store was closed: %v", err)
	}
	if a, err := s.Allocate(t.Context(), siB, []storage.ShareNum{1}, 5, secretsA); err == nil && len(a.Writers) > 0 {
		t.Error("a closed store took a share")
	}
	if files := tree(t, filepath.Join(dir, "shares", "incoming")); len(files) != 1 {
		t.Errorf("incoming holds %v", files)
	}
	if got := readShare(t, openTest(t, Config{Dir: dir}), key{siA, 0}); string(got) != "hello" {
		t.Errorf("read %q", got)
	}
}

func TestBadSecrets(t *testing.T) {
	s := openTest(t, Config{})
	if _, err := s.Allocate(t.Context(), siA, []storage.ShareNum{0}, 5, storage.LeaseSecrets{}); err == nil {
		t.Error("Allocate took a share it could record no lease for")
	}
}

// TestNoDescriptorLeft counts this process's files around a busy life.
func TestNoDescriptorLeft(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no /proc here: ", err)
		}
		return len(entries)
	}
	before := count()
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		si := storage.Index{byte(i)}
		upload(t, s, si, 0, []byte("hello"), 2)
		begin(t, s, key{si, 1}, 5)
		readShare(t, s, key{si, 0})
		if err := errors.Join(s.AddLease(t.Context(), si, secretsB), (reader{s, key{si, 0}}).ReportCorrupt(t.Context(), "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, were %d", after, before)
	}
}

func TestParseNum(t *testing.T) {
	var got []string
	for _, name := range []string{"0", "255", "256", "00", "+1", "-1", "1.tmp", "", "9"} {
		if _, ok := parseNum(name); ok {
			got = append(got, name)
		}
	}
	if want := []string{"0", "255", "9"}; !slices.Equal(got, want) {
		t.Errorf("share numbers: %v; want %v", got, want)
	}
}
