package dirtable

import (
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/format/caps"
)

// Replace says what may be put in the place of a child.
type Replace uint8

// Answers to the question whether a child may be replaced.
const (
	Always Replace = iota
	Never
	OnlyFiles // not directories
)

// Type restricts which child may be deleted. Children of unknown type always
// may.
type Type uint8

// Types of children.
const (
	Any Type = iota
	File
	Directory
)

// Put adds a child with these very metadata, to a directory that is being
// made: what is set later keeps times. A child whose metadata say no-write
// loses its write cap. ErrName, ErrNotStorable, ErrNotImmutable, or
// caps.ErrNotWritable.
func (t *Table) Put(name string, c Child, m Metadata) error {
	if !t.building && !t.Writable() {
		return caps.ErrNotWritable
	}
	name, err := checkName(name)
	if err != nil {
		return err
	}
	if err := c.checkFor(t.immutable); err != nil {
		return err
	}
	if len(m.text) > MaxMetadata {
		return fmt.Errorf("metadata of %d bytes: %w", len(m.text), ErrNotStorable)
	}
	if _, had := t.records[name]; !had && len(t.records) >= MaxChildren {
		return fmt.Errorf("%w: the directory has %d children", ErrNotStorable, len(t.records))
	}
	write := ""
	if c.Write != nil && !m.NoWrite() {
		write = c.Write.Reveal()
	}
	t.put(name, &record{name: []byte(name), read: []byte(c.readText(t.immutable)), write: t.encrypt(write), details: m.canonical()})
	return nil
}

func checkName(name string) (string, error) {
	switch {
	case name == "":
		return "", fmt.Errorf("%w: it is empty", ErrName)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%w: it is not UTF-8", ErrName)
	case len(name) > MaxName:
		return "", fmt.Errorf("%w: it has %d bytes", ErrName, len(name))
	}
	return norm.NFC.String(name), nil
}

func (t *Table) put(name string, r *record) {
	if _, ok := t.records[name]; !ok {
		t.names = nil
	}
	t.records[name] = r
	t.changed = true
}

func (t *Table) remove(name string) {
	delete(t.records, name)
	t.names = nil
	t.changed = true
}

// Set links a child under name at the time now. given takes the place of the
// metadata that the link had, save its times; nil keeps them. A child whose
// metadata say no-write loses its write cap. ErrExists as replace demands, and
// the errors of Put.
func (t *Table) Set(name string, c Child, given *Metadata, replace Replace, now time.Time) error {
	if !t.Writable() {
		return caps.ErrNotWritable
	}
	old, err := t.replaceable(name, replace)
	if err != nil {
		return err
	}
	return t.Put(name, c, old.updated(given, now))
}

// replaceable returns the metadata of the child of that name, if there is one,
// or says why it must stay.
func (t *Table) replaceable(name string, replace Replace) (Metadata, error) {
	e, ok := t.Entry(name)
	switch {
	case !ok:
		return Metadata{}, nil
	case replace == Never, replace == OnlyFiles && e.is(Directory):
		return Metadata{}, ErrExists
	}
	m, err := e.Metadata()
	if err != nil {
		m = Metadata{} // nonsense need not last
	}
	return m, nil
}

// is reports whether the child is known to be of type want.
func (e Entry) is(want Type) bool {
	c, err := e.Child()
	if err != nil || c.Cap() == nil || isUnknown(c.Cap()) {
		return false
	}
	return caps.IsDir(c.Cap()) == (want == Directory)
}

// SetMetadata changes the metadata of a link at the time now, all but its
// times. With no-write the link loses its write cap. ErrNoChild, ErrNotStorable
// or caps.ErrNotWritable.
func (t *Table) SetMetadata(name string, given Metadata, now time.Time) error {
	e, ok := t.Entry(name)
	switch {
	case !t.Writable():
		return caps.ErrNotWritable
	case !ok:
		return ErrNoChild
	}
	old, err := e.Metadata()
	if err != nil {
		old = Metadata{}
	}
	return t.relink(e, e.name, old.updated(&given, now))
}

// relink puts the child of an entry, whatever it is, under another name or
// other metadata.
func (t *Table) relink(e Entry, name string, m Metadata) error {
	if len(m.text) > MaxMetadata {
		return fmt.Errorf("metadata of %d bytes: %w", len(m.text), ErrNotStorable)
	}
	r := t.records[e.name]
	write := r.write
	if m.NoWrite() {
		c, err := e.Child()
		if err != nil || c.Read == nil {
			return fmt.Errorf("%w: it cannot be made read-only", ErrNotStorable)
		}
		write = t.encrypt("")
	}
	t.put(name, &record{name: []byte(name), read: r.read, write: write, details: m.canonical()})
	return nil
}

// Delete removes a child. ErrNoChild, ErrWrongType if it is known to be of
// another type than want, or caps.ErrNotWritable.
func (t *Table) Delete(name string, want Type) error {
	e, ok := t.Entry(name)
	switch {
	case !t.Writable():
		return caps.ErrNotWritable
	case !ok:
		return ErrNoChild
	case want == File && e.is(Directory), want == Directory && e.is(File):
		return ErrWrongType
	}
	t.remove(e.name)
	return nil
}

// Rename gives a child another name at the time now. It keeps its metadata;
// its times are those of a new link, or of the one it replaces. To rename to
// the same name changes nothing. ErrNoChild and the errors of Set.
func (t *Table) Rename(from, to string, replace Replace, now time.Time) error {
	e, ok := t.Entry(from)
	switch {
	case !t.Writable():
		return caps.ErrNotWritable
	case !ok:
		return ErrNoChild
	}
	to, err := checkName(to)
	if err != nil || to == e.name {
		return err
	}
	old, err := t.replaceable(to, replace)
	if err != nil {
		return err
	}
	m, err := e.Metadata()
	if err != nil {
		m = Metadata{}
	}
	if err := t.relink(e, to, old.updated(&m, now)); err != nil {
		return err
	}
	t.remove(e.name)
	return nil
}
