//go:build unix

package cli

import (
	"os"
	"syscall"
)

// ownSession keeps a process from the terminal and its signals.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// terminate asks a process to end.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// closeOnExec keeps f from the programs that this one starts.
func closeOnExec(f *os.File) { syscall.CloseOnExec(int(f.Fd())) }
