//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tahoe-go/internal/network/netx"
)

// activate is a service manager that starts one program.
func activate() {
	if err := becomeActivated(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "activate:", err)
		os.Exit(1)
	}
}

func becomeActivated(args []string) error {
	end := slices.Index(args, "--")
	if end < 0 || end+1 >= len(args) {
		return fmt.Errorf("usage: activate [NAME=]ENDPOINT... -- PROGRAM...")
	}
	network, err := netx.New(netx.Policy{TCP: netx.Direct}, netx.Routes{})
	if err != nil {
		return err
	}
	var files []*os.File
	var names []string
	for _, arg := range args[:end] {
		name, at, named := strings.Cut(arg, "=")
		if !named {
			name, at = "unknown", arg
		}
		kind, host, _ := strings.Cut(at, ":")
		a := netx.Addr{Kind: netx.Kind(kind), Host: host}
		if a.Kind == netx.TCP {
			var port string
			if a.Host, port, err = net.SplitHostPort(host); err != nil {
				return err
			}
			if a.Port, err = strconv.Atoi(port); err != nil {
				return err
			}
		}
		l, err := network.Listen(context.Background(), a)
		if err != nil {
			return err
		}
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return err
		}
		files, names = append(files, f), append(names, name)
	}
	program, err := exec.LookPath(args[end+1])
	if err != nil {
		return err
	}
	// Well above, so that none is in the way of another.
	for i, f := range files {
		if err := unix.Dup2(int(f.Fd()), 100+i); err != nil {
			return err
		}
	}
	for i := range files {
		if err := unix.Dup2(100+i, 3+i); err != nil {
			return err
		}
		unix.Close(100 + i)
	}
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	os.Setenv("LISTEN_FDS", strconv.Itoa(len(files)))
	os.Setenv("LISTEN_FDNAMES", strings.Join(names, ":"))
	return syscall.Exec(program, args[end+1:], os.Environ())
}
