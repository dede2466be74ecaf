package dirtable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/codec/netstring"
	"tahoe-go/internal/format/caps"
)

// Errors to branch on. They show neither caps nor names.
var (
	ErrSyntax    = errors.New("malformed directory")
	ErrNoChild   = errors.New("no such child")
	ErrExists    = errors.New("there is a child of that name")
	ErrWrongType = errors.New("the child is of another type")
	ErrName      = errors.New("not a usable name")
	// ErrNotImmutable: a child that may change, for a directory that must not.
	ErrNotImmutable = errors.New("only immutable children may be in an immutable directory")
	// ErrNotStorable: a cap that cannot be a child as it was given.
	ErrNotStorable = errors.New("the cap cannot be made a child")
)

// MaxName is the longest name that is written, in bytes. Longer ones are read.
const MaxName = 16 << 10

// MaxChildren is how many entries are read, which cost some 200 bytes each
// besides what they hold.
const MaxChildren = 2 << 20

// Table is the contents of a directory. Names are given and found in any
// Unicode form and kept in NFC. One goroutine at a time. It does not print.
type Table struct {
	writeKey  caps.Key // zero: children's write caps stay closed
	immutable bool
	building  bool // an immutable directory that has no cap yet
	noWrite   []byte

	records map[string]*record
	names   []string // ascending; nil after a change
	size    int64    // of what was parsed
	changed bool
}

// record is one entry: its four strings, and the bytes they came from.
type record struct {
	raw                        []byte // all of it; nil when it was made or changed here
	name, read, write, details []byte // details is the metadata
}

// New returns an empty table of a directory: one to be made, whose keys exist
// already, or one that is to be written anew. A cap that does not grant
// writing gives a table that cannot be changed; a verifier gives none
// (ErrNotStorable).
func New(dir caps.Dir) (*Table, error) { return Parse(dir, nil) }

// NewImmutable returns the empty table of an immutable directory to be made.
// Children are added with Put.
func NewImmutable() *Table {
	return &Table{immutable: true, building: true, records: make(map[string]*record)}
}

// Parse reads the contents of dir and keeps data. What it decodes at once is
// the names; caps and metadata are decoded when asked for. Of two entries with
// one name the last counts. ErrSyntax when data is no directory, or one of more
// than MaxChildren entries.
func Parse(dir caps.Dir, data []byte) (*Table, error) { return parse(dir, data, MaxChildren) }

func parse(dir caps.Dir, data []byte, most int) (*Table, error) {
	t := &Table{records: make(map[string]*record), size: int64(len(data))}
	switch file := dir.File().(type) {
	case caps.SSK:
		t.writeKey = file.WriteKey
	case caps.SSKRead:
	case caps.CHK, caps.LIT:
		t.immutable = true
	default:
		return nil, fmt.Errorf("reading a directory: %w: it does not grant reading", ErrNotStorable)
	}
	sorted := true
	for n := 0; len(data) > 0; n++ {
		if n == most {
			return nil, fmt.Errorf("%w: more than %d entries", ErrSyntax, most)
		}
		entry, rest, err := netstring.Next(data, len(data))
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrSyntax, n, err)
		}
		r, name, err := parseRecord(entry)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrSyntax, n, err)
		}
		if t.immutable && len(r.write) > 0 {
			return nil, fmt.Errorf("%w: entry %d has a write cap in an immutable directory", ErrSyntax, n)
		}
		sorted = sorted && (len(t.names) == 0 || t.names[len(t.names)-1] < name)
		t.records[name] = r
		t.names = append(t.names, name)
		data = rest
	}
	if !sorted {
		t.names = nil
	}
	return t, nil
}

// parseRecord reads the four strings of an entry, and its name in NFC. What
// may follow them is for later formats; it stays in raw.
func parseRecord(entry []byte) (*record, string, error) {
	r := &record{raw: entry}
	rest := entry
	for _, field := range []*[]byte{&r.name, &r.read, &r.write, &r.details} {
		var err error
		if *field, rest, err = netstring.Next(rest, len(rest)); err != nil {
			return nil, "", err
		}
	}
	if !utf8.Valid(r.name) {
		return nil, "", errors.New("name is not UTF-8")
	}
	return r, string(norm.NFC.Bytes(r.name)), nil
}

// append adds the record to b.
func (r *record) append(b []byte) []byte {
	if r.raw == nil {
		for _, field := range [][]byte{r.name, r.read, r.write, r.details} {
			r.raw = netstring.Append(r.raw, field)
		}
	}
	return netstring.Append(b, r.raw)
}

// Bytes returns the contents, entries sorted by name. Entries that were not
// changed are as they were, byte for byte.
func (t *Table) Bytes() []byte {
	size := 0
	for _, r := range t.records {
		size += netstring.Len(len(r.raw))
	}
	b := make([]byte, 0, size)
	for _, name := range t.sorted() {
		b = t.records[name].append(b)
	}
	return b
}

// Size is the length of the contents that were parsed, in bytes.
func (t *Table) Size() int64 { return t.size }

// Changed reports whether anything was put, set or removed since Parse.
func (t *Table) Changed() bool { return t.changed }

// Len is the number of children.
func (t *Table) Len() int { return len(t.records) }

// Writable reports whether children can be set and deleted.
func (t *Table) Writable() bool { return !t.writeKey.IsZero() }

// Immutable reports whether the directory can never change.
func (t *Table) Immutable() bool { return t.immutable }

func (t *Table) sorted() []string {
	if t.names == nil {
		t.names = slices.Sorted(maps.Keys(t.records))
	}
	return t.names
}

// All walks the children in the order of their names' bytes. The table must
// not be changed meanwhile.
func (t *Table) All() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for _, name := range t.sorted() {
			if !yield(name, Entry{t, name}) {
				return
			}
		}
	}
}

// Entry finds a child.
func (t *Table) Entry(name string) (Entry, bool) {
	name = norm.NFC.String(name)
	_, ok := t.records[name]
	return Entry{t, name}, ok
}

// Format prints how many children there are, for every verb.
func (t *Table) Format(w fmt.State, _ rune) {
	fmt.Fprintf(w, "directory of %d children", len(t.records))
}

// MarshalJSON writes the same.
func (t *Table) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `"directory of %d children"`, len(t.records)), nil
}

// Entry is a child of a Table, good until that is changed.
type Entry struct {
	table *Table
	name  string // in NFC
}

// Alone returns the entry as that of a table of its own, without the others:
// for those who keep it for long. It may be used at the same time as e's table.
func (e Entry) Alone() Entry {
	r := e.table.records[e.name]
	if r == nil {
		return Entry{&Table{}, e.name}
	}
	own := &record{name: bytes.Clone(r.name), read: bytes.Clone(r.read), write: bytes.Clone(r.write), details: bytes.Clone(r.details)}
	return Entry{&Table{writeKey: e.table.writeKey, immutable: e.table.immutable, records: map[string]*record{e.name: own}}, e.name}
}

// Name is the child's name in NFC.
func (e Entry) Name() string { return e.name }

// Format prints the name, for every verb.
func (e Entry) Format(w fmt.State, _ rune) { io.WriteString(w, e.name) }

// MarshalJSON writes nothing but that it is an entry.
func (e Entry) MarshalJSON() ([]byte, error) { return []byte(`"directory entry"`), nil }
