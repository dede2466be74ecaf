package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/format/ssk"
)

const (
	litText  = "URI:LIT:nbswy3dpebwgs5dfojqwy"
	fileText = "URI:SSK:y67cf3jczqozg42mghq2ldmalu:kmktndxymthlfhfg7y73fi4cgqd27rkklhcsbza6bvxhmgeekvha"
	dirText  = "URI:DIR2:upmpo7rouxpboettrix353gx6e:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"
	dir2Text = "URI:DIR2:khw37xyluthirivmkm2p6sktjy:xlydi5s3w7d4ktn6524k3zswyibvtul3rm3me23eonddy7loc3za"
)

func mustChild(t testing.TB, text string) dirtable.Child {
	t.Helper()
	c, err := dirtable.NewChild(text, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustDir(t testing.TB, text string) caps.Dir {
	t.Helper()
	c, err := caps.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c.(caps.Dir)
}

// fakeFile is a mutable file in memory. Others write to it between what a
// modifier reads and what it writes.
type fakeFile struct {
	contents []byte
	// collide is called before each write: not nil, it returns what somebody
	// else has made of the contents, and whether our write was there first.
	collide  func(old []byte) (others func([]byte) []byte, landed bool)
	writes   int
	modifies int
}

func (f *fakeFile) Read(context.Context, *mutable.Trace) ([]byte, ssk.Version, error) {
	return bytes.Clone(f.contents), ssk.Version{}, nil
}

func (f *fakeFile) Modify(_ context.Context, modify func([]byte) ([]byte, error), _ *mutable.Trace) error {
	f.modifies++
	for {
		ours, err := modify(bytes.Clone(f.contents))
		if err != nil {
			return err
		}
		if bytes.Equal(ours, f.contents) {
			return nil
		}
		if f.collide != nil {
			if others, landed := f.collide(f.contents); others != nil {
				if landed {
					f.contents = ours
				}
				f.contents = others(f.contents)
				continue
			}
		}
		f.contents = ours
		f.writes++
		return nil
	}
}

// newFake returns an empty directory over a fakeFile.
func newFake(t testing.TB, text string, now func() time.Time) (*Directory, *fakeFile) {
	f := &fakeFile{}
	return &Directory{c: New(Config{Now: now}), cap: mustDir(t, text), file: f}, f
}

// listing is a directory as a plain map of names to the texts of caps.
func listing(t testing.TB, d *Directory) map[string]string {
	t.Helper()
	table, err := d.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for name, e := range table.All() {
		c, err := e.Child()
		if err != nil {
			t.Fatal(err)
		}
		m[name] = c.Cap().Reveal()
	}
	return m
}

// Whatever is done to two directories, they hold what two maps would, although
// somebody else adds to them all the time, and none of what they add is lost.
func TestEditsAgainstMaps(t *testing.T) {
	names := []string{"a", "b", "e\u0301", "\u00e9", "z z"}
	texts := []string{litText, fileText, dirText}
	rapid.Check(t, func(r *rapid.T) {
		clock := int64(1000)
		now := func() time.Time { return time.Unix(clock, 0) }
		var dirs [2]*Directory
		want := [2]map[string]string{{}, {}}
		others := 0
		for i, text := range []string{dirText, dir2Text} {
			d, f := newFake(t, text, now)
			f.collide = func([]byte) (func([]byte) []byte, bool) {
				switch rapid.SampledFrom([]string{"no", "no", "lost", "landed"}).Draw(r, "collision") {
				case "no":
					return nil, false
				case "lost":
					return addOther(t, d.cap, want[i], &others), false
				}
				return addOther(t, d.cap, want[i], &others), true
			}
			dirs[i] = d
		}
		drawName := func(r *rapid.T, what string) (string, string) {
			n := rapid.SampledFrom(names).Draw(r, what)
			return n, norm.NFC.String(n)
		}
		r.Repeat(map[string]func(*rapid.T){
			"set": func(r *rapid.T) {
				i, replace := rapid.IntRange(0, 1).Draw(r, "dir"), rapid.SampledFrom([]dirtable.Replace{dirtable.Always, dirtable.Never, dirtable.OnlyFiles}).Draw(r, "replace")
				name, key := drawName(r, "name")
				text := rapid.SampledFrom(texts).Draw(r, "cap")
				old, had := want[i][key]
				refused := had && (replace == dirtable.Never || replace == dirtable.OnlyFiles && old == dirText)
				replaced, err := dirs[i].Set(t.Context(), name, mustChild(t, text), nil, replace, nil)
				if refused != errors.Is(err, dirtable.ErrExists) || err != nil && !refused || err == nil && replaced != had {
					r.Fatalf("Set = %v, %v", replaced, err)
				}
				if !refused {
					want[i][key] = text
				}
			},
			"set many": func(r *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(r, "dir")
				text := rapid.SampledFrom(texts).Draw(r, "cap")
				_, taken := want[i]["a"]
				err := dirs[i].SetMany(t.Context(), []Setting{{Name: "m", Child: mustChild(t, text)}, {Name: "a", Child: mustChild(t, text)}}, dirtable.Never, nil)
				if _, m := want[i]["m"]; m || taken {
					if !errors.Is(err, dirtable.ErrExists) {
						r.Fatalf("SetMany = %v", err)
					}
					return
				}
				if err != nil {
					r.Fatalf("SetMany = %v", err)
				}
				want[i]["m"], want[i]["a"] = text, text
			},
			"delete": func(r *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(r, "dir")
				name, key := drawName(r, "name")
				old, had := want[i][key]
				child, err := dirs[i].Delete(t.Context(), name, dirtable.Any, nil)
				if had != (err == nil) || !had && !errors.Is(err, dirtable.ErrNoChild) || had && child.Cap().Reveal() != old {
					r.Fatalf("Delete = %v, %v", child, err)
				}
				delete(want[i], key)
			},
			"move": func(r *rapid.T) {
				i, j := rapid.IntRange(0, 1).Draw(r, "dir"), rapid.IntRange(0, 1).Draw(r, "to dir")
				from, fromKey := drawName(r, "from")
				to, toKey := drawName(r, "to")
				old, had := want[i][fromKey]
				_, taken := want[j][toKey]
				same := i == j && fromKey == toKey
				err := dirs[i].MoveTo(t.Context(), from, dirs[j], to, dirtable.Never, nil)
				switch {
				case !had:
					if !errors.Is(err, dirtable.ErrNoChild) {
						r.Fatalf("MoveTo = %v", err)
					}
				case taken && !same:
					if !errors.Is(err, dirtable.ErrExists) {
						r.Fatalf("MoveTo = %v", err)
					}
				case err != nil:
					r.Fatalf("MoveTo = %v", err)
				default:
					delete(want[i], fromKey)
					want[j][toKey] = old
				}
			},
			"": func(r *rapid.T) {
				clock++
				for i, d := range dirs {
					if got := listing(t, d); !maps.Equal(got, want[i]) {
						r.Fatalf("directory %d: %v, want %v", i, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want[i])))
					}
				}
			},
		})
	})
}

