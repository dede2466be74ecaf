//go:build !linux

package procgrid

import (
	"errors"
	"syscall"
	"time"
)

func dieWithParent() *syscall.SysProcAttr { return nil }

var errLinux = errors.New("only Linux shows this")

// Memory is shown on Linux only.
func (p *Process) Memory() (now, peak int64, err error) { return 0, 0, errLinux }

// CPU is shown on Linux only.
func (p *Process) CPU() (time.Duration, error) { return 0, errLinux }

// CPUOf is shown on Linux only.
func CPUOf(int) (time.Duration, error) { return 0, errLinux }
