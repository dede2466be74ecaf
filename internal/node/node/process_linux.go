package node

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// processStart returns when a process started, in seconds since 1970, from
// proc(5). Its times are in ticks of 1/100 s on every Linux that Go runs on.
func processStart(pid int) (seconds float64, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The second field is the program's name in parentheses and may hold
	// anything; start time is the 22nd.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseFloat(fields[19], 64)
	if err != nil {
		return 0, false
	}
	boot, ok := bootTime()
	return boot + ticks/100, ok
}

func bootTime() (float64, bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "btime "); found {
			t, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return t, err == nil
		}
	}
	return 0, false
}
