//go:build !linux && !darwin && !freebsd && !windows

package diskstore

import "errors"

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

func diskFull(error) bool { return false }
