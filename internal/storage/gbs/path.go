package gbs

import (
	"fmt"
	"strconv"
	"strings"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/storage"
)

const pathPrefix = "/storage/v1/"

// resource is what a path names.
type resource int

const (
	resVersion resource = iota
	resLease
	resIndex   // immutable/SI
	resShares  // immutable/SI/shares
	resShare   // immutable/SI/NUM
	resAbort   // immutable/SI/NUM/abort
	resCorrupt // immutable/SI/NUM/corrupt

	resSlot        // mutable/SI/read-test-write
	resSlotShares  // mutable/SI/shares
	resSlotShare   // mutable/SI/NUM
	resSlotCorrupt // mutable/SI/NUM/corrupt
)

// methods lists what each resource answers to, as for the Allow header.
var methods = map[resource]string{
	resVersion: "GET",
	resLease:   "PUT",
	resIndex:   "POST",
	resShares:  "GET",
	resShare:   "GET, PATCH",
	resAbort:   "PUT",
	resCorrupt: "POST",

	resSlot:        "POST",
	resSlotShares:  "GET",
	resSlotShare:   "GET",
	resSlotCorrupt: "POST",
}

// path is a parsed request path. num counts only where a share is named.
type path struct {
	res resource
	si  storage.Index
	num storage.ShareNum
}

// parsePath reads the path part of a URL, strictly.
func parsePath(s string) (path, bool) {
	s, ok := strings.CutPrefix(s, pathPrefix)
	if !ok || len(s) > 64 {
		return path{}, false
	}
	parts := strings.Split(s, "/")
	if len(parts) == 1 {
		return path{res: resVersion}, parts[0] == "version"
	}
	si, err := ids.ParseIndex(parts[1])
	if err != nil {
		return path{}, false
	}
	switch kind, rest := parts[0], parts[2:]; {
	case kind == "lease" && len(rest) == 0:
		return path{res: resLease, si: si}, true
	case kind == "immutable" && len(rest) == 0:
		return path{res: resIndex, si: si}, true
	case kind == "immutable" && rest[0] == "shares" && len(rest) == 1:
		return path{res: resShares, si: si}, true
	case kind == "immutable":
		return parseSharePath(si, rest, map[string]resource{"": resShare, "abort": resAbort, "corrupt": resCorrupt})
	case kind != "mutable" || len(rest) == 0:
		return path{}, false
	case rest[0] == "read-test-write" && len(rest) == 1:
		return path{res: resSlot, si: si}, true
	case rest[0] == "shares" && len(rest) == 1:
		return path{res: resSlotShares, si: si}, true
	default:
		return parseSharePath(si, rest, map[string]resource{"": resSlotShare, "corrupt": resSlotCorrupt})
	}
}

// parseSharePath reads NUM, and what may follow it: one of verbs.
func parseSharePath(si storage.Index, rest []string, verbs map[string]resource) (path, bool) {
	num, ok := parseShareNum(rest[0])
	verb := ""
	if len(rest) > 1 {
		if verb = rest[1]; verb == "" || len(rest) > 2 {
			return path{}, false
		}
	}
	res, known := verbs[verb]
	if !ok || !known {
		return path{}, false
	}
	return path{res: res, si: si, num: num}, true
}

// parseShareNum reads a number in its shortest decimal form.
func parseShareNum(s string) (storage.ShareNum, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return storage.ShareNum(n), true
}

// String is the inverse of parsePath.
func (p path) String() string {
	switch p.res {
	case resVersion:
		return pathPrefix + "version"
	case resLease:
		return pathPrefix + "lease/" + p.si.String()
	case resIndex:
		return pathPrefix + "immutable/" + p.si.String()
	case resShares:
		return pathPrefix + "immutable/" + p.si.String() + "/shares"
	case resSlot:
		return pathPrefix + "mutable/" + p.si.String() + "/read-test-write"
	case resSlotShares:
		return pathPrefix + "mutable/" + p.si.String() + "/shares"
	}
	kind := "immutable"
	if p.res == resSlotShare || p.res == resSlotCorrupt {
		kind = "mutable"
	}
	s := fmt.Sprintf("%s%s/%s/%d", pathPrefix, kind, p.si, p.num)
	switch p.res {
	case resAbort:
		s += "/abort"
	case resCorrupt, resSlotCorrupt:
		s += "/corrupt"
	}
	return s
}
