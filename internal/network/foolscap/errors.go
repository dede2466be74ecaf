package foolscap

import (
	"errors"
	"fmt"
)

// Errors to branch on.
var (
	// ErrClosed is for what was done with a Tub or connection that this side
	// has closed.
	ErrClosed = errors.New("foolscap: closed")
	// ErrLost wraps why a connection ended, for the calls that were waiting
	// and all later ones.
	ErrLost = errors.New("connection lost")
	// ErrNoHints is for a Tub that is not connected to this one and gives no
	// place to connect to.
	ErrNoHints = errors.New("this peer has no address that can be used; it can only connect to us")
)

// RemoteError is an error that crossed the wire. Received ones are what the
// peer's method raised, without the traceback, which may hold anything: Type
// and Value are the peer's words. A handler returns one to be understood by the
// peer; of any other error the peer learns nothing.
type RemoteError struct {
	Type    string   // Python's dotted class name; at most 200 bytes are sent
	Value   string   // the message; at most 1000 bytes are sent
	Parents []string // the classes that Type derives from, with Type; empty: Type and Exception
}

// Error quotes the peer.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("%.200s: %.300q", printable(e.Type), e.Value)
}

// Is reports whether the error is of this class or derives from it, as
// Python's except would.
func (e *RemoteError) Is(target error) bool {
	t, ok := target.(*RemoteError)
	if !ok || t.Value != "" {
		return false
	}
	for _, p := range e.Parents {
		if p == t.Type {
			return true
		}
	}
	return e.Type == t.Type
}

// printable replaces what does not belong into a class name.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c <= ' ' || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// Types of errors that Foolscap itself sends.
const (
	typeViolation = "foolscap.tokens.Violation"
	typeKeyError  = "builtins.KeyError"
	typeException = "builtins.Exception"
)

// NegotiationError is a connection that did not come to be.
type NegotiationError struct {
	Why    string
	Remote bool // the peer said so
}

// Error says who refused and why.
func (e *NegotiationError) Error() string {
	if e.Remote {
		return fmt.Sprintf("the peer refused: %.200q", e.Why)
	}
	return "negotiation: " + e.Why
}

func refuse(format string, args ...any) error {
	return &NegotiationError{Why: fmt.Sprintf(format, args...)}
}

const duplicateWhy = "Duplicate connection"

// isDuplicate reports whether the peer refused because it has a connection
// already.
func isDuplicate(err error) bool {
	e, ok := errors.AsType[*NegotiationError](err)
	return ok && e.Remote && e.Why == duplicateWhy
}

func lost(why error) error { return fmt.Errorf("%w: %w", ErrLost, why) }
