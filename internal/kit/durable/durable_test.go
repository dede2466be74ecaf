package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// list returns all files below dir with their content, and how many of them
// are temporary.
func list(t *testing.T, dir string) (files map[string]string, temps int) {
	t.Helper()
	files = map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if IsTemp(d.Name()) {
			temps++
			return nil
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, temps
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for _, data := range []string{"first", "", "third, longer than the others"} {
		if err := WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		files, temps := list(t, dir)
		if len(files) != 1 || files["f"] != data || temps != 0 {
			t.Errorf("files %q, %d temporary", files, temps)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// A private file is never readable by others, not even while it is written.
func TestModeFromCreation(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	dir := t.TempDir()
	seen := 0
	f := FS{Root: openRoot(t, dir), Fail: func(s Step, _ string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			st, err := e.Info()
			if err != nil {
				return err
			}
			if seen++; st.Mode().Perm() != 0o600 {
				t.Errorf("before %s: %s has mode %v", s, e.Name(), st.Mode())
			}
			if strings.Contains(e.Name(), "cap") && s != StepSyncDir {
				t.Errorf("before %s: the temporary name %s tells the final one", s, e.Name())
			}
		}
		return nil
	}}
	if err := f.WriteFile("cap", []byte("x"), 0o600); err != nil || seen < 4 {
		t.Errorf("%v, looked at %d files", err, seen)
	}
}

func TestWriteNewFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := WriteNewFile(file, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteNewFile(file, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second: %v", err)
	}
	files, temps := list(t, dir)
	if files["f"] != "first" || temps != 0 {
		t.Errorf("files %q, %d temporary", files, temps)
	}
}

// The steps come in the order that makes the write durable.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	var got []string
	f := FS{Root: openRoot(t, dir), Fail: func(s Step, name string) error {
		got = append(got, fmt.Sprint(s, " ", name))
		return nil
	}}
	must := func(err error, want ...string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("steps %q, want %q", got, want)
		}
		got = nil
	}
	must(f.MkdirAll("a/b", 0o700), "mkdir a", "sync-dir .", "mkdir a/b", "sync-dir a")
	must(f.MkdirAll("a/b/", 0o700), "mkdir a", "sync-dir .", "mkdir a/b", "sync-dir a")
	must(f.WriteFile("a/b/f", []byte("x"), 0o600), "create a/b/f", "write a/b/f", "sync a/b/f", "rename a/b/f", "sync-dir a/b")
	must(f.WriteNewFile("a/n", []byte("x"), 0o600), "create a/n", "write a/n", "sync a/n", "rename a/n", "sync-dir a")
	must(f.Rename("a/b/f", "a/g"), "rename a/g", "sync-dir a", "sync-dir a/b")
	must(f.Rename("a/g", "a/h"), "rename a/h", "sync-dir a")
	must(f.Remove("a/h"), "remove a/h", "sync-dir a")
}

// Wherever a write is cut, the name shows the old file or the new one, whole.
func TestCrash(t *testing.T) {
	crash := errors.New("crash")
	for _, op := range []struct {
		name  string
		do    func(FS) error
		after map[string][]string // what each name may hold
	}{
		{"replace", func(f FS) error { return f.WriteFile("old", []byte("NEW"), 0o600) }, map[string][]string{"old": {"OLD", "NEW"}}},
		{"new", func(f FS) error { return f.WriteNewFile("fresh", []byte("NEW"), 0o600) }, map[string][]string{"old": {"OLD"}, "fresh": {"", "NEW"}}},
		{"parts", func(f FS) error {
			w, err := f.Create("old", 0o600)
			if err != nil {
				return err
			}
			defer w.Abort()
			if _, err := w.WriteAt([]byte("W"), 2); err != nil {
				return err
			}
			if _, err := w.WriteAt([]byte("NE"), 0); err != nil {
				return err
			}
			return w.Commit()
		}, map[string][]string{"old": {"OLD", "NEW"}}},
	} {
		t.Run(op.name, func(t *testing.T) {
			for at := 0; ; at++ {
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "old"), []byte("OLD"), 0o600); err != nil {
					t.Fatal(err)
				}
				step := 0
				f := FS{Root: openRoot(t, dir), Fail: func(s Step, _ string) error {
					if step++; step > at {
						return fmt.Errorf("before %s: %w", s, crash)
					}
					return nil
				}}
				err := op.do(f)
				files, temps := list(t, dir)
				for name, allowed := range op.after {
					if got, ok := files[name]; !slices.Contains(allowed, got) || ok && got == "" {
						t.Errorf("cut at step %d: %s holds %q", at, name, got)
					}
				}
				if len(files) > len(op.after) || temps > 1 {
					t.Errorf("cut at step %d: files %q, %d temporary", at, files, temps)
				}
				if err == nil {
					if at < 5 || temps != 0 || files["old"]+files["fresh"] == "OLD" {
						t.Errorf("done after %d steps: files %q, %d temporary", at, files, temps)
					}
					return
				}
				if !errors.Is(err, crash) {
					t.Fatalf("cut at step %d: %v", at, err)
				}
				if temps == 0 && at > 0 && at < 4 {
					t.Errorf("cut at step %d: the crash cleaned up behind itself", at)
				}
			}
		})
	}
}

// Errors that are no crash leave no temporary file.
func TestErrorsCleanUp(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	f := FS{Root: root}
	if err := f.MkdirAll("d/full", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("d/full/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("d", []byte("x"), 0o600); err == nil {
		t.Error("a file replaced a folder")
	}
	if err := f.WriteFile("none/x", []byte("x"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if err := f.WriteFile("../out", []byte("x"), 0o600); err == nil {
		t.Error("wrote outside the root")
	}
	if err := f.MkdirAll("d/full/x/y", 0o700); err == nil {
		t.Error("a folder below a file")
	}
	if err := f.MkdirAll("d/full/x", 0o700); err == nil {
		t.Error("MkdirAll of a file")
	}
	if err := f.Remove("d"); err == nil {
		t.Error("removed a folder that is not empty")
	}
	w, err := f.Create("aborted", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	w.Abort()
	w.Abort()
	if files, temps := list(t, dir); len(files) != 1 || temps != 0 {
		t.Errorf("files %q, %d temporary", files, temps)
	}

	w, err = f.Create("kept", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if files, _ := list(t, dir); len(files) != 2 {
		t.Errorf("Abort after Commit: files %q", files)
	}
}

func ExampleWriteFile() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	if err := WriteFile(filepath.Join(dir, "storage.furl"), []byte("…\n"), 0o600); err != nil {
		fmt.Println(err)
	}
	// Output:
}
