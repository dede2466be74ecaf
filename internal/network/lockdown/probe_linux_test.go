//go:build amd64 || arm64

package lockdown

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noContext is for calls that want one and end by themselves.
var noContext = context.Background()

// What a probe is expected to find: without a lock-down, with unix sockets
// only, with an IPv4 port of tor's, with an IPv4 and an IPv6 one.
type outlook [4]string

const (
	o = "open"
	x = "refused"
)

// probes are the ways out, and the ways that must stay.
var probes = []struct {
	name       string
	try        func(*scene) error
	want       outlook
	lockedOnly bool // it would send something off the machine
}{
	// New sockets.
	{"TCP to another port", func(s *scene) error { return connect(s.Elsewhere4) }, outlook{o, x, x, x}, false},
	{"IPv6 TCP to another port", func(s *scene) error { return connect(s.Elsewhere6) }, outlook{o, x, x, x}, false},
	{"TCP to tor's port", func(s *scene) error { return connect(s.Tor4) }, outlook{o, x, o, o}, false},
	{"TCP to tor's port at another address", func(s *scene) error { return connect(s.TorOther) }, outlook{o, x, o, o}, false}, // Landlock knows no addresses
	{"IPv6 TCP to tor's port", func(s *scene) error { return connect(s.Tor6) }, outlook{o, x, x, o}, false},
	{"TCP in IPv6 clothes to another port", func(s *scene) error { return connect(mapped(s.Elsewhere4)) }, outlook{o, x, x, x}, false},
	{"TCP bind", func(*scene) error { return bindTCP(unix.AF_INET) }, outlook{o, x, x, x}, false},
	{"IPv6 TCP bind", func(*scene) error { return bindTCP(unix.AF_INET6) }, outlook{o, x, x, x}, false},
	{"listen without bind", func(*scene) error {
		return with(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error { return unix.Listen(fd, 1) })
	}, outlook{o, x, x, x}, false},
	{"UDP", func(s *scene) error {
		return with(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error { return unix.Sendto(fd, []byte("x"), 0, sockaddr(s.UDP)) })
	}, outlook{o, x, x, x}, false},
	{"IPv6 UDP", func(*scene) error { return makeSocket(unix.AF_INET6, unix.SOCK_DGRAM) }, outlook{o, x, x, x}, false},
	{"ping", func(*scene) error {
		return with(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, func(int) error { return nil })
	}, outlook{o, x, x, x}, false},
	{"raw", func(*scene) error {
		return with(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP, func(int) error { return nil })
	}, outlook{o, x, x, x}, false},
	{"packet", func(*scene) error { return makeSocket(unix.AF_PACKET, unix.SOCK_RAW) }, outlook{o, x, x, x}, false},
	{"netlink", func(*scene) error { return makeSocket(unix.AF_NETLINK, unix.SOCK_RAW) }, outlook{o, x, x, x}, false},
	{"vsock", func(*scene) error { return makeSocket(unix.AF_VSOCK, unix.SOCK_STREAM) }, outlook{o, x, x, x}, false},
	{"multipath TCP to another port", func(s *scene) error {
		return with(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, func(fd int) error { return unix.Connect(fd, sockaddr(s.Elsewhere4)) })
	}, outlook{o, x, x, x}, false},
	{"fast open by sendto", func(s *scene) error {
		return with(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
			return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, sockaddr(s.Elsewhere4))
		})
	}, outlook{o, x, x, x}, false},
	{"fast open by sendmsg", func(s *scene) error {
		return with(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
			return unix.Sendmsg(fd, []byte("x"), nil, sockaddr(s.Elsewhere4), unix.MSG_FASTOPEN)
		})
	}, outlook{o, x, x, x}, false},
	{"fast open by connect", func(s *scene) error {
		return with(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
				return err
			}
			if err := unix.Connect(fd, sockaddr(s.Elsewhere4)); err != nil {
				return err
			}
			_, err := unix.Write(fd, []byte("x"))
			return err
		})
	}, outlook{o, x, x, x}, false},
	{"pair of another family", func(*scene) error {
		_, err := unix.Socketpair(unix.AF_TIPC, unix.SOCK_STREAM, 0)
		return past(err, unix.EAFNOSUPPORT)
	}, outlook{o, x, x, x}, false},

	// As Go programs do it.
	{"net.Dial", func(s *scene) error { return dial("tcp", s.Elsewhere4.String()) }, outlook{o, x, x, x}, false},
	{"net.Dial, UDP", func(s *scene) error { return dial("udp", s.UDP.String()) }, outlook{o, x, x, x}, false},
	{"net.Listen", func(*scene) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			l.Close()
		}
		return err
	}, outlook{o, x, x, x}, false},
	{"name lookup", func(*scene) error {
		_, err := net.DefaultResolver.LookupHost(noContext, "lockdown.invalid")
		if err != nil && strings.Contains(err.Error(), "permission denied") { // the resolver's errors are text
			return unix.EACCES
		}
		return err
	}, outlook{"", x, x, x}, true},
	{"interfaces", func(*scene) error { _, err := net.Interfaces(); return err }, outlook{o, x, x, x}, false},

	// What came in, or was there before.
	{"accepted, then to another port", func(s *scene) error { return turn(s.accepted[0], s.Elsewhere4) }, outlook{o, x, x, x}, false},
	{"accepted, then to tor's port", func(s *scene) error { return turn(s.accepted[1], s.Tor4) }, outlook{o, x, o, o}, false},
	{"accepted, then bound", func(s *scene) error {
		if err := disconnect(s.accepted[2]); err != nil {
			return err
		}
		return past(unix.Bind(s.accepted[2], &unix.SockaddrInet4{}), unix.EINVAL) // past Landlock it has a port already
	}, outlook{o, x, x, x}, false},
	{"accepted, then listening", func(s *scene) error {
		if err := disconnect(s.accepted[3]); err != nil {
			return err
		}
		return unix.Listen(s.accepted[3], 1)
	}, outlook{o, x, x, x}, false},
	{"accepted, then fast open", func(s *scene) error {
		if err := disconnect(s.accepted[4]); err != nil {
			return err
		}
		return unix.Sendto(s.accepted[4], []byte("x"), unix.MSG_FASTOPEN, sockaddr(s.Elsewhere4))
	}, outlook{o, x, x, x}, false},
	{"accepted multipath TCP, then to another port", func(s *scene) error {
		if s.multipath < 0 {
			return unix.EPROTONOSUPPORT
		}
		return turn(s.multipath, s.Elsewhere4)
	}, outlook{o, o, o, o}, false}, // hence the sentence in the report
	{"TCP socket made before", func(s *scene) error { return unix.Connect(s.tcp, sockaddr(s.Elsewhere4)) }, outlook{o, x, x, x}, false},
	{"UDP socket made before", func(s *scene) error { return unix.Sendto(s.udp, []byte("x"), 0, sockaddr(s.UDP)) }, outlook{o, o, o, o}, false}, // the same

	// Around the filter.
	{"io_uring", func(*scene) error {
		var params [120]byte
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		if errno == 0 {
			unix.Close(int(fd))
		}
		return code(errno)
	}, outlook{o, x, x, x}, false},
	{"another's sockets", func(*scene) error { return raw(unix.SYS_PIDFD_GETFD, ^uintptr(0), 0, 0, unix.EBADF) }, outlook{o, x, x, x}, false},
	{"ptrace", func(*scene) error { return raw(unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, 1<<30, 0, unix.ESRCH) }, outlook{o, x, x, x}, false},
	{"another's memory", func(*scene) error { return raw(unix.SYS_PROCESS_VM_WRITEV, 1<<30, 0, 0, unix.ESRCH) }, outlook{o, x, x, x}, false},
	{"setns", func(*scene) error { return raw(unix.SYS_SETNS, ^uintptr(0), 0, 0, unix.EBADF) }, outlook{o, x, x, x}, false},
	{"unshare", func(*scene) error { return raw(unix.SYS_UNSHARE, 0, 0, 0, 0) }, outlook{o, x, x, x}, false},
	{"clone into a namespace", func(*scene) error { // with a flag that makes it fail once it is past the filter
		return raw(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_FS, 0, 0, unix.EINVAL)
	}, outlook{o, x, x, x}, false},
	{"clone3", func(*scene) error { return raw(unix.SYS_CLONE3, 0, 0, 0, unix.EINVAL) }, outlook{o, "absent", "absent", "absent"}, false},
	{"kernel's name lookups", func(*scene) error { return raw(unix.SYS_REQUEST_KEY, 0, 0, 0, unix.EFAULT) }, outlook{o, x, x, x}, false},
	{"a program it starts", (*scene).inheritor, outlook{o, x, x, x}, false},
	{"a new socket, in any thread", func(s *scene) error {
		return s.everyThread(func() error { return makeSocket(unix.AF_INET6, unix.SOCK_DGRAM) })
	}, outlook{o, x, x, x}, false},
	{"an old socket, in any thread", func(s *scene) error {
		return s.everyThread(func() error { return bindPort(s.tcp) })
	}, outlook{o, x, x, x}, false},

	// What must stay.
	{"accept at a port opened before", (*scene).served, outlook{o, o, o, o}, false},
	{"unix socket", func(s *scene) error { return dial("unix", s.Socket) }, outlook{o, o, o, o}, false},
	{"unix socket of its own, opened before", func(s *scene) error {
		c, err := net.Dial("unix", s.unix.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		in, err := s.unix.Accept()
		if err == nil {
			in.Close()
		}
		return err
	}, outlook{o, o, o, o}, false},
	{"abstract unix socket", func(s *scene) error { return dial("unix", s.Abstract) }, outlook{o, x, x, x}, false}, // from Linux 6.12
	{"new unix listener", func(s *scene) error {
		l, err := net.Listen("unix", filepath.Join(s.Dir, "late"))
		if err == nil {
			l.Close()
		}
		return err
	}, outlook{o, x, x, x}, false}, // the price of "listen without bind"
	{"a program that its launcher runs again", func(s *scene) error { return s.launcher() }, outlook{o, o, o, o}, false},
	{"unix pair", func(*scene) error {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.Close(fds[0])
			unix.Close(fds[1])
		}
		return err
	}, outlook{o, o, o, o}, false},
	{"moving a file between folders", func(s *scene) error { return moveAndLink(s.Dir) }, outlook{o, o, o, o}, false},
	{"signal to a process started before", func(s *scene) error { return s.elder.Process.Signal(unix.SIGTERM) }, outlook{o, o, o, o}, false},
}

