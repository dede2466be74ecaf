package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/format/caps"
)

// long makes a file that is no LIT.
func long(s string) string { return strings.Repeat(s, 100) }

var example = map[string]string{
	"a.txt": long("a"), "b.txt": "short", "sub/c.txt": long("c"), "sub/deep/d.txt": long("d"), "empty/": "", "sub/ä": long("ä"),
}

// stored is what example becomes.
var stored = map[string]string{
	"/a.txt": long("a"), "/b.txt": "short", "/sub/c.txt": long("c"), "/sub/deep/d.txt": long("d"), "/empty/": "", "/sub/ä": long("ä"),
}

func mustRun(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func counts(t *testing.T, r *Result, files, folders Counts) {
	t.Helper()
	if r.Files != files || r.Folders != folders {
		t.Errorf("files %+v, folders %+v; want %+v, %+v", r.Files, r.Folders, files, folders)
	}
}

func TestBackupTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root}
		r := mustRun(t, c)
		counts(t, r, Counts{New: 5}, Counts{New: 4})
		if diff := cmp.Diff(stored, g.tree(t, r.Root)); diff != "" {
			t.Error(diff)
		}
		if r.Name != "2000-01-01_00:00:00Z" || g.links["Latest"] != r.Root || g.links["Archives/"+r.Name] != r.Root || r.Bytes != r.NewBytes || r.Bytes != 505 {
			t.Errorf("%+v, %v", r, g.links)
		}
		g.took()
		time.Sleep(time.Hour)
		again := mustRun(t, c)
		counts(t, again, Counts{Reused: 5}, Counts{Reused: 4})
		if puts, mkdirs, checks := g.took(); puts+mkdirs+checks > 0 || again.Root != r.Root || again.Name != "2000-01-01_01:00:00Z" || again.NewBytes != 0 {
			t.Errorf("%d puts, %d mkdirs, %d checks, root equal %v, %s", puts, mkdirs, checks, again.Root == r.Root, again.Name)
		}
	})
}

func TestMetadata(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, map[string]string{"f": "x", "d/": ""})
		when := time.Unix(1600000000, 250e6)
		for _, name := range []string{"f", "d"} {
			if err := os.Chtimes(filepath.Join(root, name), when, when); err != nil {
				t.Fatal(err)
			}
		}
		r := mustRun(t, Config{Gateway: g, Target: g, DB: newDB(t), From: root})
		for _, name := range []string{"f", "d"} {
			m := g.meta[r.Root][name].Metadata
			if mtime, _ := m["mtime"].(float64); math.Abs(mtime-1600000000.25) > 1e-6 {
				t.Errorf("%s: mtime %v", name, m["mtime"])
			}
			if len(m) != 7 || m["ctime"] == 0 || m["st_mode"] == uint32(0) {
				t.Errorf("%s: %v", name, m)
			}
		}
	})
}

// Only what has changed, and the folders above it, is made anew.
func TestChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root}
		first := mustRun(t, c)
		write(t, root, "sub/deep/d.txt", long("D!"))
		write(t, root, "sub/deep/new", long("n"))
		r := mustRun(t, c)
		counts(t, r, Counts{New: 2, Reused: 4}, Counts{New: 3, Reused: 1})
		if got := g.tree(t, r.Root)["/sub/deep/d.txt"]; got != long("D!") {
			t.Errorf("old content: %.10q", got)
		}
		// A folder that moves costs its old and new parent; one that comes
		// back costs nothing.
		if err := os.Rename(filepath.Join(root, "sub/deep"), filepath.Join(root, "deep")); err != nil {
			t.Fatal(err)
		}
		r = mustRun(t, c)
		counts(t, r, Counts{New: 2, Reused: 4}, Counts{New: 2, Reused: 2}) // paths count for files
		if err := os.Rename(filepath.Join(root, "deep"), filepath.Join(root, "sub/deep")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(root, "sub/deep/new")); err != nil {
			t.Fatal(err)
		}
		write(t, root, "sub/deep/d.txt", long("d"))
		r = mustRun(t, c)
		if r.Root != first.Root || r.Folders.New != 0 {
			t.Errorf("folders %+v, the same root %v", r.Folders, r.Root == first.Root)
		}
	})
}

func TestIgnoreTimestamps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root}
		mustRun(t, c)
		g.took()
		c.IgnoreTimestamps = true
		counts(t, mustRun(t, c), Counts{New: 5}, Counts{Reused: 4})
		if puts, mkdirs, _ := g.took(); puts != 5 || mkdirs != 0 {
			t.Errorf("%d puts, %d mkdirs", puts, mkdirs)
		}
	})
}

func TestLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		write(t, root, "x.o", "object")
		write(t, root, ".git/config", "secret")
		for _, link := range []string{"link", "sub/dangling"} {
			if err := os.Symlink("a.txt", filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
		}
		special(t, filepath.Join(root, "pipe"))
		var ex Exclude
		ex.Add("*.o")
		ex.Add(VCS...)
		var warned []string
		r := mustRun(t, Config{Gateway: g, Target: g, DB: newDB(t), From: root, Exclude: &ex,
			Warn: func(s Skipped) { warned = append(warned, strings.ReplaceAll(s.String(), root, "ROOT")) }})
		counts(t, r, Counts{New: 5, Skipped: 3}, Counts{New: 4})
		if diff := cmp.Diff([]string{"cannot backup symlink 'ROOT/link'", "cannot backup special 'ROOT/pipe'", "cannot backup symlink 'ROOT/sub/dangling'"}, warned); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(stored, g.tree(t, r.Root)); diff != "" {
			t.Error(diff)
		}
	})
}

// A file that cannot be read is left out of its folder, which is made all the
// same.
func TestGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, map[string]string{"a": long("a"), "b": long("b"), "c": long("c"), "d": long("d")})
		g.reading = func(n int, _ io.Reader) {
			if n == 0 { // of a, one at a time
				os.Remove(filepath.Join(root, "b"))
				os.Remove(filepath.Join(root, "c"))
				os.Symlink("a", filepath.Join(root, "c"))
				os.Remove(filepath.Join(root, "d"))
				special(t, filepath.Join(root, "d"))
			}
		}
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root, Parallel: 1}
		r := mustRun(t, c)
		counts(t, r, Counts{New: 1, Skipped: 3}, Counts{New: 1})
		if got := g.tree(t, r.Root); len(got) != 1 || got["/a"] != long("a") {
			t.Errorf("%v", got)
		}
		if s := r.Skipped[0].String(); !strings.HasPrefix(s, "cannot read file '") || !strings.HasSuffix(s, "/b': it has gone since") {
			t.Errorf("%q", s)
		}
		if s := r.Skipped[2].String(); !strings.HasSuffix(s, "/d': something else has taken its place") {
			t.Errorf("%q", s)
		}
	})
}

func TestWarnings(t *testing.T) {
	denied := &os.PathError{Op: "open", Path: "/x", Err: os.ErrPermission}
	for want, s := range map[string]Skipped{
		"permission denied on directory '/x y'": {Path: "/x y", Why: refusal(&Item{Folder: true}, denied), Detail: detailOf(denied)},
		`permission denied on file "/it's"`:     {Path: "/it's", Why: refusal(&Item{}, denied), Detail: detailOf(denied)},
		`cannot read file "/\x1b[2J": bad`:      {Path: "/\x1b[2J", Why: refusal(&Item{}, errors.New("bad")), Detail: detailOf(errors.New("bad"))},
		`cannot backup special "/\xff"`:         {Path: "/\xff", Why: "cannot backup special"},
	} {
		if got := s.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestBadNames(t *testing.T) {
	root := disk(t, map[string]string{"caf\u00e9": "1", "cafe\u0301": "2", "ok": "3"})
	if err := os.WriteFile(filepath.Join(root, "\xff"), nil, 0o600); err != nil {
		t.Skipf("this system has no such names: %v", err)
	}
	tree, err := Walk(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Skipped) != 2 || tree.Files != 2 || len(tree.Root.Items) != 2 {
		t.Errorf("%d files, skipped %v", tree.Files, tree.Skipped)
	}
}

func TestRootMissing(t *testing.T) {
	root := disk(t, map[string]string{"file": "x"})
	for path, want := range map[string]string{"none": "there is no folder", "file": "is not a folder", "file/x": "cannot be read"} {
		_, err := Walk(filepath.Join(root, path), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	if tree, err := Walk(link, nil); err != nil || tree.Files != 1 || tree.Root.Items[0].Path != filepath.Join(link, "file") {
		t.Errorf("through a link: %v", err)
	}
}

// A run that was broken off goes on where it was.
func TestInterrupted(t *testing.T) {
	for _, how := range []string{"error", "cancelled"} {
		bubble(t, func(t *testing.T) {
			files := map[string]string{}
			for i := range 100 {
				files[fmt.Sprintf("%d/%d", i/10, i)] = long(fmt.Sprint(i))
			}
			g, root := newGateway(), disk(t, files)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			broken := errors.New("the grid has gone")
			g.fail = func(n int) error {
				if n < 40 {
					return nil
				}
				if how == "error" {
					return broken
				}
				cancel()
				return context.Canceled
			}
			c := Config{Gateway: g, Target: g, DB: newDB(t), From: root}
			_, err := Run(ctx, c)
			var stop *StoppedError
			if how == "error" && (!errors.Is(err, broken) || !errors.As(err, &stop)) || how == "cancelled" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", how, err)
			}
			if len(g.links) > 0 {
				t.Errorf("%s: half a backup was linked", how)
			}
			g.fail = nil
			before, _, _ := g.took()
			r := mustRun(t, c)
			if r.Files.Reused < 40-8 || r.Files.Reused > 40 || r.Files.New != 100-r.Files.Reused || before > 40+2*8 {
				t.Errorf("%s: %+v after %d", how, r.Files, before)
			}
		})
	}
}

func TestTargetRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		no := errors.New("read-only")
		for _, when := range []string{"prepare", "publish"} {
			g.refused = func(what, _ string) error {
				if what == when {
					return no
				}
				return nil
			}
			if _, err := Run(t.Context(), Config{Gateway: g, Target: g, DB: newDB(t), From: root}); !errors.Is(err, no) {
				t.Errorf("%s: %v", when, err)
			}
			if puts, _, _ := g.took(); puts > 0 != (when == "publish") {
				t.Errorf("%s: %d puts", when, puts)
			}
		}
	})
}

