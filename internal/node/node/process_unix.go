//go:build unix

package node

import (
	"errors"
	"syscall"
)

// alive reports whether a process has this id, ours or not.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
