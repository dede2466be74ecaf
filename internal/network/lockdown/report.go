package lockdown

import (
	"fmt"
	"strings"
)

// Report says in sentences for people what a lock-down holds and what it
// leaves open. The zero Report is that of a process that is not locked down.
type Report struct {
	Summary string   // one line; "" when not locked down
	Strict  bool     // nothing but unix sockets is left
	Holds   []string // what the kernel refuses from now on
	Open    []string // what it does not
}

// String is the whole report, a line for each sentence.
func (r Report) String() string {
	if r.Summary == "" {
		return "not locked down"
	}
	var b strings.Builder
	b.WriteString(r.Summary)
	for _, s := range r.Holds {
		b.WriteString("\n  holds: " + s)
	}
	for _, s := range r.Open {
		b.WriteString("\n  open:  " + s)
	}
	return b.String()
}

// facts are what a report depends on besides the level.
type facts struct {
	abstract bool    // abstract unix sockets are closed off
	root     bool    // the process has the rights of root
	before   sockets // what was open before
}

// sockets counts the network sockets that a process had before its lock-down.
type sockets struct {
	listeners []string // addresses, of TCP
	multipath int      // listeners of multipath TCP
	tcp       int      // connections
	other     int      // UDP, raw, netlink…
	unknown   bool     // they could not be listed
}

func report(l Level, f facts) Report {
	r := Report{Summary: "locked down by the kernel: " + l.String(), Strict: l.Strict()}
	hold := func(format string, args ...any) { r.Holds = append(r.Holds, fmt.Sprintf(format, args...)) }
	open := func(format string, args ...any) { r.Open = append(r.Open, fmt.Sprintf(format, args...)) }

	if l.Strict() {
		hold("no new socket but unix sockets: no TCP, no UDP, no name lookups, no raw packets")
		hold("a connection that came in cannot be turned round to lead elsewhere")
	} else {
		hold("no new socket but unix sockets and TCP: no UDP, no name lookups, no raw packets")
		hold("TCP leads to %s only, also for connections that came in", l.portsText())
		open("%s of any machine, not of this one alone: the kernel's rule knows ports, not addresses", l.portsText())
	}
	hold("it listens at nothing new, neither port nor unix socket")
	hold("programs that it starts are held by the same rules")

	if f.abstract {
		hold("no abstract unix sockets of other programs")
		open("other programs that listen at a unix socket and would connect or look up names when asked to (D-Bus, nscd, systemd-resolved), or hand it a socket of theirs")
	} else {
		open("other programs that listen at a unix socket, abstract ones too, and would connect or look up names when asked to (D-Bus, nscd, systemd-resolved), or hand it a socket of theirs")
	}
	open("files on network drives")
	if len(f.before.listeners) > 0 {
		open("whoever connects to %s is answered", strings.Join(f.before.listeners, ", "))
	}
	if n := f.before.multipath; n > 0 {
		open("%s of multipath TCP: what comes in there can be turned round to lead elsewhere", count(n, "listener"))
	}
	if n := f.before.tcp; n > 0 {
		open("%s that stood before", count(n, "TCP connection"))
	}
	if n := f.before.other; n > 0 {
		open("%s that was open before, of a kind that needs no connection", count(n, "network socket"))
	}
	if f.before.unknown {
		open("network sockets that were open before, if any: they cannot be listed here")
	}
	if f.root {
		open("what root may do besides: run the node as a user of its own")
	}
	return r
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
