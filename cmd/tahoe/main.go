// Command tahoe is the whole program: client, storage node and command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"tahoe-go/internal/face/cli"
	"tahoe-go/internal/network/lockdown"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/node"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	debug.SetGCPercent(50)       // a node's memory is segments in flight: a third less at the peak, no time lost
	return cli.Main(ctx, cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		RunNode: func(ctx context.Context, dir string, o cli.RunOptions) error {
			return node.Run(ctx, dir, node.Options{
				Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, AllowStdinClose: o.AllowStdinClose,
				LogLevel: o.LogLevel, Home: o.Home, Env: o.Env, Started: o.Started, Launcher: o.Launcher,
				LockDown: lockdown.Apply, Sockets: netx.Inherit(o.Env, os.Getpid()),
			})
		},
	})
}
