package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"tahoe-go/internal/kit/version"
)

// manCmd is for those who package the program.
func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "write the manual pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // it would hold the date
			root.Long += "\n\n" + exitCodes
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fail("", "%v", err)
			}
			if err := doc.GenManTree(root, &doc.GenManHeader{Title: "TAHOE", Section: "1", Source: version.Application, Manual: "Tahoe"}, args[0]); err != nil {
				return fmt.Errorf("writing manual pages: %w", err)
			}
			return nil
		},
	}
}

const exitCodes = `Exit codes: 0 done; 1 not done, or called wrongly; 2 a node's configuration has problems, or (status) the node does not answer, or (ls) there is nothing there; 3 refused because it would leave the anonymous network; 130 interrupted.`
