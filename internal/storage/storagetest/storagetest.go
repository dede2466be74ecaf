// Package storagetest is the contract every storage.Server keeps, as tests.
// A new backend calls Run from its own test; that is the whole of it:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storage.Server { return mine.New() })
//	}
//
// Inside a synctest bubble, where t.Run is not allowed, run each of Cases in
// a bubble of its own. The suite sees a server only through the interface;
// what is on its disk or wire is for the backend's own tests.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// Case is one clause of the contract. Run may be called on a server that
// ran other cases before: each uses storage indexes of its own. It calls
// neither t.Run nor t.Parallel.
type Case struct {
	Name string
	Run  func(t *testing.T, s storage.Server)
}

// Cases returns the contract, clause by clause.
func Cases() []Case {
	return slices.Concat(allocateCases, writeCases, readCases, leaseCases, slotCases)
}

// Run checks the contract. open is called once for each case; it closes what
// it opened in t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) storage.Server) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, open(t)) })
	}
}

// Refusing checks a server that has no room for a share of size bytes, or is
// read-only: it refuses without an error and leaves nothing behind.
func Refusing(t *testing.T, s storage.Server, size int64) {
	t.Helper()
	si := newIndex()
	a := allocate(t, s, si, nums(0, 1), size)
	if len(a.Have) != 0 || len(a.Writers) != 0 {
		t.Errorf("Allocate on a refusing server: have %v and %d writers; want none", a.Have, len(a.Writers))
	}
	v, err := s.Version(t.Context())
	if err != nil {
		t.Fatalf("Version: %v", err)
	}
	if v.MaxImmutableShareSize >= size {
		t.Errorf("MaxImmutableShareSize = %d; want less than the refused %d", v.MaxImmutableShareSize, size)
	}
	wantShares(t, s, si)
}

// newIndex returns an index no other case uses.
func newIndex() storage.Index {
	var si storage.Index
	for i := range si {
		si[i] = byte(rand.Uint32())
	}
	return si
}

// newSecrets returns secrets no other case uses.
func newSecrets() storage.LeaseSecrets {
	return storage.LeaseSecrets{Renew: redact.New(string(content(32))), Cancel: redact.New(string(content(32)))}
}

// content returns n random bytes.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func nums(n ...storage.ShareNum) []storage.ShareNum { return n }

func allocate(t *testing.T, s storage.Server, si storage.Index, nums []storage.ShareNum, size int64) *storage.Allocation {
	t.Helper()
	a, err := s.Allocate(t.Context(), si, nums, size, newSecrets())
	if err != nil {
		t.Fatalf("Allocate(%v, %d bytes): %v", nums, size, err)
	}
	if a == nil {
		t.Fatal("Allocate returned neither an allocation nor an error")
	}
	return a
}

// begin allocates one share and returns its writer.
func begin(t *testing.T, s storage.Server, si storage.Index, num storage.ShareNum, size int64) storage.ShareWriter {
	t.Helper()
	a := allocate(t, s, si, nums(num), size)
	w := a.Writers[num]
	if w == nil || len(a.Writers) != 1 {
		t.Fatalf("Allocate(share %d, %d bytes): %d writers, have %v; want one writer", num, size, len(a.Writers), a.Have)
	}
	return w
}

// put uploads one share in one piece.
func put(t *testing.T, s storage.Server, si storage.Index, num storage.ShareNum, data []byte) {
	t.Helper()
	w := begin(t, s, si, num, int64(len(data)))
	write(t, w, data, 0)
	finish(t, w)
}

func write(t *testing.T, w storage.ShareWriter, p []byte, off int64) {
	t.Helper()
	if err := w.WriteAt(t.Context(), p, off); err != nil {
		t.Fatalf("WriteAt(%d bytes, %d): %v", len(p), off, err)
	}
}

func finish(t *testing.T, w storage.ShareWriter) {
	t.Helper()
	if err := w.Close(t.Context()); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func abort(t *testing.T, w storage.ShareWriter) {
	t.Helper()
	if err := w.Abort(t.Context()); err != nil {
		t.Fatalf("Abort: %v", err)
	}
}

func shares(t *testing.T, s storage.Server, si storage.Index) map[storage.ShareNum]storage.ShareReader {
	t.Helper()
	got, err := s.Shares(t.Context(), si)
	if err != nil {
		t.Fatalf("Shares: %v", err)
	}
	return got
}

// wantShares checks which shares are readable.
func wantShares(t *testing.T, s storage.Server, si storage.Index, want ...storage.ShareNum) {
	t.Helper()
	var got []storage.ShareNum
	for num, r := range shares(t, s, si) {
		if r == nil {
			t.Errorf("Shares: nil reader for share %d", num)
		}
		got = append(got, num)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Shares: %v are readable; want %v", got, want)
	}
}

// wantData checks that a share holds exactly these bytes.
func wantData(t *testing.T, s storage.Server, si storage.Index, num storage.ShareNum, want []byte) {
	t.Helper()
	r := shares(t, s, si)[num]
	if r == nil {
		t.Fatalf("Shares: share %d is missing", num)
	}
	got, err := readAll(t.Context(), r)
	if err != nil {
		t.Fatalf("reading share %d: %v", num, err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("share %d: read %d bytes that differ from the %d written", num, len(got), len(want))
	}
}

// readAll reads to the end in pieces that fit no share evenly.
func readAll(ctx context.Context, r storage.ShareReader) ([]byte, error) {
	var all []byte
	buf := make([]byte, 300_001)
	for {
		n, err := r.ReadAt(ctx, buf, int64(len(all)))
		all = append(all, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// wantErr checks an error a caller branches on.
func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v; want %v", what, got, want)
	}
}
