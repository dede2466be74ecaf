//go:build unix && !linux

package pidfile

// look knows only whether the process is there.
func look(pid int) process { return process{alive: exists(pid)} }
