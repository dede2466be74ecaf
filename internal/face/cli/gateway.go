package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

// storeFlags are the options of every command that talks to a gateway.
type storeFlags struct {
	url    string
	json   bool
	dirCap string // see dirCap
}

// addStore adds the options of a command that takes paths on the grid.
func (f *storeFlags) addStore(c *cobra.Command) {
	f.add(c.Flags())
	c.Flags().StringVar(&f.dirCap, "dir-cap", "", "where paths without alias begin: a directory's `CAP`, or @FILE for a file with the cap (default: the alias tahoe)")
}

func (f *storeFlags) add(fs *pflag.FlagSet) {
	fs.StringVarP(&f.url, "node-url", "u", "", "`URL` of the node's web gateway (default: what node.url in the node directory says)")
	fs.BoolVar(&f.json, "json", false, "print one JSON object, for programs")
}

// gateway returns a client for the node's gateway. Close it.
func (a *app) gateway(f *storeFlags) (*webclient.Client, error) {
	url := f.url
	if url == "" {
		dir, err := a.nodeDir("", "")
		if err != nil {
			return nil, err
		}
		url, err = config.NodeURL(dir)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := config.KindOf(dir); err != nil {
				return nil, noNode(dir)
			}
			return nil, fail("set web.port in [node], and start the node with: tahoe run "+shellWord(dir), "the node in %s has no web gateway", dir)
		}
		if err != nil {
			return nil, err
		}
	}
	c, err := a.reachGateway(url)
	if err != nil {
		return nil, fail("", "%v", err)
	}
	return c, nil
}

// reachGateway returns a client for a gateway. One by https is known by the
// certificate that the node's configuration names.
func (a *app) reachGateway(url string) (*webclient.Client, error) {
	conf := webclient.Config{URL: url}
	if webclient.IsSecure(url) {
		dir, err := a.nodeDir("", "")
		if err != nil {
			return nil, err
		}
		home, _ := os.UserHomeDir()
		if conf.Cert, err = (config.Options{Home: home}).GatewayCert(dir); err != nil {
			return nil, fmt.Errorf("the certificate of the gateway %s is not known: %w", url, err)
		}
	}
	return webclient.New(conf)
}

func noNode(dir string) error {
	return fail("name the node's directory with -d DIR, or make a node with `tahoe create-client`", "%s is not a node directory", dir)
}

// hintStart is what to do about a gateway that does not answer; with -d the
// directory is added.
const hintStart = "is the node running? start it with: tahoe start, or in the foreground with: tahoe run"

// storeError explains what a gateway said, or that it said nothing. code is
// for a gateway that is not there.
func storeError(what string, err error, code int) error {
	if refused, ok := errors.AsType[*webclient.Error](err); ok {
		text := what + ": " + lowerFirst(refused.Sentence)
		for _, line := range refused.Details {
			text += "\n  " + line
		}
		return &exitError{Code: exitFailed, Msg: text}
	}
	if refused, ok := errors.AsType[*netx.PolicyError](err); ok {
		return &exitError{Code: exitFailed, Msg: refused.Error(), Hint: "commands talk to a node on this machine; one elsewhere can be had here with: ssh -L 3456:localhost:3456 HOST"}
	}
	if _, ok := errors.AsType[*webclient.UnreachableError](err); ok {
		return &exitError{Code: code, Msg: err.Error(), Hint: hintStart}
	}
	if errors.Is(err, context.Canceled) {
		return &exitError{Code: exitInterrupted, Msg: "interrupted"}
	}
	return &exitError{Code: exitFailed, Msg: what + ": " + err.Error()}
}

// lowerFirst makes a sentence fit behind a colon.
func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		s = strings.ToLower(s[:1]) + s[1:]
	}
	return strings.TrimSuffix(s, ".")
}

// isStatus reports whether a gateway answered with one of these.
func isStatus(err error, status ...int) bool {
	e, ok := errors.AsType[*webclient.Error](err)
	return ok && slices.Contains(status, e.Status)
}

// warnOfCap says once that a cap on the command line is seen by others.
func (a *app) warnOfCap() {
	if !a.warned {
		fmt.Fprintln(a.Stderr, "note: while this runs, other users of this machine can see the cap (ps); a file with the cap, written as @FILE, hides it")
	}
	a.warned = true
}
