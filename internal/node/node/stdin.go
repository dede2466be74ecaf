package node

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/term"
)

// stopOnEOF calls stop when r, if it is a pipe or a terminal, reaches its
// end. /dev/null and regular files, which service managers give, reach theirs
// at once and mean nothing. The goroutine that reads cannot be called back: it
// ends with the process, or when the other end of the pipe goes.
func stopOnEOF(r io.Reader, stop func()) {
	if !endMeansStop(r) {
		return
	}
	go func() {
		// A read error other than the end is no wish to stop: a background
		// process that reads from its terminal gets EIO.
		if _, err := io.Copy(io.Discard, r); err == nil || errors.Is(err, io.ErrClosedPipe) {
			stop()
		}
	}()
}

func endMeansStop(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return r != nil // a pipe in memory
	}
	info, err := f.Stat()
	if err != nil {
		return false // closed
	}
	return info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 || term.IsTerminal(int(f.Fd()))
}
