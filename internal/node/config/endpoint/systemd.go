package endpoint

import "fmt"

// Systemd is a socket that the service manager opened and handed over. Name
// is its FileDescriptorName; without it, Index counts from 0.
type Systemd struct {
	Domain string // INET, INET6 or UNIX
	Index  int
	Name   string
}

var systemdListen = kind{"systemd", "systemd:domain=INET:index=0", []string{"domain", "index", "", "name"}, func(f *fields) Value {
	s := Systemd{Domain: f.need("domain"), Index: f.number("index", 0, 1024, 0), Name: f.opt("name")}
	switch s.Domain {
	case "INET", "INET6", "UNIX":
	default:
		f.fail(f.args["domain"].pos, "domain must be INET, INET6 or UNIX, not %q", s.Domain)
	}
	if f.has("index") == f.has("name") {
		f.fail(f.kind.pos, "systemd: needs either index or name")
	}
	return s
}}

func (s Systemd) String() string {
	if s.Name != "" {
		return text("systemd", "domain", s.Domain, "name", s.Name)
	}
	return text("systemd", "domain", s.Domain, "index", fmt.Sprint(s.Index))
}