// lacking are the probes that need what not every machine or user has.
var lacking = []string{"ping", "raw", "packet", "vsock", "io_uring", "kernel's name lookups", "multipath TCP to another port",
	"accepted multipath TCP, then to another port", "IPv6 TCP to another port", "IPv6 TCP to tor's port", "IPv6 TCP bind", "IPv6 UDP",
	"TCP in IPv6 clothes to another port", "fast open by sendto", "fast open by sendmsg", "fast open by connect", "accepted, then fast open"}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func mapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

// with makes a socket and closes it after do.
func with(family, kind, protocol int, do func(fd int) error) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

func connect(to netip.AddrPort) error {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	return with(family, unix.SOCK_STREAM, 0, func(fd int) error { return unix.Connect(fd, sockaddr(to)) })
}

func bindTCP(family int) error {
	return with(family, unix.SOCK_STREAM, 0, func(fd int) error {
		if family == unix.AF_INET6 {
			return unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()})
		}
		return bindPort(fd)
	})
}

// bindPort binds a TCP socket; that it is bound or connected already comes
// after the question whether it may be.
func bindPort(fd int) error {
	return past(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.EINVAL)
}

func dial(network, addr string) error {
	c, err := net.Dial(network, addr)
	if err == nil {
		c.Close()
	}
	return err
}

