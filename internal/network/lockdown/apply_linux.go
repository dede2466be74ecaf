//go:build amd64 || arm64

package lockdown

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// one is held during an Apply.
var one sync.Mutex

func apply(l Level) (Report, error) {
	one.Lock()
	defer one.Unlock()
	abi, err := kernel()
	if err != nil {
		return Report{}, err
	}
	f := facts{abstract: abi >= abiScopes, root: os.Geteuid() == 0, before: openSockets()}

	// Landlock's rules are about sockets that the filter will not let us make,
	// so the ones to prove them with are made now.
	trial := newTrial()
	defer trial.close()
	if err := restrictTCP(l, abi); err != nil {
		return Report{}, fmt.Errorf("locking down TCP: %w", err)
	}
	if err := installFilter(program(l)); err != nil {
		return Report{}, fmt.Errorf("locking down sockets: %w", err)
	}
	if err := trial.prove(l); err != nil {
		return Report{}, err
	}
	return report(l, f), nil
}

// kernel returns the version of Landlock's interface, or says what is missing.
func kernel() (abi int, err error) {
	abi, errno := landlockABI()
	if missing := missing(abi, errno, hasSeccomp()); len(missing) > 0 {
		return 0, &MissingError{missing}
	}
	return abi, nil
}

func missing(abi int, landlock unix.Errno, seccomp bool) []string {
	var m []string
	switch {
	case landlock == unix.EOPNOTSUPP:
		m = append(m, "Landlock is switched off (add landlock to lsm= on the kernel's command line)")
	case landlock != 0:
		m = append(m, "it has no Landlock (Linux 6.7 or newer, built with CONFIG_SECURITY_LANDLOCK)")
	case abi < abiTCP:
		m = append(m, fmt.Sprintf("its Landlock has no rules for TCP (version %d; Linux 6.7 has %d)", abi, abiTCP))
	}
	if !seccomp {
		m = append(m, "it has no seccomp filters (CONFIG_SECCOMP_FILTER)")
	}
	return m
}
