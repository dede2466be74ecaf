package dirtable

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// model is a directory as a plain map.
type model map[string]modelChild

type modelChild struct {
	write, read      string
	x                string // a field of the metadata
	noWrite          bool
	created, changed int64
}

var (
	someNames = []string{"a", "b", "e\u0301", "\u00e9", "\u2603", "z z", "A"}
	someCaps  = [][2]string{{lit, ""}, {file, ""}, {mutable, ""}, {subdir, ""}, {mutRO, ""}, {future, futurRO}, {"", "imm." + futurRO}, {immDir, ""}}
	someMeta  = []string{"", `{"x": "1"}`, `{"x":"2","no-write":true}`, `{"no-write": true}`, `{"tahoe":{"linkcrtime":3}}`}
)

// Whatever is done to a table, it holds what a map would, after each trip
// through bytes.
func TestEditsAgainstMap(t *testing.T) {
	dir := mustDir(t, root)
	rapid.Check(t, func(r *rapid.T) {
		table, want := mustParse(t, dir, nil), model{}
		clock := int64(1000)
		r.Repeat(map[string]func(*rapid.T){
			"set": func(r *rapid.T) {
				name, texts := rapid.SampledFrom(someNames).Draw(r, "name"), rapid.SampledFrom(someCaps).Draw(r, "cap")
				meta, replace := rapid.SampledFrom(someMeta).Draw(r, "meta"), rapid.SampledFrom([]Replace{Always, Never, OnlyFiles}).Draw(r, "replace")
				c := mustChild(t, texts[0], texts[1])
				given := parseGiven(t, meta)
				err := table.Set(name, c, given, replace, time.Unix(clock, 0))
				if want.set(name, c, meta, given, replace, clock) != errors.Is(err, ErrExists) || err != nil && !errors.Is(err, ErrExists) {
					r.Fatalf("Set = %v", err)
				}
			},
			"metadata": func(r *rapid.T) {
				name, meta := rapid.SampledFrom(someNames).Draw(r, "name"), rapid.SampledFrom(someMeta[1:]).Draw(r, "meta")
				given := parseGiven(t, meta)
				err := table.SetMetadata(name, *given, time.Unix(clock, 0))
				key := norm.NFC.String(name)
				old, ok := want[key]
				if ok != (err == nil) {
					r.Fatalf("SetMetadata = %v", err)
				}
				if ok {
					want[key] = old.with(given, clock)
				}
			},
			"delete": func(r *rapid.T) {
				name, typ := rapid.SampledFrom(someNames).Draw(r, "name"), rapid.SampledFrom([]Type{Any, File, Directory}).Draw(r, "type")
				err := table.Delete(name, typ)
				key := norm.NFC.String(name)
				old, ok := want[key]
				wrong := ok && (typ == File && old.isDir() || typ == Directory && old.isFile())
				if !ok != errors.Is(err, ErrNoChild) || wrong != errors.Is(err, ErrWrongType) {
					r.Fatalf("Delete = %v", err)
				}
				if ok && !wrong {
					delete(want, key)
				}
			},
			"rename": func(r *rapid.T) {
				from, to := rapid.SampledFrom(someNames).Draw(r, "from"), rapid.SampledFrom(someNames).Draw(r, "to")
				err := table.Rename(from, to, Never, time.Unix(clock, 0))
				from, to = norm.NFC.String(from), norm.NFC.String(to)
				old, ok := want[from]
				_, taken := want[to]
				switch {
				case !ok:
					if !errors.Is(err, ErrNoChild) {
						r.Fatalf("Rename = %v", err)
					}
				case from == to:
				case taken:
					if !errors.Is(err, ErrExists) {
						r.Fatalf("Rename = %v", err)
					}
				default:
					old.created, old.changed = clock, clock
					want[to] = old
					delete(want, from)
				}
			},
			"": func(r *rapid.T) {
				clock++
				table = mustParse(t, dir, table.Bytes())
				if got := names(table); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
					r.Fatalf("names %q, want %v", got, want)
				}
				for name, e := range table.All() {
					if got := readModel(t, e); got != want[name] {
						r.Fatalf("%q is %+v, want %+v", name, got, want[name])
					}
				}
			},
		})
	})
}

func parseGiven(t *testing.T, meta string) *Metadata {
	if meta == "" {
		return nil
	}
	m, err := ParseMetadata([]byte(meta))
	if err != nil {
		t.Fatal(err)
	}
	return &m
}

func (m model) set(name string, c Child, meta string, given *Metadata, replace Replace, clock int64) (refused bool) {
	name = norm.NFC.String(name)
	old, ok := m[name]
	if ok && (replace == Never || replace == OnlyFiles && old.isDir()) {
		return true
	}
	child := modelChild{write: reveal(c.Write), read: reveal(c.Read), created: clock}
	if ok {
		child.created, child.x, child.noWrite = old.created, old.x, old.noWrite
	}
	m[name] = child.with(given, clock)
	return false
}

func (c modelChild) with(given *Metadata, clock int64) modelChild {
	if given != nil {
		x, _ := given.Get("x")
		c.x, c.noWrite = string(x), given.NoWrite()
	}
	if c.noWrite {
		c.write = ""
	}
	c.changed = clock
	return c
}

func (c modelChild) isDir() bool {
	return c.read == subRO || c.read == immDir
}

func (c modelChild) isFile() bool {
	return c.read == lit || c.read == file || c.read == mutRO
}

func readModel(t *testing.T, e Entry) modelChild {
	c, err := e.Child()
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	x, _ := m.Get("x")
	created, _ := m.Created()
	changed, _ := m.Changed()
	return modelChild{reveal(c.Write), reveal(c.Read), string(x), m.NoWrite(), created.Unix(), changed.Unix()}
}
