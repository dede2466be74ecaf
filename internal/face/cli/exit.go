package cli

import (
	"errors"
	"fmt"
	"strings"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

// Exit codes. They are part of the interface: see docs/operating.md.
const (
	exitOK       = 0
	exitFailed   = 1 // the command could not do it, or was called wrongly
	exitProblems = 2 // bad configuration; for ls and status: not found, not reachable
	exitPolicy   = 3 // refused because it would leave the anonymous network

	exitInterrupted = 130 // as shells have it for Ctrl-C
)

// exitError carries an exit code and what to tell the user. An empty Msg
// prints nothing: the command has spoken already.
type exitError struct {
	Code int
	Msg  string
	Hint string // what to do about it
}

func (e *exitError) Error() string { return e.Msg }

// fail builds an error with the usual exit code and a hint.
func fail(hint, format string, args ...any) error {
	return &exitError{Code: exitFailed, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// runError gives the errors of a node their exit codes and cures.
func (a *app) runError(dir string, err error) error {
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return &exitError{Code: exitProblems, Msg: problemText(dir, problems)}
	}
	if refused, ok := errors.AsType[*netx.PolicyError](err); ok {
		return &exitError{Code: exitPolicy, Msg: refused.Error()}
	}
	if errors.Is(err, config.ErrNoNode) {
		return fail("make one with `tahoe create-node` or `tahoe create-client`", "%s is not a node directory", dir)
	}
	return err
}

// problemText lists every problem of a configuration, each with its place and
// its remedy on a line of its own.
func problemText(dir string, problems config.Problems) string {
	var b strings.Builder
	what := "1 problem"
	if len(problems) > 1 {
		what = fmt.Sprintf("%d problems", len(problems))
	}
	fmt.Fprintf(&b, "%s in the configuration of %s; the node does not start", what, dir)
	for _, p := range problems {
		place := p.File
		if p.Line > 0 {
			place += fmt.Sprintf(":%d", p.Line)
		}
		fmt.Fprintf(&b, "\n  %s", place)
		if p.Key != "" {
			fmt.Fprintf(&b, "  %s", p.Key)
		}
		fmt.Fprintf(&b, "\n      %s", p.Why)
		if p.Remedy != "" {
			fmt.Fprintf(&b, "\n      → %s", p.Remedy)
		}
	}
	return b.String()
}
