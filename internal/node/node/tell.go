package node

import (
	"fmt"
	"io"
	"sync"
)

// teller prints lines for the person who started the node.
type teller struct {
	mu sync.Mutex // guards below
	w  io.Writer
}

func newTeller(w io.Writer) *teller { return &teller{w: w} }

// line prints one line, in one write. That nobody listens is no reason to
// stop.
func (t *teller) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	io.WriteString(t.w, fmt.Sprintf(format, args...)+"\n")
}
