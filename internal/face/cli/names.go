package cli

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// unprintable reports whether a name would steer a terminal, or mislead who
// reads it.
func unprintable(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError })
}

// quoteName makes a name of the grid fit to be shown: as it is, or in quotes
// with escapes if it has unprintable characters, spaces at its ends, or looks
// quoted already.
func quoteName(s string) string {
	if s == "" || unprintable(s) || s[0] == '"' || s != strings.TrimSpace(s) {
		return strconv.Quote(s)
	}
	return s
}

// harmless takes out of words for a terminal what would steer it, such as names
// in what the system says. Lines stay.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// quotePath does so with names one below the other.
func quotePath(names []string) string {
	if len(names) == 0 {
		return ""
	}
	for _, name := range names {
		if quoteName(name) != name {
			return strconv.Quote(strings.Join(names, "/"))
		}
	}
	return strings.Join(names, "/")
}

// pad fills s with spaces to a width in columns of a terminal, on the left if
// right is set.
func pad(s string, width int, right bool) string {
	n := width - uniseg.StringWidth(s)
	switch {
	case n <= 0:
		return s
	case right:
		return strings.Repeat(" ", n) + s
	}
	return s + strings.Repeat(" ", n)
}

// table prints rows with their columns under each other. right has the
// columns that stand at their right edge.
func table(rows [][]string, right ...int) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	onRight := make([]bool, len(widths)+1)
	for _, i := range right {
		if i < len(onRight) {
			onRight[i] = true
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteByte(' ')
			}
			line.WriteString(pad(cell, widths[i], onRight[i]))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}
