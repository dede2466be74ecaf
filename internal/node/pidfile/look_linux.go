package pidfile

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// look asks /proc. Start times are counted from boot in ticks of 1/100 s (the
// kernel's USER_HZ, the same everywhere), as psutil does it.
func look(pid int) process {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{alive: exists(pid)}
	}
	// "PID (NAME) STATE …": the name may hold anything, so count from its end.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, starttime = 0, 19
	if len(fields) <= starttime {
		return process{alive: true}
	}
	p := process{alive: fields[state] != "Z" && fields[state] != "X"}
	if ticks, err := strconv.ParseUint(fields[starttime], 10, 64); err == nil && bootTime() > 0 {
		p.start = bootTime() + float64(ticks)/100
	}
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		p.name = strings.ReplaceAll(string(name), "\x00", " ")
	}
	return p
}

func bootTime() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte("\nbtime "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, _ := strconv.ParseFloat(string(line), 64)
	return n
}
