package cli

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/node/config"
)

// adminCmd groups what those who run nodes seldom need.
func (a *app) adminCmd() *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "make signing keys, add a grid manager's certificate", Args: cobra.NoArgs, RunE: a.needsCommand}
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
	}, a.addCertificateCmd())
	return c
}

func (a *app) addCertificateCmd() *cobra.Command {
	var name, file string
	c := &cobra.Command{
		Use:   "add-grid-manager-cert --name=NAME --filename=FILE|-",
		Short: "have this server announce a grid manager's certificate",
		Long: "Copies a certificate that a grid manager has given this storage server into the node directory as NAME.cert\n" +
			"and writes into tahoe.cfg that it is to be announced. The node does so from its next start.",
		Example: "  tahoe admin add-grid-manager-cert --name=ann --filename=bob.cert.0",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if name == "" || file == "" {
				return fail("", "--name and --filename are needed")
			}
			dir, err := a.nodeDir("", "")
			if err != nil {
				return err
			}
			if kind, err := config.KindOf(dir); err != nil || kind != config.ClientNode {
				return a.runError(dir, config.ErrNoNode)
			}
			return a.addCertificate(dir, name, file)
		},
	}
	c.Flags().StringVarP(&name, "name", "n", "", "what to call it")
	c.Flags().StringVarP(&file, "filename", "f", "", "the certificate; - for standard input")
	return c
}

func (a *app) addCertificate(dir, name, file string) error {
	r := a.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fail("", "%v", err)
		}
		defer f.Close()
		r = f
	}
	text, err := io.ReadAll(io.LimitReader(r, maxEntry))
	if err != nil {
		return fail("", "reading the certificate: %v", err)
	}
	says, count, err := config.AddCertificate(dir, name, text)
	if err != nil {
		return fail("", "no certificate was added: %v", err)
	}
	if !says.Expires.After(time.Now()) {
		fmt.Fprintf(a.Stderr, "warning: it expired at %s\n", says.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	}
	fmt.Fprintf(a.Stderr, "There are now %d certificates\n", count)
	return nil
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
