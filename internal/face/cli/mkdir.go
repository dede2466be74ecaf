package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/kit/redact"
)

func (a *app) mkdirCmd() *cobra.Command {
	var f storeFlags
	var format, key string
	c := &cobra.Command{
		Use:   "mkdir [PATH]",
		Short: "make a directory and print its cap",
		Long: "Makes a directory at a path, with those that lead there, and prints its cap, which grants writing. One that is\n" +
			"there already is left as it is. Without PATH the directory is in no other: its cap is the only way to it.",
		Example: "  tahoe mkdir photos:2024/june",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkMutable(&format); err != nil {
				return err
			}
			if err := noEmpty(cmd, args); err != nil {
				return err
			}
			return a.mkdir(cmd.Context(), operand(args), format, key, &f)
		},
	}
	f.addStore(c)
	addFormat(c, &format)
	c.Flags().StringVar(&key, "private-key-path", "", "use the RSA key in `FILE` (PEM, 2048 bits), which determines the cap")
	a.completeRemote(c, &f)
	return c
}

func (a *app) mkdir(ctx context.Context, word, format, key string, f *storeFlags) error {
	private, err := readKey(key)
	if err != nil {
		return err
	}
	at := webclient.Place{}
	if word != "" {
		r, err := a.remote(f, word)
		if err != nil {
			return err
		}
		if len(r.Path) == 0 {
			return fail("write a path behind it; without any operand, mkdir makes a directory that is in no other", "%s is there already", firstOf(r.word, "the directory"))
		}
		at = r.Place
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	cap, err := gw.Mkdir(ctx, at, webclient.MkdirOptions{Format: format, PrivateKey: private})
	if err != nil {
		return storeError("the directory was not made", err, exitFailed)
	}
	if f.json {
		return a.printJSON(map[string]any{"cap": cap.Reveal()})
	}
	_, err = fmt.Fprintln(a.Stdout, cap.Reveal())
	return err
}

// addFormat adds the option for the format of a directory.
func addFormat(c *cobra.Command, format *string) {
	c.Flags().StringVar(format, "format", "", "`FORMAT` of the directory: SDMF, or MDMF for a very large one (default: as the node is configured)")
	complete(c, "format", "SDMF", "MDMF")
}

// checkMutable checks the format of something mutable.
func checkMutable(format *string) error {
	switch *format = strings.ToUpper(*format); *format {
	case "", "SDMF", "MDMF":
		return nil
	}
	return fail("", "--format is SDMF or MDMF here, not %q", *format)
}

// readKey reads an RSA key from a PEM file, into the form the gateway takes.
func readKey(name string) (redact.Secret, error) {
	if name == "" {
		return redact.Secret{}, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return redact.Secret{}, fail("", "%v", err)
	}
	key, err := ssk.ParsePEM(text)
	if err != nil {
		return redact.Secret{}, fail("make one with: openssl genrsa -out FILE 2048", "the key in %s is of no use: %v", name, err)
	}
	return redact.New(base64.URLEncoding.EncodeToString(key.Reveal())), nil
}
