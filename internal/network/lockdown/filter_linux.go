//go:build amd64 || arm64

package lockdown

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets into struct seccomp_data, seccomp(2). Both architectures are little
// endian, so an argument's low half, all that the kernel reads of an int, comes
// first.
const (
	atCall = 0
	atArch = 4
	atArgs = 16
)

func arg(n uint32) bpf.LoadAbsolute { return bpf.LoadAbsolute{Off: atArgs + 8*n, Size: 4} }

// What the filter says to a call.
var (
	allow  = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	refuse = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)}
	absent = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	kill   = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}
)

// x32 marks the calls of amd64's second, 32-bit interface, which would go by
// other numbers.
const x32 = 0x40000000

// refused are calls by which a process gets at sockets without socket(2), or
// around this filter.
var refused = []uint32{
	unix.SYS_IO_URING_SETUP, // makes and connects sockets out of the filter's sight
	unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER,
	unix.SYS_LISTEN,      // opens a port without bind(2), which Landlock would see
	unix.SYS_PIDFD_GETFD, // takes another process's sockets
	unix.SYS_PTRACE,      // has another process do it
	unix.SYS_PROCESS_VM_WRITEV,
	unix.SYS_REQUEST_KEY, // has the kernel look names up (dns_resolver)
	unix.SYS_SETNS,
	unix.SYS_UNSHARE,
}

// namespaces are the flags of clone(2) that do as unshare(2).
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// program is the filter of a level.
func program(l Level) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: atArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		kill, // other numbers mean other calls
		bpf.LoadAbsolute{Off: atCall, Size: 4},
	}
	if runtime.GOARCH == "amd64" {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32, SkipFalse: 1}, absent)
	}
	// on adds what is done for one call. It must end in a return.
	on := func(call uint32, do ...bpf.Instruction) {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: uint8(len(do))})
		p = append(p, do...)
	}
	for _, call := range refused {
		on(call, refuse)
	}
	// The flags of clone3 are behind a pointer, where no filter sees them; who
	// is told that there is none calls clone.
	on(unix.SYS_CLONE3, absent)
	on(unix.SYS_CLONE, arg(0), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: namespaces, SkipFalse: 1}, refuse, allow)
	on(unix.SYS_SOCKETPAIR, arg(0), bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipFalse: 1}, allow, refuse)
	on(unix.SYS_SOCKET, socketRule(l)...)
	// MSG_FASTOPEN connects without connect(2), which Landlock would see.
	for _, send := range []struct{ call, flags uint32 }{{unix.SYS_SENDTO, 3}, {unix.SYS_SENDMSG, 2}, {unix.SYS_SENDMMSG, 3}} {
		on(send.call, arg(send.flags), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.MSG_FASTOPEN, SkipFalse: 1}, refuse, allow)
	}
	return append(p, allow)
}

// socketRule decides on socket(domain, type, protocol).
func socketRule(l Level) []bpf.Instruction {
	rule := []bpf.Instruction{arg(0), bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipFalse: 1}, allow}
	v4, v6 := l.families()
	plainTCP := []bpf.Instruction{
		arg(1),
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf}, // less SOCK_CLOEXEC and SOCK_NONBLOCK
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipTrue: 1},
		refuse,
		arg(2),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1}, // not multipath TCP, which Landlock does not see
		refuse,
		allow,
	}
	for _, f := range []struct {
		family uint32
		needed bool
	}{{unix.AF_INET, v4}, {unix.AF_INET6, v6}} {
		if f.needed {
			rule = append(rule, bpf.JumpIf{Cond: bpf.JumpEqual, Val: f.family, SkipFalse: uint8(len(plainTCP))})
			rule = append(rule, plainTCP...)
		}
	}
	return append(rule, refuse)
}

// hasSeccomp reports whether the kernel takes filters.
func hasSeccomp() bool {
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

// installFilter puts the filter on every thread at once (TSYNC), those of the
// Go runtime included; threads made later inherit it.
func installFilter(program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assembling the filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// The promise not to gain rights is this thread's until TSYNC spreads it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("installing the filter: %w", errno)
	}
	if thread != 0 {
		return errors.New("installing the filter: a thread has another one already")
	}
	return nil
}
