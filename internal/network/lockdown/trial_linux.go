//go:build amd64 || arm64

package lockdown

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// trial holds what Apply tries its own work with.
type trial struct {
	tcp int // a TCP socket made before; -1 where there are none
}

func newTrial() *trial {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil { // locked down before, or a machine without IPv4
		fd = -1
	}
	return &trial{fd}
}

func (t *trial) close() {
	if t.tcp >= 0 {
		unix.Close(t.tcp)
	}
}

// prove tries what must be refused, with addresses of this machine only, and
// what must not.
func (t *trial) prove(l Level) error {
	v4, _ := l.families()
	nowhere := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}} // port 0
	for _, try := range []struct {
		what  string
		do    func() error
		allow bool
	}{
		{"make a UDP socket", func() error { return makeSocket(unix.AF_INET, unix.SOCK_DGRAM) }, false},
		{"make an IPv6 UDP socket", func() error { return makeSocket(unix.AF_INET6, unix.SOCK_DGRAM) }, false},
		{"make a TCP socket", func() error { return makeSocket(unix.AF_INET, unix.SOCK_STREAM) }, v4},
		{"make a unix socket", func() error { return makeSocket(unix.AF_UNIX, unix.SOCK_STREAM) }, true},
		{"connect by TCP", func() error { return t.withTCP(unix.Connect, nowhere) }, false},
		{"bind a TCP port", func() error { return t.withTCP(unix.Bind, nowhere) }, false},
	} {
		err := try.do()
		switch {
		case try.allow && err != nil && !errors.Is(err, unix.EAFNOSUPPORT):
			return fmt.Errorf("the lock-down goes too far: the process cannot %s any more: %w", try.what, err)
		case !try.allow && !errors.Is(err, unix.EACCES):
			return fmt.Errorf("the kernel took the rules of the lock-down and does not hold to them: the process can still %s (%v)", try.what, err)
		}
	}
	return nil
}

func makeSocket(family, kind int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func (t *trial) withTCP(do func(int, unix.Sockaddr) error, a unix.Sockaddr) error {
	if t.tcp < 0 { // nor can there be another
		return unix.EACCES
	}
	return do(t.tcp, a)
}
