package dirtable

import (
	"errors"
	"testing"
	"time"
)

func TestMetadataOfLinks(t *testing.T) {
	const times = `"tahoe": {"linkcrtime": 1700000000.25, "linkmotime": 1700000000.25}`
	const later = `"tahoe": {"linkcrtime": 1700000000.25, "linkmotime": 1700000010.5}`
	then := now.Add(10250 * time.Millisecond)
	table := newTable(t)
	get := func(name string) string {
		e, _ := table.Entry(name)
		m, err := e.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		return string(m.JSON())
	}
	check := func(what, name, want string) {
		t.Helper()
		if got := get(name); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	meta := func(s string) *Metadata {
		m, err := ParseMetadata([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return &m
	}
	c := mustChild(t, mutable, "")
	set := func(name string, m *Metadata, at time.Time) {
		t.Helper()
		if err := table.Set(name, c, m, Always, at); err != nil {
			t.Fatal(err)
		}
	}
	set("a", nil, now)
	check("new", "a", "{"+times+"}")
	set("a", nil, then)
	check("again", "a", "{"+later+"}")
	set("b", meta(`{"x" :  1.50,"tahoe":{"linkcrtime":5},"k\u00e9y": "v\u00e4l"}`), now)
	check("given", "b", `{"x": 1.5, "k\u00e9y": "v\u00e4l", `+times+"}")
	set("b", nil, then)
	check("kept", "b", `{"x": 1.5, "k\u00e9y": "v\u00e4l", `+later+"}")
	if err := table.SetMetadata("b", *meta(`{"y":[ 1 ]}`), then); err != nil {
		t.Fatal(err)
	}
	check("metadata set", "b", `{"y": [1], `+later+"}")
	if err := table.Rename("b", "c", Always, then); err != nil {
		t.Fatal(err)
	}
	check("renamed", "c", `{"y": [1], "tahoe": {"linkcrtime": 1700000010.5, "linkmotime": 1700000010.5}}`)
	// The old name of linkcrtime, and times with more fields.
	if err := table.Put("old", c, *meta(`{"ctime": 1000000000, "mtime": 7}`)); err != nil {
		t.Fatal(err)
	}
	set("old", nil, now)
	check("older", "old", `{"ctime": 1000000000, "mtime": 7, "tahoe": {"linkcrtime": 1000000000, "linkmotime": 1700000000.25}}`)
	if err := table.Put("more", c, *meta(`{"tahoe": {"z": 1, "linkmotime": 2}, "ctime": 3}`)); err != nil {
		t.Fatal(err)
	}
	set("more", meta(`{"a": 1}`), now)
	check("more", "more", `{"a": 1, "tahoe": {"z": 1, "linkmotime": 1700000000.25, "linkcrtime": 3}}`)
	if err := table.Put("odd", c, *meta(`{"tahoe": 5}`)); err != nil {
		t.Fatal(err)
	}
	set("odd", nil, now)
	check("odd", "odd", "{"+times+"}")
	set("whole", nil, time.Unix(1700000000, 0))
	check("whole seconds", "whole", `{"tahoe": {"linkcrtime": 1700000000.0, "linkmotime": 1700000000.0}}`)
}

func TestNoWrite(t *testing.T) {
	table := newTable(t)
	noWrite, err := ParseMetadata([]byte(`{"no-write": true}`))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string) string {
		e, _ := table.Entry(name)
		c, err := e.Child()
		if err != nil || c.Read == nil {
			t.Fatal(err)
		}
		return reveal(c.Write)
	}
	for name, c := range map[string]Child{"known": mustChild(t, mutable, ""), "dir": mustChild(t, subdir, ""), "unknown": mustChild(t, future, futurRO)} {
		if err := table.Set(name, c, nil, Always, now); err != nil {
			t.Fatal(err)
		}
		if write(name) == "" {
			t.Errorf("%s: no write cap", name)
		}
		if err := table.SetMetadata(name, noWrite, now); err != nil {
			t.Fatal(err)
		}
		if write(name) != "" {
			t.Errorf("%s: a write cap after SetMetadata", name)
		}
		if err := table.Set(name, c, nil, Always, now); err != nil { // the metadata stay
			t.Fatal(err)
		}
		if write(name) != "" {
			t.Errorf("%s: a write cap after Set", name)
		}
	}
	for text, want := range map[string]bool{
		`{}`: false, `{"no-write": false}`: false, `{"no-write": null}`: false, `{"no-write": 0}`: false, `{"no-write": 0.0}`: false, `{"no-write": ""}`: false,
		`{"no-write": []}`: false, `{"no-write": { }}`: false, `{"no-write": true}`: true, `{"no-write": 1}`: true, `{"no-write": "no"}`: true, `{"no-write": [[]]}`: true,
		`{"no-write": 1e999}`: true, `{"no-write": true, "no-write": false}`: false, `{"No-Write": true}`: false,
	} {
		m, err := ParseMetadata([]byte(text))
		if err != nil || m.NoWrite() != want {
			t.Errorf("%s: NoWrite = %v, %v", text, m.NoWrite(), err)
		}
	}
}

func TestParseMetadata(t *testing.T) {
	for _, text := range []string{"null", "[]", `"x"`, "{", `{"a"}`, `{"a":1}{}`, `{"a":1} x`, "{\"a\":\"\xff\"}", `{"a":1,}`, `{a:1}`, `{1:1}`} {
		if m, err := ParseMetadata([]byte(text)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
	for text, times := range map[string][2]float64{
		`{"tahoe": {"linkcrtime": 1.5, "linkmotime": 2}, "ctime": 3, "mtime": 4}`: {1.5, 2},
		`{"ctime": 3, "mtime": 4.000001}`:                                         {3, 4.000001},
		`{"tahoe": {"linkmotime": -2}, "ctime": 3}`:                               {3, -2},
		`{"tahoe": {"linkcrtime": "soon", "linkmotime": 1e300}}`:                  {-1e9, -1e9},
		` {} `: {-1e9, -1e9},
	} {
		m, err := ParseMetadata([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for i, get := range []func() (time.Time, bool){m.Created, m.Changed} {
			got, ok := get()
			if want := times[i]; ok != (want != -1e9) || ok && got.UnixMicro() != int64(want*1e6) {
				t.Errorf("%s: time %d is %v, %v", text, i, got, ok)
			}
		}
	}
	if (Metadata{}).fields() != nil || string(Metadata{}.JSON()) != "{}" {
		t.Error("zero Metadata")
	}
}
