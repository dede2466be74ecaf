package cli

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tahoe-go/internal/format/announce"
)

// adminCmd groups what those who run nodes seldom need.
func (a *app) adminCmd() *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "make signing keys", Args: cobra.NoArgs, RunE: a.needsCommand}
	c.AddCommand(&cobra.Command{
		Use:   "generate-keypair",
		Short: "make an Ed25519 key pair and print it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := announce.NewSigningKey(rand.Reader)
			if err != nil {
				return fail("", "%v", err)
			}
			return a.printKeys(key)
		},
	}, &cobra.Command{
		Use:     "derive-pubkey PRIVKEY|@FILE|-",
		Short:   "print the public key of a private one",
		Long:    "Prints both keys of a pair. The private key may be in a file, or come from standard input, where no other user of this\nmachine sees it.",
		Example: "  tahoe admin derive-pubkey @private/node.privkey",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text := args[0]
			if file, inFile := strings.CutPrefix(text, "@"); inFile || text == "-" {
				var err error
				if text, err = a.readCap(file); err != nil {
					return err
				}
			}
			key, err := announce.ParseSigningKey(text)
			if err != nil {
				return fail("it must look like priv-v0-…", "this is not a valid private key: %v", err)
			}
			return a.printKeys(key)
		},
	})
	return c
}

func (a *app) printKeys(key announce.SigningKey) error {
	_, err := fmt.Fprintf(a.Stdout, "private: %s\npublic: %s\n", key.Reveal(), key.Key().Public())
	return err
}

// needsCommand answers a group of commands by itself.
func (a *app) needsCommand(c *cobra.Command, _ []string) error {
	c.Help()
	return &exitError{Code: exitFailed}
}
