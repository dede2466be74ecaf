//go:build unix

package tor

import (
	"fmt"
	"os"
	"syscall"
)

// owns reports whether tor, which runs as user uid, is shown to own the folder
// dir as we see it, and so to be able to make folders in it.
func owns(uid, pid int, dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o700 != 0o700 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != uid {
		return false
	}
	// Service managers show a system tor other folders than us, most of them
	// read-only: only where both see the same does the owner mean anything.
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return uid == os.Getuid() // no such thing here
	}
	tors, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil { // a tor of our own user, which hides from debuggers
		return uid == os.Getuid()
	}
	return ours == tors
}
