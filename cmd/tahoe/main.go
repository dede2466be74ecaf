// Command tahoe is the whole program: client, storage node and command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tahoe-go/internal/face/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
	})
	stop()
	os.Exit(code)
}
