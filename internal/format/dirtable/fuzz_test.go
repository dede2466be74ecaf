package dirtable

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// Any bytes are a directory or ErrSyntax. What is a directory can be listed
// and written, and reads back the same.
func FuzzParse(f *testing.F) {
	g := readGolden(f)
	for name := range g.Directories {
		_, data := g.directory(f, name)
		f.Add(data)
	}
	f.Add([]byte(entry("e\u0301", "ro."+future, "x", `{"ctime":1}`) + entry("\u00e9", mutable, "", "[]")))
	cap, _ := g.directory(f, "root")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, dir := range []string{root, rootRO, immDir} {
			table, err := Parse(mustDir(t, dir), data)
			if err != nil {
				if !errors.Is(err, ErrSyntax) {
					t.Errorf("error %v", err)
				}
				continue
			}
			for name, e := range table.All() {
				c, err := e.Child()
				if err != nil && !errors.Is(err, ErrNotStorable) && !errors.Is(err, ErrNotImmutable) {
					t.Errorf("child: %v", err)
				}
				if c.Write != nil && dir != root {
					t.Errorf("%q has a write cap through %s", name, dir)
				}
				if m, err := e.Metadata(); err == nil && (!json.Valid(m.JSON()) || !json.Valid(m.canonical()) || canonical(string(m.canonical())) != string(m.canonical())) {
					t.Errorf("metadata %q, written %q", m.JSON(), m.canonical())
				} else if err != nil && !errors.Is(err, ErrSyntax) {
					t.Errorf("metadata: %v", err)
				}
			}
			packed := table.Bytes()
			back, err := Parse(mustDir(t, dir), packed)
			if err != nil || back.Len() != table.Len() || !bytes.Equal(back.Bytes(), packed) {
				t.Errorf("%q read back: %v", packed, err)
			}
			if !table.Writable() {
				continue
			}
			for name, e := range back.All() { // one change leaves the others
				c, err := e.Child()
				if err != nil || c.checkFor(false) != nil || len(name) == 0 || len(name) > MaxName {
					continue
				}
				if err := back.Set(name, c, nil, Always, now); err != nil {
					t.Errorf("setting %q: %v", name, err)
				}
				break
			}
			if again, err := Parse(cap, back.Bytes()); err != nil || again.Len() != table.Len() {
				t.Errorf("after a change: %v", err)
			}
		}
	})
}

func FuzzNewChild(f *testing.F) {
	for _, s := range []string{lit, file, mutable, mutRO, subdir, immDir, verify, future, "ro." + futurRO, "imm." + futurRO, "URI:SSK:x"} {
		f.Add(s, "", false)
		f.Add("", s, true)
		f.Add(future, s, false)
	}
	f.Add("", "imm.", false)
	f.Add("", "imm.imm.", true)
	f.Add("ro.imm.x", "", false)
	f.Fuzz(func(t *testing.T, rw, ro string, immutable bool) {
		c, err := NewChild(rw, ro, immutable)
		if err != nil {
			if !errors.Is(err, ErrNotStorable) && !errors.Is(err, ErrNotImmutable) {
				t.Errorf("error %v", err)
			}
			return
		}
		if c.checkFor(immutable) != nil {
			return
		}
		table := NewImmutable()
		if !immutable {
			table = newTable(t)
		}
		if err := table.Put("x", c, Metadata{}); err != nil {
			t.Fatalf("Put: %v", err)
		}
		dir := root
		if immutable {
			dir = immDir
		}
		back := mustParse(t, mustDir(t, dir), table.Bytes())
		e, _ := back.Entry("x")
		got, err := e.Child()
		if err != nil || got != c {
			t.Errorf("%q, %q: read back as %q, %q, %v", reveal(c.Write), reveal(c.Read), reveal(got.Write), reveal(got.Read), err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"a": 1, "tahoe": {"linkcrtime": 1.5}, "no-write": false}`), []byte(`{"b":"\u00e9","ctime":5}`))
	f.Add([]byte(`{}`), []byte(`{"tahoe":[]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		old, err := ParseMetadata(a)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("error %v", err)
			}
			return
		}
		old.NoWrite()
		given := &Metadata{}
		if g, err := ParseMetadata(b); err == nil {
			given = &g
		}
		for _, m := range []Metadata{old.updated(nil, now), old.updated(given, now)} {
			if !json.Valid(m.JSON()) {
				t.Errorf("%q", m.JSON())
			}
			if _, err := ParseMetadata(m.JSON()); err != nil {
				t.Errorf("%q: %v", m.JSON(), err)
			}
			if at, ok := m.Changed(); !ok || !at.Equal(now) {
				t.Errorf("%q: changed %v, %v", m.JSON(), at, ok)
			}
		}
	})
}
