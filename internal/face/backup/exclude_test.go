package backup

import (
	"strings"
	"testing"
)

func TestExclude(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*.o", "a.o", true}, {"*.o", ".o", true}, {"*.o", "a.oo", false}, {"*.o", "a.O", false},
		{"*", "", true}, {"*", "anything", true}, {"**", "x", true},
		{"?", "ä", true}, {"?", "", false}, {"?", "ab", false},
		{"a*b*c", "aXbXc", true}, {"a*b*c", "abbbc", true}, {"a*b*c", "acb", false},
		{"[abc]", "b", true}, {"[abc]", "d", false}, {"[a-c]x", "bx", true}, {"[a-c]x", "dx", false},
		{"[!a-c]", "d", true}, {"[!a-c]", "a", false}, {"[^a]", "b", false}, {"[^a]", "^", true},
		{"[]]", "]", true}, {"[!]]", "]", false}, {"[]", "[]", true}, {"[", "[", true}, {"a[", "a[", true}, {"[a-", "[a-", true},
		{"[a-]", "-", true}, {"[z-a]", "b", false}, {"x[!]y", "x[!]y", true},
		{"{arch}", "{arch}", true}, {`a\*`, `a\b`, true}, {`[\]`, `\`, true}, {"plain", "plain", true}, {"plain", "Plain", false}, {"plain", "plain2", false},
		{" *.tmp ", "x.tmp", true}, {"#*#", "#x#", true}, {"a\nb", "a\nb", true}, {"a*b", "a\nb", true},
	} {
		var e Exclude
		e.Add(tt.pattern)
		if got := e.Match(tt.name); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestExcludeNothing(t *testing.T) {
	var e Exclude
	e.Add("", "  ")
	e.AddLines("\n\n")
	if e.Match("") || e.Match("a") || (*Exclude)(nil).Match("a") {
		t.Error("nothing excludes something")
	}
}

func TestExcludeLines(t *testing.T) {
	var e Exclude
	e.AddLines("\ufeff*.o\r\n\n  core  \n*~")
	for _, name := range []string{"x.o", "core", "x~"} {
		if !e.Match(name) {
			t.Errorf("%q is not excluded", name)
		}
	}
	e.Add(VCS...)
	for _, name := range []string{".git", "{arch}", "=update", "_darcs", "CVS"} {
		if !e.Match(name) {
			t.Errorf("%q is not excluded", name)
		}
	}
	if len(VCS) != 18 {
		t.Errorf("%d names of version control", len(VCS))
	}
}

// A pattern full of stars takes no time to speak of.
func TestExcludeManyStars(t *testing.T) {
	var e Exclude
	e.Add(strings.Repeat("*a", 100) + "b")
	if e.Match(strings.Repeat("a", 10_000)) {
		t.Error("matches")
	}
}
