package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/network/lockdown"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/pidfile"
)

// tors is the key of the map of running tors, by name.
type tors struct{}

func scriptTor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: tor NAME [PORT]")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	at := func(name string) []netx.Addr {
		os.Remove(filepath.Join(dir, name))
		return []netx.Addr{{Kind: netx.Unix, Host: filepath.Join(dir, name)}}
	}
	socks := at("socks")
	for _, port := range args[1:] {
		n, err := strconv.Atoi(port)
		ts.Check(err)
		socks = append(socks, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: n})
	}
	m, err := torcontrolmock.Start(torcontrolmock.Config{
		Host: netx.Loopback{}, Control: at("control"), SOCKS: socks, UploadTime: time.Millisecond,
		Methods: []string{"SAFECOOKIE"}, CookieFile: filepath.Join(dir, "cookie"),
	})
	ts.Check(err)
	running := ts.Value(tors{}).(map[string]*torcontrolmock.Tor)
	running[args[0]] = m
	ts.Defer(m.Stop)
}

func tor(ts *testscript.TestScript, name string) *torcontrolmock.Tor {
	m := ts.Value(tors{}).(map[string]*torcontrolmock.Tor)[name]
	if m == nil {
		ts.Fatalf("there is no tor %s", name)
	}
	return m
}

func scriptTorDies(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tor-dies NAME")
	}
	tor(ts, args[0]).Stop()
}

func scriptTorWasAsked(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: tor-was-asked NAME TEXT")
	}
	var asked []string
	for _, s := range tor(ts, args[0]).Streams() {
		asked = append(asked, fmt.Sprintf("%s %s:%d", s.User, s.Host, s.Port))
	}
	if found := strings.Contains(strings.Join(asked, "\n"), args[1]); found == neg {
		ts.Fatalf("tor was asked for:\n%s", strings.Join(asked, "\n"))
	}
}

// scriptBecomes asks ten times a second: a status is asked for, not told.
func scriptBecomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: becomes TEXT COMMAND...")
	}
	deadline := time.Now().Add(patience)
	for {
		cmd := exec.Command(args[1], args[2:]...)
		if args[1] == "tahoe" {
			cmd.Path = filepath.Join(firstDir(ts.Getenv("PATH")), "tahoe")
			cmd.Err = nil
		}
		cmd.Dir = ts.Getenv("WORK")
		cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "GORACE=" + ts.Getenv("GORACE")}
		out, _ := cmd.CombinedOutput()
		if strings.Contains(string(out), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it does not become %q:\n%s", args[0], out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// killNodes ends the nodes that run in folders below dir.
func killNodes(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*", pidfile.Name))
	for _, f := range files {
		pid, running, err := pidfile.Running(filepath.Dir(f))
		if err != nil || !running || !pidfile.Sure(filepath.Dir(f), pid) {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
	}
}

// canLockDown tries it, in a process of its own.
var canLockDown = sync.OnceValue(func() bool {
	exe, err := exec.LookPath("lockdown-trial")
	return err == nil && exec.Command(exe).Run() == nil
})

func lockDownTrial() {
	if _, err := lockdown.Apply(lockdown.UnixOnly()); err != nil {
		os.Exit(1)
	}
}
