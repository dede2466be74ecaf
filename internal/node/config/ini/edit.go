package ini

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrEdit is wrapped by errors of Set and Remove; the File is then as
// before.
var ErrEdit = errors.New("cannot edit the file")

// Bytes returns the file's text. Unedited, it is what Parse was given (if
// that was not too large).
func (f *File) Bytes() []byte {
	text := strings.Join(f.lines, "\n")
	if f.bom {
		text = "\ufeff" + text
	}
	return []byte(text)
}

// Set gives the key a value, "%" in it meaning itself. Where the key is
// set, its line is replaced; else a line is added to the end of the section,
// which is made if need be. Comments and all other values stay.
func (f *File) Set(section, key, value string) error {
	escaped := strings.Split(strings.ReplaceAll(value, "%", "%%"), "\n")
	text := func(lead string) []string {
		lines := []string{strings.TrimRight(lead+key+" = "+escaped[0], " ")}
		for _, more := range escaped[1:] {
			lines = append(lines, lead+"\t"+more)
		}
		return f.withEOL(lines)
	}
	lines := slices.Clone(f.lines)
	s := f.section(section)
	var e *entry
	if s != nil {
		e = s.find(fold(key))
	}
	switch {
	case e != nil:
		sp := e.spans[len(e.spans)-1]
		first := lines[sp.start]
		lead := first[:len(first)-len(strings.TrimLeftFunc(first, isSpace))]
		lines = slices.Replace(lines, sp.start, sp.end, append(text(lead), f.comments(sp)...)...)
	case s != nil && s.line > 0:
		lines = slices.Insert(lines, s.tail, text(s.indent)...)
	default:
		lines = f.appendSection(lines, section, text(""))
	}
	return f.commit(lines, section, key, func(g *File) error {
		got, ok, err := g.Get(section, key)
		if err != nil || !ok || got != value {
			return fmt.Errorf("the value %q cannot be written in this format", clip(value))
		}
		return nil
	})
}

// Remove deletes every line that sets the key in the section. It is no
// error if there is none.
func (f *File) Remove(section, key string) error {
	s := f.section(section)
	if s == nil || s.find(fold(key)) == nil {
		return nil
	}
	lines := slices.Clone(f.lines)
	for _, sp := range slices.Backward(s.find(fold(key)).spans) {
		lines = slices.Replace(lines, sp.start, sp.end, f.comments(sp)...)
	}
	return f.commit(lines, section, key, func(g *File) error {
		if slices.Contains(g.Keys(section), fold(key)) {
			return errors.New("the key is still there")
		}
		return nil
	})
}

// comments returns the comment lines inside a span, which outlive it.
func (f *File) comments(sp span) []string {
	var keep []string
	for _, line := range f.lines[sp.start+1 : sp.end] {
		if isComment(strings.TrimFunc(line, isSpace)) {
			keep = append(keep, line)
		}
	}
	return keep
}

func (f *File) appendSection(lines []string, name string, body []string) []string {
	for len(lines) > 0 && strings.TrimFunc(lines[len(lines)-1], isSpace) == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) > 0 {
		if strings.HasSuffix(f.lines[0], "\r") && !strings.HasSuffix(lines[len(lines)-1], "\r") {
			lines[len(lines)-1] += "\r"
		}
		lines = append(lines, f.withEOL([]string{""})...)
	}
	lines = append(lines, f.withEOL([]string{"[" + name + "]"})...)
	return append(append(lines, body...), "")
}

// withEOL ends lines as the file's first line ends.
func (f *File) withEOL(lines []string) []string {
	if len(f.lines) > 1 && strings.HasSuffix(f.lines[0], "\r") {
		for i := range lines {
			lines[i] += "\r"
		}
	}
	return lines
}

// commit takes the new lines if they parse, the wish is met, and no other
// value changed: an edit of a file somebody cares for must not surprise.
func (f *File) commit(lines []string, section, key string, met func(*File) error) error {
	next := &File{bom: f.bom, lines: lines}
	g, errs := Parse(next.Bytes())
	if len(errs) > 0 {
		return fmt.Errorf("%w: [%s] %s: %w", ErrEdit, section, key, errs[0])
	}
	if err := met(g); err != nil {
		return fmt.Errorf("%w: [%s] %s: %w", ErrEdit, section, key, err)
	}
	if !f.sameExcept(g, section, fold(key)) || !g.sameExcept(f, section, fold(key)) {
		return fmt.Errorf("%w: [%s] %s: another value would change with it", ErrEdit, section, key)
	}
	*f = *g
	return nil
}

// sameExcept reports whether every value of f, but the one key, is in g.
func (f *File) sameExcept(g *File, section, key string) bool {
	for _, s := range f.byName {
		for _, e := range s.entries {
			if s.name == section && e.key == key {
				continue
			}
			t := g.section(s.name)
			if t == nil || t.find(e.key) == nil || t.find(e.key).raw() != e.raw() {
				return false
			}
		}
	}
	return true
}
