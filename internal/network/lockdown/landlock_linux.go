//go:build amd64 || arm64

package lockdown

import (
	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Versions of Landlock's interface.
const (
	abiTCP    = 4 // Linux 6.7: where TCP may connect and bind
	abiScopes = 6 // Linux 6.12: abstract unix sockets
)

// landlockABI asks the kernel. ENOSYS: built without; EOPNOTSUPP: switched off.
func landlockABI() (int, unix.Errno) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return int(v), errno
}

// restrictTCP forbids TCP to bind at all, and to connect except to the level's
// ports. It asks for exactly what the kernel was found to have: best effort
// would succeed with nothing.
//
// Signals stay: a tor that was launched before must be told to stop. So do
// files: a rule for them would forbid moving shares between folders.
func restrictTCP(l Level, abi int) error {
	var scoped landlock.ScopedSet
	if abi >= abiScopes {
		scoped = llsys.ScopeAbstractUnixSocket
	}
	c, err := landlock.NewConfig(landlock.AccessNetSet(llsys.AccessNetBindTCP|llsys.AccessNetConnectTCP), scoped)
	if err != nil {
		return err
	}
	var rules []landlock.Rule
	for _, p := range l.ports() {
		rules = append(rules, landlock.ConnectTCP(p))
	}
	return c.Restrict(rules...)
}
