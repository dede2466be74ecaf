package ini

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxSize is the most bytes Parse reads: far above any real file.
const MaxSize = 1 << 20

// Default is the name of the section that backs all others.
const Default = "DEFAULT"

// SyntaxError is one line that ConfigParser would refuse.
type SyntaxError struct {
	Line int // 1 is the first
	Why  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Why) }

// File is a parsed file together with its text. It is not safe for use by
// several goroutines while one of them edits.
type File struct {
	bom      bool
	lines    []string // without their newline; "\r" stays
	sections []*section
	byName   map[string]*section // DEFAULT too
}

type section struct {
	name    string
	line    int // of its first header
	tail    int // index after its last header, key or continuation line
	indent  string
	entries []*entry
	byKey   map[string]*entry
}

type entry struct {
	key   string
	value []string // one element a line
	spans []span   // every place the key is set; the last one counts
}

// span is lines[start:end], the key's line and what continues it.
type span struct{ start, end int }

// Parse reads a file. All syntax errors are returned; the File holds what
// could be read all the same, and is never nil.
func Parse(data []byte) (*File, []*SyntaxError) {
	f := &File{byName: map[string]*section{Default: {name: Default}}}
	if len(data) > MaxSize {
		return f, []*SyntaxError{{1, fmt.Sprintf("the file is larger than %d bytes", MaxSize)}}
	}
	data, f.bom = bytes.CutPrefix(data, []byte("\ufeff"))
	f.lines = strings.Split(string(data), "\n")
	p := parser{file: f}
	for i, line := range f.lines {
		if !utf8.ValidString(line) {
			p.fail(i, "not UTF-8 text")
			continue
		}
		p.line(i, line)
	}
	return f, p.errs
}

type parser struct {
	file   *File
	sect   *section // nil before the first header
	entry  *entry   // what a deeper indented line continues
	indent int
	errs   []*SyntaxError
}

func (p *parser) fail(i int, why string) {
	p.errs = append(p.errs, &SyntaxError{i + 1, why})
}

func (p *parser) line(i int, line string) {
	text := strings.TrimFunc(line, isSpace)
	switch {
	case isComment(text):
		return
	case text == "":
		if p.entry != nil {
			p.entry.value = append(p.entry.value, "")
		}
		return
	}
	lead := line[:len(line)-len(strings.TrimLeftFunc(line, isSpace))]
	indent := utf8.RuneCountInString(lead)
	if p.entry != nil && indent > p.indent {
		p.entry.value = append(p.entry.value, text)
		p.entry.spans[len(p.entry.spans)-1].end = i + 1
		p.sect.tail = i + 1
		return
	}
	p.indent = indent
	if end := strings.LastIndexByte(text, ']'); text[0] == '[' && end >= 2 {
		p.header(i, text[1:end], lead)
		return
	}
	if p.sect == nil {
		p.fail(i, fmt.Sprintf("%q stands before the first [section] line", clip(text)))
		return
	}
	p.option(i, text, lead)
}

func (p *parser) header(i int, name, lead string) {
	s := p.file.byName[name]
	if s == nil {
		s = &section{name: name, line: i + 1}
		p.file.byName[name] = s
		p.file.sections = append(p.file.sections, s)
	}
	if s.line == 0 {
		s.line = i + 1
	}
	s.tail, s.indent = i+1, lead
	p.sect, p.entry = s, nil
}

func (p *parser) option(i int, text, lead string) {
	at := strings.IndexAny(text, "=:")
	if at < 0 {
		p.fail(i, fmt.Sprintf("%q has neither \"=\" nor \":\"; a line that continues the one above must be indented", clip(text)))
		return
	}
	key := fold(strings.TrimFunc(text[:at], isSpace))
	if key == "" {
		p.fail(i, fmt.Sprintf("%q has no key before its %q", clip(text), text[at]))
		p.entry = nil
		return
	}
	e := p.sect.find(key)
	if e == nil {
		e = &entry{key: key}
		p.sect.add(e)
	}
	e.value = []string{strings.TrimFunc(text[at+1:], isSpace)}
	e.spans = append(e.spans, span{i, i + 1})
	p.sect.tail, p.sect.indent = i+1, lead
	p.entry = e
}

func (s *section) add(e *entry) {
	if s.byKey == nil {
		s.byKey = map[string]*entry{}
	}
	s.byKey[e.key] = e
	s.entries = append(s.entries, e)
}

func (s *section) find(key string) *entry { return s.byKey[key] }

// fold is ConfigParser's optionxform.
func fold(key string) string { return strings.ToLower(key) }

func isComment(text string) bool {
	return strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";")
}

// isSpace is Python's str.isspace, which counts the four separators 1c-1f
// that Go does not.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
