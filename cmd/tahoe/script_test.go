package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/network/netx"
)

// The scripts in testdata are documentation that is run: each shows how a
// part of the command line is used, with real processes on loopback.
//
//	port NAME            set $NAME to a free TCP port
//	start DIR [TEXT]     run the node in DIR; wait until it says that it runs, and then TEXT
//	says DIR TEXT        wait until the node's output has TEXT
//	term DIR             SIGTERM, and wait: the exit code must be 0
//	eof DIR              close its standard input, and wait: the exit code must be 0
//	running DIR          fail if it has ended
//	tor NAME [PORT]      run a tor with the unix sockets NAME/control and NAME/socks, and SOCKS at a port
//	                     too; it reaches its own onion services, and every other address is an echo
//	tor-dies NAME        end it
//	tor-was-asked NAME TEXT    fail unless a host of a SOCKS request, or its user, has TEXT in it
//	! tor-was-asked NAME TEXT  fail if one has
//	becomes TEXT COMMAND...    run a command again and again until its output has TEXT
//
// The program activate does what systemd does for a socket unit: it opens the
// sockets that are named, and becomes the program behind them.
//
//	exec activate [NAME=]ENDPOINT... -- tahoe run DIR &
//
// Nodes that a script leaves running in the background are killed. The
// condition [lockdown] holds where the kernel can lock a process down.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"port": scriptPort, "start": scriptStart, "says": scriptSays, "term": scriptTerm, "eof": scriptEOF, "running": scriptRunning,
			"tor": scriptTor, "tor-dies": scriptTorDies, "tor-was-asked": scriptTorWasAsked, "becomes": scriptBecomes,
		},
		Condition: func(name string) (bool, error) {
			if name != "lockdown" {
				return false, fmt.Errorf("there is no condition %s", name)
			}
			return canLockDown(), nil
		},
		Setup: func(e *testscript.Env) error {
			e.Values[nodes{}] = map[string]*process{}
			e.Values[tors{}] = map[string]*torcontrolmock.Tor{}
			e.Defer(func() { killNodes(e.WorkDir) })
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each process takes a second more
			return nil
		},
	})
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tahoe": func() { os.Exit(run()) }, "lockdown-trial": lockDownTrial, "activate": activate})
}

// nodes is the key of the map of running nodes, by directory.
type nodes struct{}

// process is a `tahoe run`. Its standard input is a pipe.
type process struct {
	cmd    *exec.Cmd
	stdin  interface{ Close() error }
	output *output
	ended  chan struct{}
	err    error // of Wait; read after ended
}

// patience is for a machine under load.
const patience = time.Minute

func scriptPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := netx.Loopback{}.Listen(context.Background(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	ts.Check(err)
	defer l.Close()
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: start DIR [TEXT]")
	}
	p := &process{output: newOutput(), ended: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(firstDir(ts.Getenv("PATH")), "tahoe"), "run", args[0])
	p.cmd.Dir = ts.Getenv("WORK")
	p.cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"), "GORACE=" + ts.Getenv("GORACE")}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	stdin, err := p.cmd.StdinPipe()
	ts.Check(err)
	p.stdin = stdin
	ts.Check(p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	ts.Value(nodes{}).(map[string]*process)[args[0]] = p
	ts.Defer(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	p.says(ts, " running\n") // "client running" or "introducer running"
	for _, text := range args[1:] {
		p.says(ts, text)
	}
}

// firstDir is where testscript puts the program.
func firstDir(path string) string {
	dir, _, _ := strings.Cut(path, string(os.PathListSeparator))
	return dir
}

func started(ts *testscript.TestScript, dir string) *process {
	p := ts.Value(nodes{}).(map[string]*process)[dir]
	if p == nil {
		ts.Fatalf("no node was started in %s", dir)
	}
	return p
}

func scriptSays(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says DIR TEXT")
	}
	started(ts, args[0]).says(ts, args[1])
}

func scriptTerm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: term DIR")
	}
	p := started(ts, args[0])
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	p.mustEnd(ts)
}

func scriptEOF(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: eof DIR")
	}
	p := started(ts, args[0])
	ts.Check(p.stdin.Close())
	p.mustEnd(ts)
}

func scriptRunning(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: running DIR")
	}
	p := started(ts, args[0])
	select {
	case <-p.ended:
		ts.Fatalf("the node in %s has ended:\n%s", args[0], p.output)
	default:
	}
}

func (p *process) mustEnd(ts *testscript.TestScript) {
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("the node does not end:\n%s", p.output)
	}
	if p.err != nil {
		ts.Fatalf("the node ended with %v:\n%s", p.err, p.output)
	}
}

func (p *process) says(ts *testscript.TestScript, text string) {
	late := time.After(patience)
	for {
		found, changed := p.output.has(text)
		if found {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			if found, _ := p.output.has(text); !found {
				ts.Fatalf("the node ended without saying %q:\n%s", text, p.output)
			}
			return
		case <-late:
			ts.Fatalf("the node does not say %q:\n%s", text, p.output)
		}
	}
}

// output is what a process prints.
type output struct {
	mu      sync.Mutex // guards below
	text    bytes.Buffer
	changed chan struct{} // closed at the next Write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) has(s string) (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.text.String(), s), o.changed
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
