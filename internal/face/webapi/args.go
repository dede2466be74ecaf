package webapi

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/format/ssk"
)

// format is how an object is stored.
type format string

// The formats. mutableDefault is what a mutable file is when
// nothing was said.
const (
	chkFormat  format = "CHK"
	sdmfFormat format = "SDMF"
	mdmfFormat format = "MDMF"

	mutableDefault = sdmfFormat
)

func (f format) mutable() bool { return f != chkFormat }

// format reads format= and mutable=; fallback if neither says anything.
func (q *request) format(fallback format) (format, error) {
	text := q.arg("format")
	if text == "" {
		mutable, err := q.flag("mutable")
		if mutable {
			return mutableDefault, err
		}
		return fallback, err
	}
	switch f := format(strings.ToUpper(text)); f {
	case chkFormat, sdmfFormat, mdmfFormat:
		return f, nil
	}
	return "", errorf(http.StatusBadRequest, "The format %q is not known; there are CHK, SDMF and MDMF.", clean(text))
}

// mutableFormat reads format= where only mutable objects can be made; fallback
// if it says nothing.
func (q *request) mutableFormat(fallback format) (format, error) {
	f, err := q.format(fallback)
	if err == nil && !f.mutable() {
		err = errorf(http.StatusBadRequest, "format=CHK cannot be had here: a new directory is mutable, SDMF or MDMF. "+
			"t=mkdir-immutable makes immutable ones.")
	}
	return f, err
}

// replace reads replace=: whether a child that is there may be replaced.
func (q *request) replace() (dirtable.Replace, error) {
	text := q.arg("replace")
	if strings.EqualFold(text, "only-files") {
		return dirtable.OnlyFiles, nil
	}
	if text == "" {
		return dirtable.Always, nil
	}
	yes, err := q.flag("replace")
	if err != nil {
		return 0, errorf(http.StatusBadRequest, "The argument replace= must be true, false or only-files.")
	}
	if yes {
		return dirtable.Always, nil
	}
	return dirtable.Never, nil
}

// privateKey reads private-key=, the RSA key of a new mutable object: nil if
// none was given.
func (q *request) privateKey() (*ssk.PrivateKey, error) {
	text := q.arg("private-key")
	if text == "" {
		return nil, nil
	}
	text = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(strings.TrimSpace(text))
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		var key *ssk.PrivateKey
		if key, err = ssk.ParseDER(der); err == nil {
			return key, nil
		}
	}
	return nil, errorf(http.StatusBadRequest, "private-key= must be an RSA key of 2048 bits, PKCS#8 as DER, in URL-safe base64.")
}

// offset reads offset=, where a mutable file is to be changed. given is false
// if there is none.
func (q *request) offset() (off int64, given bool, err error) {
	text := q.arg("offset")
	if text == "" {
		return 0, false, nil
	}
	off, err = strconv.ParseInt(text, 10, 64)
	if err != nil || off < 0 {
		return 0, true, errorf(http.StatusBadRequest, "The argument offset= must be a number of bytes, 0 or more.")
	}
	return off, true, nil
}

// childName checks an argument that names a child. what is the argument.
func childName(what, name string) (string, error) {
	switch {
	case strings.TrimSpace(name) == "":
		return "", errorf(http.StatusBadRequest, "The argument %s= is needed: the name of a child.", what)
	case strings.Contains(name, "/"):
		return "", errorf(http.StatusBadRequest, "The argument %s= may not contain a slash.", what)
	case !utf8.ValidString(name):
		return "", errorf(http.StatusBadRequest, "The argument %s= is not UTF-8.", what)
	}
	return name, nil
}

// childPath checks the names below a cap in a URL. A slash at the end does
// not count.
func childPath(below []string) ([]string, error) {
	if n := len(below); n > 0 && below[n-1] == "" {
		below = below[:n-1]
	}
	for _, name := range below {
		if name == "" {
			return nil, errorf(http.StatusBadRequest, "The path has an empty child name, that is two slashes in a row.")
		}
		if !utf8.ValidString(name) {
			return nil, errorf(http.StatusBadRequest, "The path has a child name that is not UTF-8.")
		}
	}
	return below, nil
}
