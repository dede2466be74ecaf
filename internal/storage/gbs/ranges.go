package gbs

import (
	"math"
	"strconv"
	"strings"

	"tahoe-go/internal/storage"
)

// maxEnd is the largest offset just past a byte that a range can name.
const maxEnd = math.MaxInt64

// parseRange reads a Range header of the one form the protocol has,
// "bytes=first-last".
func parseRange(v string) (storage.Span, bool) {
	unit, rest, ok := strings.Cut(v, "=")
	if !ok || !isBytes(unit) {
		return storage.Span{}, false
	}
	return parseFirstLast(rest)
}

// parseContentRange reads "bytes first-last/total"; total is -1 for "*".
func parseContentRange(v string) (s storage.Span, total int64, ok bool) {
	unit, rest, ok := strings.Cut(strings.Trim(v, " \t"), " ")
	if !ok || !isBytes(unit) {
		return s, 0, false
	}
	rest, tail, ok := strings.Cut(rest, "/")
	if !ok {
		return s, 0, false
	}
	if s, ok = parseFirstLast(rest); !ok {
		return s, 0, false
	}
	total = -1
	if tail = strings.Trim(tail, " \t"); tail != "*" {
		if total, ok = parseDecimal(tail); !ok || s.Off >= total {
			return s, 0, false
		}
	}
	return s, total, true
}

func formatRange(s storage.Span) string { return "bytes=" + firstLast(s) }

// formatContentRange leaves the total open, as the reference does.
func formatContentRange(s storage.Span) string { return "bytes " + firstLast(s) + "/*" }

// firstLast needs a span that is not empty: HTTP cannot express an empty one.
func firstLast(s storage.Span) string {
	return strconv.FormatInt(s.Off, 10) + "-" + strconv.FormatInt(s.End()-1, 10)
}

func isBytes(unit string) bool { return strings.EqualFold(strings.Trim(unit, " \t"), "bytes") }

func parseFirstLast(v string) (storage.Span, bool) {
	a, b, ok := strings.Cut(strings.Trim(v, " \t"), "-")
	if !ok {
		return storage.Span{}, false
	}
	first, ok1 := parseDecimal(strings.Trim(a, " \t"))
	last, ok2 := parseDecimal(strings.Trim(b, " \t"))
	if !ok1 || !ok2 || last < first || last == maxEnd {
		return storage.Span{}, false
	}
	return storage.Span{Off: first, Len: last - first + 1}, true
}

// parseDecimal takes digits only: no sign, no space.
func parseDecimal(v string) (int64, bool) {
	if v == "" || len(v) > 19 || strings.Trim(v, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}
