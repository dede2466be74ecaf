//go:build unix

package pidfile

import (
	"errors"

	"golang.org/x/sys/unix"
)

func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}
