package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tahoe-go/internal/network/lockdown"
)

const launchName = "launch-for-node"

// launchCmd runs tor for a node that the kernel keeps from doing so. Only nodes
// call it, with a pipe as its standard input.
func (a *app) launchCmd() *cobra.Command {
	return &cobra.Command{
		Use:                launchName + " PROGRAM [ARGUMENT...]",
		Short:              "run a program, and again when it ends, until standard input does",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "there is no program to run")
			}
			l := lockdown.Launcher{Command: args, Orders: a.Stdin, Output: a.Stdout}
			if err := l.Run(cmd.Context()); err != nil {
				return fmt.Errorf("launching tor: %w", err)
			}
			return nil
		},
	}
}
