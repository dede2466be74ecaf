package cli

import (
	"os"

	"github.com/spf13/cobra"
)

func (a *app) runCmd() *cobra.Command {
	var basedir, level string
	var allowClose bool
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
			err = a.RunNode(cmd.Context(), dir, RunOptions{
				Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr,
				AllowStdinClose: allowClose, LogLevel: level, Home: home, Env: a.Getenv,
			})
			return a.runError(dir, err)
		},
	}
	c.Flags().StringVarP(&basedir, "basedir", "C", "", "the node in `DIR`")
	c.Flags().BoolVar(&allowClose, "allow-stdin-close", false, "keep running when standard input closes")
	c.Flags().StringVar(&level, "log-level", "info", "`LEVEL` of the log on standard error: debug, info, warn or error")
	complete(c, "log-level", "debug", "info", "warn", "error")
	return c
}
