package ini

import (
	"errors"
	"fmt"
	"strings"
)

// These bound what "%(key)s" may do. The depth is ConfigParser's; it has no
// bound on the size and the steps.
const (
	maxDepth    = 10
	maxSteps    = 10_000
	maxExpanded = 1 << 20
)

// ErrInterpolation is wrapped by every error about "%" in a value.
var ErrInterpolation = errors.New("bad use of %")

// Sections returns the section names in order of appearance, without
// DEFAULT.
func (f *File) Sections() []string {
	names := make([]string, len(f.sections))
	for i, s := range f.sections {
		names[i] = s.name
	}
	return names
}

// Keys returns the keys written in the section itself, lower-case, in order
// of first appearance; those of DEFAULT only when asked for DEFAULT.
func (f *File) Keys(section string) []string {
	s := f.section(section)
	if s == nil {
		return nil
	}
	keys := make([]string, len(s.entries))
	for i, e := range s.entries {
		keys[i] = e.key
	}
	return keys
}

// Line returns the line where the section starts, or 0.
func (f *File) Line(section string) int {
	if s := f.section(section); s != nil {
		return s.line
	}
	return 0
}

// KeyLine returns the line whose value counts for the key, or 0 if it is
// set neither in the section nor (the section being present) in DEFAULT.
func (f *File) KeyLine(section, key string) int {
	if e := f.lookup(section, key); e != nil {
		return e.spans[len(e.spans)-1].start + 1
	}
	return 0
}

// Raw returns the value as written: lines joined, "%" untouched.
func (f *File) Raw(section, key string) (value string, ok bool) {
	e := f.lookup(section, key)
	if e == nil {
		return "", false
	}
	return e.raw(), true
}

// Get returns the value with "%" resolved. ok is false when the key is not
// set; err wraps ErrInterpolation.
func (f *File) Get(section, key string) (value string, ok bool, err error) {
	e := f.lookup(section, key)
	if e == nil {
		return "", false, nil
	}
	x := expander{file: f, section: section}
	if err := x.expand(e.raw(), 1); err != nil {
		return "", true, fmt.Errorf("%w: %w", ErrInterpolation, err)
	}
	return x.out.String(), true, nil
}

// References returns the keys that the section's values name in "%(key)s".
func (f *File) References(section string) []string {
	var refs []string
	s := f.section(section)
	if s == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, e := range s.entries {
		rest := e.raw()
		for {
			_, after, ok := strings.Cut(rest, "%(")
			if !ok {
				break
			}
			name, tail, ok := strings.Cut(after, ")s")
			if ok && !seen[fold(name)] {
				seen[fold(name)] = true
				refs = append(refs, fold(name))
			}
			rest = tail
		}
	}
	return refs
}

func (f *File) section(name string) *section { return f.byName[name] }

func (f *File) lookup(section, key string) *entry {
	s := f.section(section)
	if s == nil {
		return nil
	}
	key = fold(key)
	if e := s.find(key); e != nil {
		return e
	}
	return f.byName[Default].find(key)
}

func (e *entry) raw() string {
	return strings.TrimRightFunc(strings.Join(e.value, "\n"), isSpace)
}

type expander struct {
	file    *File
	section string
	out     strings.Builder
	steps   int
}

func (x *expander) expand(rest string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values name each other more than %d deep", maxDepth)
	}
	for rest != "" {
		plain, after, found := strings.Cut(rest, "%")
		x.out.WriteString(plain)
		if x.out.Len() > maxExpanded {
			return fmt.Errorf("the value grows beyond %d bytes", maxExpanded)
		}
		switch {
		case !found:
			return nil
		case strings.HasPrefix(after, "%"):
			x.out.WriteByte('%')
			rest = after[1:]
		case strings.HasPrefix(after, "("):
			name, tail, ok := strings.Cut(after[1:], ")")
			if !ok || name == "" || !strings.HasPrefix(tail, "s") {
				return fmt.Errorf("%q is not of the form %%(key)s", clip("%"+after))
			}
			e := x.file.lookup(x.section, name)
			if e == nil {
				return fmt.Errorf("%%(%s)s names a key that is not set in [%s]", name, x.section)
			}
			raw := e.raw()
			if x.steps++; x.steps > maxSteps {
				return fmt.Errorf("values name each other more than %d times", maxSteps)
			}
			if !strings.Contains(raw, "%") {
				x.out.WriteString(raw) // does not count as deeper
			} else if err := x.expand(raw, depth+1); err != nil {
				return err
			}
			rest = tail[1:]
		default:
			return fmt.Errorf("a percent sign is written %%%%, found %q", clip("%"+after))
		}
	}
	return nil
}

// Bool reads a value as ConfigParser's getboolean does.
func Bool(value string) (b, ok bool) {
	switch strings.ToLower(value) {
	case "1", "yes", "true", "on":
		return true, true
	case "0", "no", "false", "off":
		return false, true
	}
	return false, false
}
