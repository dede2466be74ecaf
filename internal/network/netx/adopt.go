package netx

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// firstInherited is the descriptor of the first socket that a service manager
// hands over (sd_listen_fds(3)).
const firstInherited = 3

// maxInherited bounds what is believed of LISTEN_FDS.
const maxInherited = 256

// Inherited are the sockets that a service manager opened and handed to this
// process. The zero value has none. It may be used concurrently.
type Inherited struct {
	why string // there are none

	mu    sync.Mutex // guards below
	files []*os.File // nil: taken
	names []string   // FileDescriptorName of each; may be shorter
}

// Inherit takes over what the environment says was handed to the process pid,
// which must be this one: by LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES. Programs
// that this process starts do not get the sockets. Call it once.
func Inherit(getenv func(string) string, pid int) *Inherited {
	text := getenv("LISTEN_FDS")
	n, err := strconv.Atoi(text)
	switch {
	case text == "":
		return &Inherited{why: "no socket was handed over: the environment has no LISTEN_FDS; start the node by a systemd socket unit"}
	case err != nil || n < 0 || n > maxInherited:
		return &Inherited{why: fmt.Sprintf("no socket was handed over: LISTEN_FDS is %q, which is no number from 0 to %d", text, maxInherited)}
	case getenv("LISTEN_PID") != strconv.Itoa(pid):
		return &Inherited{why: "the sockets of LISTEN_FDS are for another process (LISTEN_PID); have systemd start tahoe run itself, without a program between"}
	}
	h := &Inherited{}
	if names := getenv("LISTEN_FDNAMES"); names != "" {
		h.names = strings.Split(names, ":")
	}
	for i := range n {
		h.files = append(h.files, inheritFile(firstInherited+i))
	}
	return h
}

// Take returns the socket with this FileDescriptorName, or with this index
// where name is "". Each is given once.
func (h *Inherited) Take(index int, name string) (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why != "" {
		return nil, errors.New(h.why)
	}
	if name != "" {
		if index = slices.Index(h.names, name); index < 0 {
			return nil, fmt.Errorf("no socket with the name %q was handed over (FileDescriptorName in the socket unit); there are %q", name, h.names)
		}
	}
	if index >= len(h.files) {
		return nil, fmt.Errorf("there is no socket %d: %d were handed over, and the first is 0", index, len(h.files))
	}
	f := h.files[index]
	if f == nil {
		return nil, fmt.Errorf("socket %d is in use already: each serves one purpose", index)
	}
	h.files[index] = nil
	return f, nil
}

// Adopt makes a listener of a socket that somebody else has opened and bound,
// the service manager for one. It takes f over, and closes it on an error too.
// Where n does not listen for others, the socket must be a unix one or bound to
// a loopback address; the error is a *PolicyError otherwise.
func Adopt(n Network, f *os.File) (net.Listener, error) {
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("taking over a socket: %w", err)
	}
	if err := mayAdopt(n, l.Addr()); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func mayAdopt(n Network, at net.Addr) error {
	if _, denied := n.(Denied); denied {
		return refuse(Addr{}, "this node has no network")
	}
	switch a := at.(type) {
	case *net.UnixAddr:
		return checkUnix(Addr{Kind: Unix, Host: a.Name})
	case *net.TCPAddr:
		switch n.(type) {
		case *torOut, *clearNet:
			return nil
		}
		if a.IP.IsLoopback() {
			return nil
		}
		return refuse(Addr{Kind: TCP, Host: a.IP.String(), Port: a.Port}, "this node hides its address, and others can reach the socket that was handed over; have it bound to 127.0.0.1 (ListenStream=127.0.0.1:PORT)")
	}
	return fmt.Errorf("taking over a socket of kind %T: it is neither TCP nor unix", at)
}
