package gbs

import (
	"errors"
	"io"
	"sync"
)

var errLoanOver = errors.New("the request is over")

// loan lets a request read the caller's bytes until end is called: net/http
// may go on reading a body after the call has returned, when the caller has
// its buffer back.
type loan struct {
	p    [][]byte     // one after another
	mu   sync.RWMutex // guards below; held while p is read
	over bool
}

// size is how many bytes are lent.
func (l *loan) size() (n int64) {
	for _, p := range l.p {
		n += int64(len(p))
	}
	return n
}

// end returns once nobody reads p any more, nor will.
func (l *loan) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
}

// reader reads p from its beginning. Each try of a request has one.
func (l *loan) reader() io.ReadCloser { return &loanReader{loan: l} }

type loanReader struct {
	loan  *loan
	piece int
	at    int // in the piece
}

// Read copies the next bytes out of the loan.
func (r *loanReader) Read(p []byte) (int, error) {
	r.loan.mu.RLock()
	defer r.loan.mu.RUnlock()
	if r.loan.over {
		return 0, errLoanOver
	}
	n := 0
	for n < len(p) && r.piece < len(r.loan.p) {
		piece := r.loan.p[r.piece]
		m := copy(p[n:], piece[r.at:])
		n, r.at = n+m, r.at+m
		if r.at == len(piece) {
			r.piece, r.at = r.piece+1, 0
		}
	}
	if n == 0 && r.piece == len(r.loan.p) {
		return 0, io.EOF
	}
	return n, nil
}

// Close does nothing.
func (r *loanReader) Close() error { return nil }
