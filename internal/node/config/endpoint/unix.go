package endpoint

import (
	"fmt"
	"io/fs"
	"strconv"
)

// Unix is a unix socket to listen on. Mode is 0 where the text does not say:
// Twisted then takes 0666, we 0600.
type Unix struct {
	Path string
	Mode fs.FileMode
}

var unixListen = kind{"unix", "unix:PATH", []string{"address", "mode", "backlog", "lockfile"}, func(f *fields) Value {
	u := Unix{Path: f.need("address")}
	if f.has("mode") {
		n, err := strconv.ParseUint(f.opt("mode"), 8, 9)
		if err != nil || n == 0 {
			f.fail(f.args["mode"].pos, "mode must be octal, as 660, not %q", f.opt("mode"))
		}
		u.Mode = fs.FileMode(n)
	}
	f.number("backlog", 1, 65535, 0)
	f.flag("lockfile", true)
	return u
}}

func (u Unix) String() string {
	mode := ""
	if u.Mode != 0 {
		mode = fmt.Sprintf("%o", u.Mode)
	}
	return text("unix", "", u.Path, "mode", mode)
}

// DialUnix is a unix socket to connect to.
type DialUnix struct{ Path string }

var unixDial = kind{"unix", "unix:PATH", []string{"path", "timeout", "lockfile", "checkPID"}, func(f *fields) Value {
	f.number("timeout", 0, 86400, 0)
	return DialUnix{f.need("path")}
}}

func (d DialUnix) String() string { return text("unix", "", d.Path) }