// The older the last check the likelier the next; what is not whole is sent
// again, and then known to be whole.
func TestRecheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		dice := 0.5
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root, Random: func() float64 { return dice }}
		mustRun(t, c)
		time.Sleep(44 * day)
		g.took()
		counts(t, mustRun(t, c), Counts{Reused: 5}, Counts{Reused: 4}) // 47 %
		time.Sleep(2 * day)
		counts(t, mustRun(t, c), Counts{Reused: 5, Checked: 4}, Counts{Reused: 4, Checked: 3}) // 53 %, LITs never
		if puts, mkdirs, checks := g.took(); puts+mkdirs != 0 || checks != 7 {
			t.Errorf("%d puts, %d mkdirs, %d checks", puts, mkdirs, checks)
		}
		counts(t, mustRun(t, c), Counts{Reused: 5}, Counts{Reused: 4})
		time.Sleep(60 * day)
		dice = 0.999999
		sick := fakeCap(long("c"))
		g.healthy = func(c caps.Cap) (bool, error) { return c != sick, nil }
		r := mustRun(t, c)
		counts(t, r, Counts{New: 1, Reused: 4, Checked: 4}, Counts{Reused: 4, Checked: 3})
		g.took()
		counts(t, mustRun(t, c), Counts{Reused: 5}, Counts{Reused: 4})
		if puts, mkdirs, checks := g.took(); puts+mkdirs+checks != 0 {
			t.Errorf("%d puts, %d mkdirs, %d checks", puts, mkdirs, checks)
		}
		time.Sleep(90 * day)
		g.healthy = func(c caps.Cap) (bool, error) { return !caps.IsDir(c), nil }
		counts(t, mustRun(t, c), Counts{Reused: 5, Checked: 4}, Counts{New: 3, Reused: 1, Checked: 3})
		time.Sleep(90 * day)
		gone := errors.New("no answer")
		g.healthy = func(c caps.Cap) (bool, error) { return false, gone }
		if _, err := Run(t.Context(), c); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}

func TestDryRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, example)
		file := filepath.Join(t.TempDir(), "backupdb.sqlite")
		dry := func() *Result {
			t.Helper()
			db, err := OpenReadOnly(file)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			return mustRun(t, Config{DB: db, From: root, DryRun: true})
		}
		r := dry()
		counts(t, r, Counts{New: 5}, Counts{New: 4})
		if r.Root != nil || r.Name != "" || r.NewBytes != 505 {
			t.Errorf("%+v", r)
		}
		mustRun(t, Config{Gateway: g, Target: g, DB: openDB(t, file), From: root})
		counts(t, dry(), Counts{Reused: 5}, Counts{Reused: 4})
		write(t, root, "sub/c.txt", long("other"))
		counts(t, dry(), Counts{New: 1, Reused: 4}, Counts{New: 2, Reused: 2})
		time.Sleep(100 * day)
		counts(t, dry(), Counts{New: 1, Reused: 4, Checked: 3}, Counts{New: 2, Reused: 2, Checked: 1})
	})
}

