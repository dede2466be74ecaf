//go:build amd64 || arm64

package lockdown

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var (
	four = netip.MustParseAddrPort("127.0.0.1:9050")
	six  = netip.MustParseAddrPort("[::1]:9051")
)

// The filter itself, run by a machine of its own: what this kernel or this
// architecture cannot try is tried here.
func TestFilter(t *testing.T) {
	const (
		ok     = uint32(unix.SECCOMP_RET_ALLOW)
		no     = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EACCES)
		nosys  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
		killed = uint32(unix.SECCOMP_RET_KILL_PROCESS)
		stream = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	)
	type call struct {
		name string
		arch uint32
		nr   uint32
		args [6]uint64
		want [4]uint32 // unix only; IPv4 port; IPv6 port; both
	}
	all := func(v uint32) [4]uint32 { return [4]uint32{v, v, v, v} }
	calls := []call{
		{"read", auditArch, unix.SYS_READ, [6]uint64{}, all(ok)},
		{"connect", auditArch, unix.SYS_CONNECT, [6]uint64{}, all(ok)},
		{"accept4", auditArch, unix.SYS_ACCEPT4, [6]uint64{}, all(ok)},
		{"another architecture", unix.AUDIT_ARCH_I386, unix.SYS_READ, [6]uint64{}, all(killed)},
		{"socket of another architecture", unix.AUDIT_ARCH_ARM, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX}, all(killed)},

		{"unix stream", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, stream}, all(ok)},
		{"unix, high half set", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX | 1<<40, stream}, all(ok)}, // the kernel reads an int
		{"TCP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, stream}, [4]uint32{no, ok, no, ok}},
		{"TCP by number", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, stream, unix.IPPROTO_TCP}, [4]uint32{no, ok, no, ok}},
		{"TCP, high half set", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET | 1<<40, stream}, [4]uint32{no, ok, no, ok}},
		{"IPv6 TCP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, stream}, [4]uint32{no, no, ok, ok}},
		{"MPTCP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, stream, unix.IPPROTO_MPTCP}, all(no)},
		{"IPv6 MPTCP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, stream, unix.IPPROTO_MPTCP}, all(no)},
		{"SCTP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, stream, unix.IPPROTO_SCTP}, all(no)},
		{"UDP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM}, all(no)},
		{"IPv6 UDP", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM}, all(no)},
		{"raw", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP}, all(no)},
		{"packet", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET, unix.SOCK_RAW}, all(no)},
		{"netlink", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW}, all(no)},
		{"vsock", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, stream}, all(no)},
		{"bluetooth", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_BLUETOOTH, stream}, all(no)},
		{"kernel crypto", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, all(no)},
		{"unix pair", auditArch, unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX, stream}, all(ok)},
		{"TIPC pair", auditArch, unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_TIPC, stream}, all(no)},

		{"sendto", auditArch, unix.SYS_SENDTO, [6]uint64{3: unix.MSG_NOSIGNAL}, all(ok)},
		{"fast open, sendto", auditArch, unix.SYS_SENDTO, [6]uint64{3: unix.MSG_FASTOPEN | unix.MSG_NOSIGNAL}, all(no)},
		{"sendmsg", auditArch, unix.SYS_SENDMSG, [6]uint64{2: unix.MSG_NOSIGNAL}, all(ok)},
		{"fast open, sendmsg", auditArch, unix.SYS_SENDMSG, [6]uint64{2: unix.MSG_FASTOPEN}, all(no)},
		{"sendmmsg", auditArch, unix.SYS_SENDMMSG, [6]uint64{2: unix.MSG_FASTOPEN}, all(ok)}, // here that is a count
		{"fast open, sendmmsg", auditArch, unix.SYS_SENDMMSG, [6]uint64{3: unix.MSG_FASTOPEN}, all(no)},

		{"a thread", auditArch, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM}, all(ok)},
		{"a process", auditArch, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD) | unix.CLONE_VFORK | unix.CLONE_VM | unix.CLONE_PIDFD}, all(ok)},
		{"a process in another network", auditArch, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD) | unix.CLONE_NEWNET}, all(no)},
		{"a user namespace", auditArch, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD) | unix.CLONE_NEWUSER}, all(no)},
		{"clone3", auditArch, unix.SYS_CLONE3, [6]uint64{}, all(nosys)},
	}
	for _, nr := range refused {
		calls = append(calls, call{"a refused call", auditArch, nr, [6]uint64{}, all(no)})
	}
	if runtime.GOARCH == "amd64" {
		calls = append(calls,
			call{"x32 socket", auditArch, unix.SYS_SOCKET | x32, [6]uint64{unix.AF_UNIX, stream}, all(nosys)},
			call{"x32 read", auditArch, unix.SYS_READ | x32, [6]uint64{}, all(nosys)})
	}
	for i, l := range []Level{UnixOnly(), TorPorts(four), TorPorts(six), TorPorts(four, six)} {
		vm, err := bpf.NewVM(program(l))
		if err != nil {
			t.Fatalf("%v: %v", l, err)
		}
		for _, c := range calls {
			got, err := vm.Run(seccompData(c.nr, c.arch, c.args))
			if err != nil || uint32(got) != c.want[i] {
				t.Errorf("%v: %s (call %d): %#x, %v; want %#x", l, c.name, c.nr, got, err, c.want[i])
			}
		}
	}
}

// seccompData is what the kernel shows a filter. The machine that runs it here
// reads words big end first.
func seccompData(nr, arch uint32, args [6]uint64) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, nr)
	binary.BigEndian.PutUint32(b[4:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(b[20+8*i:], uint32(a>>32))
	}
	return b
}