// disconnect takes a connection off its peer, as connect(2) does for AF_UNSPEC.
func disconnect(fd int) error {
	var unspec unix.RawSockaddr
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	return code(errno)
}

// turn has a connection that came in lead elsewhere.
func turn(fd int, to netip.AddrPort) error {
	if err := disconnect(fd); err != nil {
		return err
	}
	return unix.Connect(fd, sockaddr(to))
}

func moveAndLink(dir string) error {
	from, to := filepath.Join(dir, "incoming"), filepath.Join(dir, "shares")
	err := errors.Join(os.Mkdir(from, 0o700), os.Mkdir(to, 0o700), os.WriteFile(filepath.Join(from, "a"), nil, 0o600))
	if err != nil {
		return err
	}
	return errors.Join(os.Rename(filepath.Join(from, "a"), filepath.Join(to, "a")), os.Link(filepath.Join(to, "a"), filepath.Join(from, "b")))
}

// raw makes a call that cannot succeed: its error, that comes after the filter
// has let it through, is as good as success.
func raw(call, a, b, c uintptr, after unix.Errno) error {
	_, _, errno := unix.Syscall6(call, a, b, c, 0, 0, 0)
	return past(code(errno), after)
}

func code(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// past takes an error that comes after the permission was given for success.
func past(err error, after unix.Errno) error {
	if errors.Is(err, after) {
		return nil
	}
	return err
}