// Files that change while they are read are stored, and not remembered.
func TestChangesMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, map[string]string{"grows": long("g"), "shrinks": long("s")})
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root, Parallel: 1}
		g.reading = func(n int, r io.Reader) {
			switch n {
			case 0:
				r.Read(make([]byte, 0))
				write(t, root, "grows", long("g")+"more")
			case 1:
				write(t, root, "shrinks", long("s")[:40])
			}
		}
		r := mustRun(t, c)
		counts(t, r, Counts{New: 2}, Counts{New: 1})
		if diff := cmp.Diff(map[string]string{"/grows": long("g"), "/shrinks": long("s")[:40]}, g.tree(t, r.Root)); diff != "" {
			t.Error(diff)
		}
		g.reading = nil
		r = mustRun(t, c)
		counts(t, r, Counts{New: 1, Reused: 1}, Counts{New: 1})
		if got := g.tree(t, r.Root)["/grows"]; got != long("g")+"more" {
			t.Errorf("%q", got)
		}
		// One that becomes ever shorter is left out at last.
		size := 90
		g.reading = func(int, io.Reader) {
			write(t, root, "shrinks", long("S")[:size])
			size -= 10
		}
		write(t, root, "shrinks", long("S"))
		r = mustRun(t, c)
		counts(t, r, Counts{Reused: 1, Skipped: 1}, Counts{New: 1})
		if s := r.Skipped[0].String(); !strings.HasSuffix(s, "it becomes shorter while it is read") {
			t.Errorf("%q", s)
		}
	})
}

// A change that the database's whole seconds do not show is not missed: a file
// is remembered when its second is over, and only if it is still what was read.
func TestSameSecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, map[string]string{"f": long("1")})
		info, err := os.Stat(filepath.Join(root, "f"))
		if err != nil {
			t.Fatal(err)
		}
		began, changed := time.Now(), info.ModTime().Truncate(time.Second)
		now := func() time.Time { return changed.Add(100 * time.Millisecond).Add(time.Since(began)) } // the bubble's pace, the file's date
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root, Now: now}
		mustRun(t, c)
		if waited := time.Since(began); waited < 900*time.Millisecond || waited > 2*time.Second {
			t.Errorf("waited %v for the second to end", waited)
		}
		counts(t, mustRun(t, c), Counts{Reused: 1}, Counts{Reused: 1})

		path := filepath.Join(root, "f")
		info, err = os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		is, err := stat(path, info)
		if err != nil {
			t.Fatal(err)
		}
		was := is
		was.Mtime = was.Mtime.Add(-1) // a nanosecond
		for _, tt := range []struct {
			read Stat
			want bool
		}{{is, true}, {was, false}} {
			db := newDB(t)
			rec := newRecorder(db, now)
			if err := rec.add(record{cap: fakeCap("x"), path: path, stat: tt.read}); err != nil {
				t.Fatal(err)
			}
			if err := rec.close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := db.File(t.Context(), path, is, true); ok != tt.want || err != nil {
				t.Errorf("remembered: %v, %v; want %v", ok, err, tt.want)
			}
		}
	})
}

// 10,000 files: bounded work at once, few transactions, and next to nothing
// the second time.
func TestManyFiles(t *testing.T) {
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("%02d/%02d/%04d", i/1000, i/100%10, i)] = fmt.Sprintf("%060d", i)
	}
	root := disk(t, files)
	bubble(t, func(t *testing.T) {
		g := newGateway()
		var seen []Progress
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root, Parallel: 5, Progress: func(p Progress) { seen = append(seen, p) }}
		g.reading = func(int, io.Reader) { time.Sleep(time.Millisecond) }
		counts(t, mustRun(t, c), Counts{New: 10_000}, Counts{New: 111})
		if g.most != 5 {
			t.Errorf("%d uploads at once", g.most)
		}
		last := seen[len(seen)-1]
		if last != (Progress{10_111, 10_111, 600_000, 600_000}) {
			t.Errorf("progress ends with %+v", last)
		}
		if !slices.IsSortedFunc(seen, func(a, b Progress) int { return a.Done - b.Done }) {
			t.Error("progress goes back")
		}
		g.took()
		counts(t, mustRun(t, c), Counts{Reused: 10_000}, Counts{Reused: 111})
		if puts, mkdirs, checks := g.took(); puts+mkdirs+checks > 0 {
			t.Errorf("%d puts, %d mkdirs, %d checks", puts, mkdirs, checks)
		}
	})
}

func TestVerbose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, root := newGateway(), disk(t, map[string]string{"f": long("x")})
		var said []What
		c := Config{Gateway: g, Target: g, DB: newDB(t), From: root, Verbose: func(e Event) { said = append(said, e.What) }}
		mustRun(t, c)
		time.Sleep(100 * day)
		mustRun(t, c)
		want := []What{Uploading, Uploaded, MakingFolder, Checking, Reusing, Checking, ReusingFolder}
		if !slices.Equal(said, want) {
			t.Errorf("%v, want %v", said, want)
		}
	})
}
