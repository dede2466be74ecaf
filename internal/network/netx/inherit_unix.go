//go:build unix

package netx

import (
	"os"
	"strconv"
	"syscall"
)

// inheritFile is an open descriptor, from now on this process's alone.
func inheritFile(fd int) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "LISTEN_FD "+strconv.Itoa(fd))
}
