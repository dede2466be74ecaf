package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	r.Read(b)
	return b
}

func TestFill(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   int
		memory int64
		inMem  bool
	}{
		{"empty", 0, 0, true},
		{"small", 1000, 0, true},
		{"at the limit", 1000, 1000, true},
		{"one over", 1001, 1000, false},
		{"no memory", 1, -1, false},
		{"large", chunk + 5, 100, false},
		{"default limit", DefaultMemory + 1, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := pattern(tt.size)
			s, err := Fill(iotest.HalfReader(bytes.NewReader(want)), Config{Dir: t.TempDir(), Memory: tt.memory})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Size() != int64(tt.size) || s.InMemory() != tt.inMem {
				t.Errorf("size %d, in memory %v", s.Size(), s.InMemory())
			}
			// Reads, seeks and reads at, of every kind.
			if tt.size < DefaultMemory { // it reads byte by byte
				if err := iotest.TestReader(s, want); err != nil {
					t.Error(err)
				}
			}
			for range 2 { // twice, as an upload does
				s.Seek(0, io.SeekStart)
				if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
			}
		})
	}
}

func TestConcurrentReadAt(t *testing.T) {
	want := pattern(2*chunk + 77)
	s, err := Fill(bytes.NewReader(want), Config{Dir: t.TempDir(), Memory: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for off := i; off < len(want)-100; off += 997 {
				var b [100]byte
				if _, err := s.ReadAt(b[:], int64(off)); err != nil || !bytes.Equal(b[:], want[off:off+100]) {
					t.Errorf("at %d: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The file has no name, and nothing in it shows what was written.
func TestFileIsNoise(t *testing.T) {
	dir := t.TempDir()
	secret := bytes.Repeat([]byte("attack at dawn! "), 8192)
	s, err := Fill(bytes.NewReader(secret), Config{Dir: dir, Memory: 16})
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, len(secret))
	if _, err := s.file.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("dawn")) || bytes.Equal(raw[:16], raw[16:32]) {
		t.Error("the file shows plaintext or a repeating key stream")
	}
	if runtime.GOOS != "windows" {
		if st, err := s.file.Stat(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("the open file has a name: %v", left)
		}
	}
	other, err := Fill(bytes.NewReader(secret), Config{Dir: dir, Memory: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	raw2 := make([]byte, len(secret))
	other.file.ReadAt(raw2, 0)
	if bytes.Equal(raw, raw2) {
		t.Error("two spools share a key")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Where an open file keeps its name, Close removes it.
func TestCloseRemovesName(t *testing.T) {
	dir := t.TempDir()
	s, err := Fill(bytes.NewReader(pattern(10)), Config{Dir: dir, Memory: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.name = filepath.Join(dir, ".tmp-spool-x")
	if err := os.WriteFile(s.name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLimitsAndErrors(t *testing.T) {
	dir := t.TempDir()
	if s, err := Fill(bytes.NewReader(pattern(100)), Config{Dir: dir, Max: 100}); err != nil {
		t.Error(err)
	} else {
		s.Close()
	}
	for _, memory := range []int64{-1, 0} {
		if s, err := Fill(bytes.NewReader(pattern(101)), Config{Dir: dir, Memory: memory, Max: 100}); !errors.Is(err, ErrTooLarge) || s != nil {
			t.Errorf("over Max: %v", err)
		}
	}
	boom := errors.New("boom")
	if _, err := Fill(io.MultiReader(bytes.NewReader(pattern(100)), iotest.ErrReader(boom)), Config{Dir: dir, Memory: 10}); !errors.Is(err, boom) {
		t.Errorf("error of the source: %v", err)
	}
	if _, err := Fill(bytes.NewReader(pattern(100)), Config{Dir: filepath.Join(dir, "none"), Memory: 10}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}

	s := New(Config{Dir: dir})
	s.Write([]byte("abc"))
	var b [2]byte
	if _, err := s.ReadAt(b[:], -1); err == nil {
		t.Error("negative offset accepted")
	}
	if _, err := s.ReadAt(b[:], 3); err != io.EOF {
		t.Errorf("past the end: %v", err)
	}
	if _, err := s.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek before the start accepted")
	}
	s.Close()
	if _, err := s.Read(b[:]); !errors.Is(err, ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := s.Write(b[:]); !errors.Is(err, ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

// A failed write must not pass for a shorter body.
func TestFailedWriteSticks(t *testing.T) {
	s, err := Fill(bytes.NewReader(pattern(100)), Config{Dir: t.TempDir(), Memory: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.file.Close() // the disk goes away
	if _, err := s.Write([]byte("x")); err == nil {
		t.Fatal("write to a closed file succeeded")
	}
	var b [1]byte
	if _, err := s.ReadAt(b[:], 0); err == nil || err == io.EOF {
		t.Errorf("ReadAt after a failed write: %v", err)
	}
}

// A file that lost its tail gives an error, and no ciphertext.
func TestShortFile(t *testing.T) {
	s, err := Fill(bytes.NewReader(pattern(100)), Config{Dir: t.TempDir(), Memory: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.file.Truncate(50); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := s.ReadAt(b, 0); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(b, make([]byte, 100)) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
}

// What is in memory can be had without a copy, and room that was expected is
// made once; what is not in memory cannot, nor anything after Close.
func TestBytes(t *testing.T) {
	data := bytes.Repeat([]byte("spooled "), 1<<10)
	for _, tt := range []struct {
		memory, expect int64
		ok             bool
	}{{0, 0, true}, {0, int64(len(data)), true}, {0, 100, true}, {100, int64(len(data)), false}, {-1, 0, false}} {
		s, err := Fill(iotest.OneByteReader(bytes.NewReader(data)), Config{Dir: t.TempDir(), Memory: tt.memory, Expect: tt.expect})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := s.Bytes()
		if ok != tt.ok || ok && !bytes.Equal(got, data) {
			t.Errorf("memory %d, %d expected: %d bytes, %v; want %v", tt.memory, tt.expect, len(got), ok, tt.ok)
		}
		if tt.expect == int64(len(data)) && ok && cap(got) != len(data) {
			t.Errorf("room for %d bytes was made where %d were expected", cap(got), len(data))
		}
		whole, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(whole, data) {
			t.Errorf("memory %d, %d expected: read %d bytes, %v", tt.memory, tt.expect, len(whole), err)
		}
		s.Close()
		if _, ok := s.Bytes(); ok {
			t.Error("Bytes after Close")
		}
	}
}
