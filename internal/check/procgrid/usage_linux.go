package procgrid

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dieWithParent keeps a killed test from leaving nodes behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}

// Memory returns the process's resident memory now and at its peak, in bytes.
func (p *Process) Memory() (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = kb << 10
		case "VmHWM:":
			peak = kb << 10
		}
	}
	return now, peak, nil
}

// ticks is USER_HZ, which Linux has fixed for what it shows.
const ticks = 100

// CPU returns the processor time that the process has used.
func (p *Process) CPU() (time.Duration, error) { return CPUOf(p.PID()) }

// CPUOf returns the processor time that a process of this machine has used.
func CPUOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name before may hold anything
	if len(f) < 13 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(f))
	}
	user, _ := strconv.ParseInt(string(f[11]), 10, 64)
	sys, _ := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+sys) * time.Second / ticks, nil
}