// addOther returns an edit by somebody else, and notes it in want.
func addOther(t testing.TB, dir caps.Dir, want map[string]string, n *int) func([]byte) []byte {
	*n++
	name := fmt.Sprintf("other %d", *n)
	want[name] = litText
	return func(old []byte) []byte {
		table, err := dirtable.Parse(dir, old)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Set(name, mustChild(t, litText), nil, dirtable.Never, time.Unix(5, 0)); err != nil {
			t.Fatal(err)
		}
		return table.Bytes()
	}
}

// A child that is replaced while it is being moved stays where it is.
func TestMoveLeavesNewerChild(t *testing.T) {
	now := func() time.Time { return time.Unix(1000, 0) }
	from, file := newFake(t, dirText, now)
	to, dest := newFake(t, dir2Text, now)
	if _, err := from.Set(t.Context(), "a", mustChild(t, litText), nil, dirtable.Always, nil); err != nil {
		t.Fatal(err)
	}
	dest.collide = func([]byte) (func([]byte) []byte, bool) {
		dest.collide = nil
		if _, err := from.Set(t.Context(), "a", mustChild(t, fileText), nil, dirtable.Always, nil); err != nil {
			t.Fatal(err)
		}
		return func(old []byte) []byte { return old }, false
	}
	if err := from.MoveTo(t.Context(), "a", to, "b", dirtable.Never, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, from), map[string]string{"a": fileText}; !maps.Equal(got, want) {
		t.Errorf("source has %v", got)
	}
	if got, want := listing(t, to), map[string]string{"b": litText}; !maps.Equal(got, want) {
		t.Errorf("destination has %v", got)
	}
	if file.writes != 2 {
		t.Errorf("%d writes to the source", file.writes)
	}
}

