package backup

import (
	"strings"
)

// VCS are the names of what version control systems keep beside files.
var VCS = strings.Fields("CVS RCS SCCS .git .gitignore .cvsignore .svn .arch-ids {arch} =RELEASE-ID =meta-update =update" +
	" .bzr .bzrignore .bzrtags .hg .hgignore _darcs")

// Exclude is a set of patterns. A name that one of them matches is left out,
// with all that lies below. The zero value excludes nothing.
//
// Patterns are those of a shell: * stands for any characters, ? for one,
// [abc], [a-z] and [!a-z] for one of a set. They match whole names, not paths,
// and upper and lower case differ.
type Exclude struct {
	names    map[string]bool
	patterns [][]rune
}

// Add adds patterns. Space around them does not count, nor do empty ones.
func (e *Exclude) Add(patterns ...string) {
	for _, p := range patterns {
		p = strings.TrimSpace(p)
		switch {
		case p == "":
		case strings.ContainsAny(p, "*?["):
			e.patterns = append(e.patterns, []rune(p))
		default:
			if e.names == nil {
				e.names = map[string]bool{}
			}
			e.names[p] = true
		}
	}
}

// AddLines adds the patterns of a text, one a line.
func (e *Exclude) AddLines(text string) {
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		e.Add(line)
	}
}

// Match reports whether name is excluded.
func (e *Exclude) Match(name string) bool {
	if e == nil {
		return false
	}
	if e.names[name] {
		return true
	}
	if len(e.patterns) == 0 {
		return false
	}
	runes := []rune(name)
	for _, p := range e.patterns {
		if match(p, runes) {
			return true
		}
	}
	return false
}

// match tries one pattern. It goes back to the last * only, so that it takes
// no more than len(pattern) * len(name) steps.
func match(pattern, name []rune) bool {
	star, retry := -1, 0
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, retry = p, n
				p++
				continue
			}
			if ok, width := matchOne(pattern[p:], name[n]); ok {
				p, n = p+width, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		retry++
		p, n = star+1, retry
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne compares c with the start of a pattern, which takes width runes of
// it.
func matchOne(pattern []rune, c rune) (ok bool, width int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '[':
		if set, negated, width, ok := parseSet(pattern); ok {
			return inSet(set, c) != negated, width
		}
	}
	return pattern[0] == c, 1
}

// parseSet reads [...] or [!...]. A ] that comes first is one of the set; a [
// that is never closed stands for itself.
func parseSet(pattern []rune) (set []rune, negated bool, width int, ok bool) {
	start := 1
	if start < len(pattern) && pattern[start] == '!' {
		negated = true
		start++
	}
	for end := start + 1; end < len(pattern); end++ {
		if pattern[end] == ']' {
			return pattern[start:end], negated, end + 1, true
		}
	}
	return nil, false, 0, false
}

func inSet(set []rune, c rune) bool {
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			if set[i] <= c && c <= set[i+2] {
				return true
			}
			i += 2
			continue
		}
		if set[i] == c {
			return true
		}
	}
	return false
}
