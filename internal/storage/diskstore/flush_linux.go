package diskstore

import "golang.org/x/sys/unix"

// flush has the system begin to write what f holds at off.
func (f osFile) flush(off, n int64) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	c.Control(func(fd uintptr) { unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE) })
}