// What changes nothing is not written.
func TestNothingToWrite(t *testing.T) {
	d, f := newFake(t, dirText, time.Now)
	if _, err := d.Set(t.Context(), "a", mustChild(t, litText), nil, dirtable.Always, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename(t.Context(), "a", "a", dirtable.Never, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Edit(t.Context(), func(*dirtable.Table) error { return nil }, nil); err != nil {
		t.Fatal(err)
	}
	if f.writes != 1 || f.modifies != 3 {
		t.Errorf("%d writes, %d modifies", f.writes, f.modifies)
	}
}

func TestNotWritable(t *testing.T) {
	readOnly := &Directory{c: New(Config{}), cap: mustDir(t, "URI:DIR2-RO:5zba2ubvvnmhiumom7ivsp2yla:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"), file: &fakeFile{}}
	immutable := &Directory{c: New(Config{}), cap: mustDir(t, "URI:DIR2-LIT:")}
	writable, _ := newFake(t, dirText, nil)
	child := mustChild(t, litText)
	for _, d := range []*Directory{readOnly, immutable} {
		_, set := d.Set(t.Context(), "a", child, nil, dirtable.Always, nil)
		_, del := d.Delete(t.Context(), "a", dirtable.Any, nil)
		for what, err := range map[string]error{
			"Set": set, "Delete": del, "SetMany": d.SetMany(t.Context(), nil, dirtable.Always, nil),
			"SetMetadata": d.SetMetadata(t.Context(), "a", dirtable.Metadata{}, nil), "Rename": d.Rename(t.Context(), "a", "b", dirtable.Always, nil),
			"MoveTo": d.MoveTo(t.Context(), "a", writable, "a", dirtable.Always, nil), "to": writable.MoveTo(t.Context(), "a", d, "a", dirtable.Always, nil),
			"Place": d.Place(t.Context(), "a", func() (dirtable.Child, error) { return child, nil }, nil),
		} {
			if !errors.Is(err, caps.ErrNotWritable) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if d.Writable() {
			t.Error("writable")
		}
	}
}

// Errors tell of neither names nor caps.
func TestErrorsAreDiscreet(t *testing.T) {
	d, _ := newFake(t, dirText, time.Now)
	_, missing := d.Get(t.Context(), "hush", nil)
	_, deleted := d.Delete(t.Context(), "hush", dirtable.Any, nil)
	future, err := dirtable.NewChild("x-future:hush", "", false)
	for _, err := range []error{
		missing, deleted, err, d.Rename(t.Context(), "hush", "hush hush", dirtable.Never, nil),
		d.SetMany(t.Context(), []Setting{{Name: "hush", Child: future}}, dirtable.Never, nil),
	} {
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err.Error()), "hush") {
			t.Errorf("error %v", err)
		}
	}
	if e, ok := errors.AsType[*ChildError](missing); !ok || e.Name != "hush" {
		t.Errorf("%v", missing)
	}
}
