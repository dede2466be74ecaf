package pidfile

import (
	"errors"

	"golang.org/x/sys/windows"
)

// look knows whether the process is there and when it started.
func look(pid int) process {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return process{alive: errors.Is(err, windows.ERROR_ACCESS_DENIED)}
	}
	defer windows.CloseHandle(h)
	const stillActive = 259
	var code uint32
	if err := windows.GetExitCodeProcess(h, &code); err == nil && code != stillActive {
		return process{}
	}
	p := process{alive: true}
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err == nil {
		p.start = float64(created.Nanoseconds()) / 1e9
	}
	return p
}
