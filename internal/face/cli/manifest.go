package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// manifestFlags say what is shown of each object.
type manifestFlags struct{ index, verify, repair, raw bool }

func (a *app) manifestCmd() *cobra.Command {
	var f storeFlags
	var m manifestFlags
	c := &cobra.Command{
		Use:   "manifest [PATH]",
		Short: "list everything in a directory and below, with caps",
		Long:  "Lists all objects that can be reached from a directory, each once, as they are found: the cap and the path.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m.raw = m.raw || f.json
			return a.manifest(cmd.Context(), operand(args), m, &f)
		},
	}
	f.addStore(c)
	c.Flags().Lookup("json").Usage = "the same as --raw"
	c.Flags().BoolVarP(&m.index, "storage-index", "s", false, "show storage indexes only")
	c.Flags().BoolVar(&m.verify, "verify-cap", false, "show verify caps only")
	c.Flags().BoolVar(&m.repair, "repair-cap", false, "show repair caps only")
	c.Flags().BoolVarP(&m.raw, "raw", "r", false, "show the gateway's JSON, a line for each object")
	c.MarkFlagsMutuallyExclusive("storage-index", "verify-cap", "repair-cap", "raw")
	a.completeRemote(c, &f)
	return c
}

// found is a line of the gateway's stream: an object.
type found struct {
	Type     string              `json:"type"`
	Path     []string            `json:"path"`
	Cap      string              `json:"cap"`
	Verify   string              `json:"verifycap"`
	Repair   string              `json:"repaircap"`
	SI       string              `json:"storage-index"`
	Checked  *webclient.Checked  `json:"check-results"`
	Repaired *webclient.Repaired `json:"check-and-repair-results"`
}

func (a *app) manifest(ctx context.Context, word string, m manifestFlags, f *storeFlags) error {
	r, err := a.remote(f, word)
	if err != nil {
		return err
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	out := bufio.NewWriter(a.Stdout)
	defer out.Flush()
	atOnce := isTerminal(a.Stdout)
	err = gw.Manifest(ctx, r.Place, func(line []byte) error {
		if err := m.write(out, line); err != nil || !atOnce {
			return err
		}
		return out.Flush()
	})
	if err == nil {
		err = out.Flush()
	}
	return walkError(r, err)
}

// write prints what is asked for of an object.
func (m manifestFlags) write(out *bufio.Writer, line []byte) error {
	if m.raw {
		_, err := out.Write(append(line, '\n'))
		return err
	}
	var o found
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	text := ""
	switch {
	case o.Type == "stats":
	case m.index:
		text = o.SI
	case m.verify:
		text = o.Verify
	case m.repair:
		text = o.Repair
	default:
		text = firstOf(o.Cap, "-")
		if unprintable(text) { // one of an unknown kind may be any text
			text = quoteName(text)
		}
		text += " " + quotePath(o.Path)
	}
	if text == "" {
		return nil
	}
	_, err := fmt.Fprintln(out, text)
	return err
}

// walkError explains why a walk over a directory ended early.
func walkError(r remote, err error) error {
	switch e, broke := errors.AsType[*webclient.StreamError](err); {
	case err == nil:
		return nil
	case broke:
		return fail("what was shown is not all there is", "ERROR: %s", lowerFirst(e.Sentence))
	case isStatus(err, 404):
		return fail("", "no such file or directory: %s", r.word)
	case !caps.IsDir(r.Cap):
		return fail("", "%s is not that of a directory", r.word)
	}
	return storeError(r.word+" could not be looked through", err, exitFailed)
}
