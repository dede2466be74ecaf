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
}

// path is a parsed request path. num counts only for resShare and below.
type path struct {
	res resource
	si  storage.Index
	num storage.ShareNum
}

// parsePath reads the path part of a URL, strictly. The mutable resources join
// here.
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
	p := path{si: si}
	switch {
	case parts[0] == "lease" && len(parts) == 2:
		p.res = resLease
		return p, true
	case parts[0] != "immutable":
		return path{}, false
	case len(parts) == 2:
		p.res = resIndex
		return p, true
	case len(parts) == 3 && parts[2] == "shares":
		p.res = resShares
		return p, true
	}
	if p.num, ok = parseShareNum(parts[2]); !ok {
		return path{}, false
	}
	switch {
	case len(parts) == 3:
		p.res = resShare
	case len(parts) == 4 && parts[3] == "abort":
		p.res = resAbort
	case len(parts) == 4 && parts[3] == "corrupt":
		p.res = resCorrupt
	default:
		return path{}, false
	}
	return p, true
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
	}
	s := fmt.Sprintf("%simmutable/%s/%d", pathPrefix, p.si, p.num)
	switch p.res {
	case resAbort:
		s += "/abort"
	case resCorrupt:
		s += "/corrupt"
	}
	return s
}
