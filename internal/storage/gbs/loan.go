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
	p    []byte
	mu   sync.RWMutex // guards below; held while p is read
	over bool
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
	loan *loan
	at   int
}

// Read copies the next bytes out of the loan.
func (r *loanReader) Read(p []byte) (int, error) {
	r.loan.mu.RLock()
	defer r.loan.mu.RUnlock()
	if r.loan.over {
		return 0, errLoanOver
	}
	if r.at == len(r.loan.p) {
		return 0, io.EOF
	}
	n := copy(p, r.loan.p[r.at:])
	r.at += n
	return n, nil
}

// Close does nothing.
func (r *loanReader) Close() error { return nil }
