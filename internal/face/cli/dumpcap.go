package cli

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
)

// debugCmd groups what looks inside.
func (a *app) debugCmd() *cobra.Command {
	c := &cobra.Command{Use: "debug", Short: "look inside caps", Args: cobra.NoArgs, RunE: a.needsCommand}
	c.AddCommand(a.dumpCapCmd())
	return c
}

// derived says whose secrets are to be shown with a cap.
type derived struct {
	peer   *[20]byte     // of a server; nil: none
	secret redact.Secret // of the client; zero: none
}

func (a *app) dumpCapCmd() *cobra.Command {
	var node, secret, dir string
	c := &cobra.Command{
		Use:   "dump-cap CAP|@FILE|ADDRESS",
		Short: "show what a cap is made of",
		Long:  "Shows the keys, hashes and storage index in a cap, and with the options the secrets that follow from it. They are secrets.",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := readDerived(node, secret, firstOf(dir, a.dir))
			if err != nil {
				return err
			}
			var f storeFlags
			word := args[0]
			switch {
			case word == "-":
				word = "@-"
			case !isAddress(word) && !strings.HasPrefix(word, "@"):
				a.warnOfCap()
				return a.dumpCap(caps.Keep(word, caps.Anywhere), d)
			}
			r, err := a.remote(&f, word)
			if err != nil {
				return err
			}
			return a.dumpCap(r.Cap, d)
		},
	}
	c.Flags().StringVarP(&node, "nodeid", "n", "", "show also what a server gets, by its `TUBID` in base32")
	c.Flags().StringVarP(&secret, "client-secret", "c", "", "show also what follows from a client's lease `SECRET` in base32")
	c.Flags().StringVar(&dir, "client-dir", "", "take the secret from private/secret in `DIR` (-d DIR does the same)")
	return c
}

func readDerived(node, secret, dir string) (d derived, err error) {
	if node != "" {
		b, err := base32.Decode(strings.ToLower(node))
		if err != nil || len(b) != 20 {
			return d, fail("", "--nodeid is 32 letters and digits of base32")
		}
		d.peer = (*[20]byte)(b)
	}
	if secret == "" && dir != "" {
		text, err := os.ReadFile(filepath.Join(dir, "private", "secret"))
		if err != nil {
			return d, fail("", "reading the client's secret: %v", err)
		}
		secret = strings.TrimSpace(string(text))
	}
	if secret != "" {
		b, err := base32.Decode(secret)
		if err != nil {
			return d, fail("", "the client's secret is not base32")
		}
		d.secret = redact.New(string(b))
	}
	return d, nil
}

// dumpCap prints a cap as the Python program does.
func (a *app) dumpCap(c caps.Cap, d derived) error {
	var b strings.Builder
	title, inner := capTitle(c), c
	if dir, ok := c.(caps.Dir); ok {
		inner = dir.File()
	}
	fmt.Fprintf(&b, "\n%s\n", title)
	b32 := func(label string, v []byte) { fmt.Fprintf(&b, " %s: %s\n", label, base32.Encode(v)) }
	key := func(label string, k caps.Key) { v := k.Reveal(); b32(label, v[:]) }
	hash := func(label string, h tagged.Hash) { b32(label, h[:]) }
	switch c := inner.(type) {
	case caps.CHK:
		key("key", c.Key)
		hash("UEB hash", c.UEBHash)
		fmt.Fprintf(&b, " size: %d\n k/N: %d/%d\n storage index: %s\n", c.Size, c.K, c.N, c.Index())
		d.secrets(hash, c.Index())
	case caps.CHKVerifier:
		hash("UEB hash", c.UEBHash)
		fmt.Fprintf(&b, " size: %d\n k/N: %d/%d\n storage index: %s\n", c.Size, c.K, c.N, c.Index)
	case caps.LIT:
		fmt.Fprintf(&b, " data: %s\n", quoteData(c.Data()))
	case caps.SSK:
		key("writekey", c.WriteKey)
		key("readkey", c.Read().ReadKey)
		fmt.Fprintf(&b, " storage index: %s\n", c.Index())
		hash("fingerprint", c.Fingerprint)
		b.WriteByte('\n')
		if d.peer != nil {
			hash("write_enabler", tagged.WriteEnabler(c.WriteKey.Reveal(), *d.peer))
			b.WriteByte('\n')
		}
		d.secrets(hash, c.Index())
	case caps.SSKRead:
		key("readkey", c.ReadKey)
		fmt.Fprintf(&b, " storage index: %s\n", c.Index())
		hash("fingerprint", c.Fingerprint)
	case caps.SSKVerifier:
		fmt.Fprintf(&b, " storage index: %s\n", c.Index)
		hash("fingerprint", c.Fingerprint)
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

// secrets shows the lease secrets of an object.
func (d derived) secrets(show func(string, tagged.Hash), si ids.Index) {
	if d.secret.IsZero() {
		return
	}
	master := []byte(d.secret.Reveal())
	client := tagged.ClientRenewal(master)
	file := tagged.FileRenewal(client, si)
	show("client renewal secret", client)
	show("file renewal secret", file)
	if d.peer != nil {
		show("lease renewal secret", tagged.BucketRenewal(file, *d.peer))
	}
	client = tagged.ClientCancel(master)
	file = tagged.FileCancel(client, si)
	show("client cancel secret", client)
	show("file cancel secret", file)
	if d.peer != nil {
		show("lease cancel secret", tagged.BucketCancel(file, *d.peer))
	}
}

// quoteData shows the bytes of a literal file.
func quoteData(b []byte) string {
	if unprintable(string(b)) {
		return "0x" + hex.EncodeToString(b)
	}
	return "'" + string(b) + "'"
}

func capTitle(c caps.Cap) string {
	dir, isDir := c.(caps.Dir)
	inner := c
	if isDir {
		inner = dir.File()
	}
	mutable := func(mdmf bool, what string) string {
		switch {
		case isDir:
			return "Directory " + what + " URI:"
		case mdmf:
			return "MDMF " + what + " URI:"
		}
		return "SDMF " + what + " URI:"
	}
	switch c := inner.(type) {
	case caps.CHK:
		if isDir {
			return "CHK Directory URI:"
		}
		return "CHK File:"
	case caps.CHKVerifier:
		if isDir {
			return "CHK Directory Verifier URI:"
		}
		return "CHK Verifier URI:"
	case caps.LIT:
		if isDir {
			return "Literal Directory URI:"
		}
		return "Literal File URI:"
	case caps.SSK:
		return mutable(c.MDMF, "Writeable")
	case caps.SSKRead:
		return mutable(c.MDMF, "Read-only")
	case caps.SSKVerifier:
		return mutable(c.MDMF, "Verifier")
	}
	return "unknown cap type"
}
