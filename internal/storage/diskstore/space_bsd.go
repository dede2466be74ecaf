//go:build darwin || freebsd

package diskstore

import "golang.org/x/sys/unix"

// freeSpace returns the bytes that this user may still write. FreeBSD counts
// below zero when only root's share is left.
func freeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return max(0, int64(st.Bavail)) * int64(st.Bsize), nil
}

func diskFull(error) bool { return false }
