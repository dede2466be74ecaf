package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tahoe-go/internal/node/config"
)

// maxEntry bounds what is read of a server entry.
const maxEntry = 1 << 20

func (a *app) addServerCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "add-server FILE|-",
		Short: "make a storage server known to this node",
		Long: "Stores the entry that a storage server wrote (private/server-entry.yaml in its node directory)\n" +
			"in this node's private/servers.yaml. An entry for the same server is replaced.",
		Example: "  tahoe add-server ann.yaml\n  ssh ann cat .tahoe/private/server-entry.yaml | tahoe add-server -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.nodeDir("", "")
			if err != nil {
				return err
			}
			return a.addServer(dir, args[0])
		},
	}
}

func (a *app) addServer(dir, name string) error {
	if _, err := config.KindOf(dir); err != nil {
		return a.runError(dir, config.ErrNoNode)
	}
	var r io.Reader = a.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fail("", "%v", err)
		}
		defer file.Close()
		r = file
	}
	entry, err := io.ReadAll(io.LimitReader(r, maxEntry))
	if err != nil {
		return fail("", "reading the entry: %v", err)
	}
	servers, err := config.AddServers(dir, entry)
	if err != nil {
		return fail("it should be the file private/server-entry.yaml of a storage node, whole", "no server was added: %v", err)
	}
	for _, s := range servers {
		fmt.Fprintf(a.Stdout, "added %s (%s)\n", firstOf(s.Nickname, "a server without nickname"), s.ID)
	}
	fmt.Fprintln(a.Stdout, "The node uses it from its next start.")
	return nil
}
