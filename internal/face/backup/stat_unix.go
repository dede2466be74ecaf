//go:build unix

package backup

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stat turns what the system said of path into a Stat.
func stat(path string, info fs.FileInfo) (Stat, error) {
	var st unix.Stat_t
	var err error
	if info.Mode().IsRegular() {
		err = unix.Lstat(path, &st)
	} else {
		err = unix.Stat(path, &st) // the root may be a link
	}
	if err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fromStat(&st), nil
}

// statFile is the Stat of an open file.
func statFile(f *os.File) (Stat, error) {
	var st unix.Stat_t
	conn, err := f.SyscallConn()
	if err != nil {
		return Stat{}, err
	}
	if e := conn.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); e != nil || err != nil {
		return Stat{}, fmt.Errorf("fstat: %w", cmp.Or(e, err))
	}
	return fromStat(&st), nil
}

func fromStat(st *unix.Stat_t) Stat {
	return Stat{
		Size:  st.Size,
		Mtime: time.Unix(st.Mtim.Unix()), Ctime: time.Unix(st.Ctim.Unix()),
		Mode: uint32(st.Mode), Ino: st.Ino, Dev: uint64(st.Dev), UID: st.Uid, GID: st.Gid,
	}
}

// open opens a file for reading; a pipe or link that has taken its place
// neither blocks nor is followed.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
}

// databasePath is a path as the database has it.
func databasePath(path string) string { return path }
