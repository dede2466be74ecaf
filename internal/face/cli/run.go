package cli

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) runCmd() *cobra.Command {
	var basedir, level string
	var allowClose bool
	var reportTo uint
	c := &cobra.Command{
		Use:   "run [NODEDIR]",
		Short: "run a node in the foreground",
		Long: "Runs the node until it gets SIGINT or SIGTERM, or until standard input, if it is a pipe\n" +
			"or a terminal, reaches its end (--allow-stdin-close turns that off; /dev/null never counts).",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.nodeDir(basedir, operand(args))
			if err != nil {
				return err
			}
			home, _ := os.UserHomeDir() // without one, ~ in tahoe.cfg is a problem
			o := RunOptions{
				Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr,
				AllowStdinClose: allowClose, LogLevel: level, Home: home, Env: a.Getenv,
				Launcher: a.launcher(),
			}
			if reportTo > 0 {
				report(&o, os.NewFile(uintptr(reportTo), "report"))
			}
			return a.runError(dir, a.RunNode(cmd.Context(), dir, o))
		},
	}
	c.Flags().StringVarP(&basedir, "basedir", "C", "", "the node in `DIR`")
	c.Flags().BoolVar(&allowClose, "allow-stdin-close", false, "keep running when standard input closes")
	c.Flags().StringVar(&level, "log-level", "info", "`LEVEL` of the log on standard error: debug, info, warn or error")
	c.Flags().UintVar(&reportTo, "report-to", 0, "tell `tahoe start` by this descriptor how the start goes")
	c.Flags().MarkHidden("report-to")
	complete(c, "log-level", "debug", "info", "warn", "error")
	return c
}

// report has the node tell `tahoe start` what it tells people, until it has
// started. No program that the node starts may hold the descriptor: whoever
// reads it waits for its end.
func report(o *RunOptions, to *os.File) {
	closeOnExec(to)
	out := o.Stdout
	w := &reporter{Writer: io.MultiWriter(out, to)}
	o.Stdout = w
	o.Started = func() {
		fmt.Fprintln(to, started)
		w.Writer = out
		to.Close()
	}
}

// reporter is a writer that can be exchanged; by who writes to it.
type reporter struct{ io.Writer }

// launcher is the command that runs a launched tor for a node that is going to
// give up the network: see launchCmd.
func (a *app) launcher() []string {
	program, err := os.Executable()
	if err != nil || runtime.GOOS != "linux" {
		return nil // no lock-down there
	}
	return []string{program, launchName}
}
