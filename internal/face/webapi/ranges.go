package webapi

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// parseRange reads a Range header for a file of size bytes. ok is false when
// the header is to be ignored: malformed, backwards, another unit, or
// starting past the end without an end of its own. Of several ranges the
// first is meant. A first byte past the end is an error (416).
//
// All this is how the Python gateway reads it, and RFC 9110 allows it.
func parseRange(header string, size int64) (off, n int64, ok bool, err error) {
	set, found := strings.CutPrefix(header, "bytes=")
	if !found {
		return 0, 0, false, nil
	}
	var first, last int64
	for i, spec := range strings.Split(set, ",") {
		a, b, ok := parseSpan(strings.TrimSpace(spec), size)
		if !ok {
			return 0, 0, false, nil
		}
		if i == 0 {
			first, last = a, b
		}
	}
	if first >= size {
		e := errorf(http.StatusRequestedRangeNotSatisfiable, "First beyond end of file: the file has %d bytes.", size)
		e.contentRange = fmt.Sprintf("bytes */%d", size)
		return 0, 0, false, e
	}
	first, last = max(first, 0), min(last, size-1)
	return first, last - first + 1, true, nil
}

// parseSpan reads 5-9, 5- or -5 into the first and the last byte.
func parseSpan(spec string, size int64) (first, last int64, ok bool) {
	from, to, dash := strings.Cut(spec, "-")
	if !dash {
		return 0, 0, false
	}
	if from == "" {
		n, ok := parseOffset(to)
		return size - n, size - 1, ok && n > 0 && size > 0
	}
	first, ok = parseOffset(from)
	last = size - 1
	if ok && to != "" {
		last, ok = parseOffset(to)
	}
	return first, last, ok && first <= last
}

// parseOffset reads digits. A number too large for a file is the largest.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}
