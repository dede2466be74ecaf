package node

import "os"

// alive reports whether a process has this id.
func alive(pid int) bool {
	p, err := os.FindProcess(pid) // opens it, so it must exist
	if err != nil {
		return false
	}
	p.Release()
	return true
}
