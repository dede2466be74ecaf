package webapi

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// logAccess notes a request. Whatever could be a cap is left out: of the path
// only the first word, if it is one of ours; of the arguments only the values
// that are words of this API. The client's address is nobody's business.
func (h *Handler) logAccess(q *request, took time.Duration) {
	h.c.Log.Debug("request", "method", clean(q.r.Method), "url", censor(q.r.URL), "status", q.status, "bytes", q.sent, "elapsed", took)
}

const censored = "[CENSORED]"

var (
	plainPaths = []string{"", "uri", "cap", "file", "named", "status", "statistics", "operations", "static"}
	plainArgs  = []string{"t", "format", "mutable", "save", "output", "replace", "verify", "repair", "add-lease", "redirect_to_result", "retain-for",
		"release-after-complete", "offset"}
	knownArgs = append([]string{"uri", "filename", "when_done", "private-key", "name", "operation", "from_name", "to_name", "to_dir", "ophandle", "find", "after"}, plainArgs...)
)

// censor writes a URL for the log.
func censor(u *url.URL) string {
	first, rest, deep := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	s := "/" + first
	if !slices.Contains(plainPaths, first) {
		s = "/" + censored
	}
	if deep {
		s += "/"
		if rest != "" {
			s += censored
		}
	}
	var args []string
	query := u.Query()
	for _, name := range knownArgs {
		for _, v := range query[name] {
			if !slices.Contains(plainArgs, name) || len(v) > 20 || strings.ContainsFunc(v, notWord) {
				v = censored
			}
			args = append(args, name+"="+v)
		}
		delete(query, name)
	}
	if len(query) > 0 {
		args = append(args, censored)
	}
	if len(args) > 0 {
		s += "?" + strings.Join(args, "&")
	}
	return s
}

func notWord(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
}
