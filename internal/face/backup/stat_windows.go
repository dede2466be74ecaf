package backup

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// stat turns what the system said of path into a Stat. As in the reference,
// Ctime is when the file was made.
func stat(_ string, info fs.FileInfo) (Stat, error) {
	s := Stat{Size: info.Size(), Mtime: info.ModTime(), Ctime: info.ModTime(), Mode: 0o100000 | uint32(info.Mode().Perm())}
	if info.IsDir() {
		s.Mode = 0o040000 | uint32(info.Mode().Perm())
	}
	if d, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		s.Ctime = time.Unix(0, d.CreationTime.Nanoseconds())
	}
	return s, nil
}

// statFile is the Stat of an open file.
func statFile(f *os.File) (Stat, error) {
	info, err := f.Stat()
	if err != nil {
		return Stat{}, err
	}
	return stat(f.Name(), info)
}

// open opens a file for reading.
func open(path string) (*os.File, error) { return os.Open(path) }

// databasePath is a path as the database has it: in the long form, as the
// reference writes it.
func databasePath(path string) string {
	switch {
	case strings.HasPrefix(path, `\\?\`):
		return path
	case strings.HasPrefix(path, `\\`):
		return `\\?\UNC\` + path[2:]
	}
	return `\\?\` + path
}
