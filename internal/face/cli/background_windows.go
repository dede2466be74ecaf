package cli

import (
	"errors"
	"os"
	"syscall"
)

// The commands that would need these say that they are not supported.

func ownSession() *syscall.SysProcAttr { return nil }

func terminate(*os.Process) error { return errors.ErrUnsupported }

func closeOnExec(*os.File) {}
