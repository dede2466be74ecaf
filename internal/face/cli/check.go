package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
)

// checkFlags are the options of check and deep-check.
type checkFlags struct {
	store   storeFlags
	how     webclient.CheckOptions
	raw     bool
	verbose bool // deep-check only
}

func (f *checkFlags) add(c *cobra.Command) {
	f.store.addStore(c)
	c.Flags().Lookup("json").Usage = "the same as --raw"
	c.Flags().BoolVar(&f.raw, "raw", false, "show the gateway's JSON")
	c.Flags().BoolVar(&f.how.Verify, "verify", false, "read and prove every share, instead of asking who has which")
	c.Flags().BoolVar(&f.how.Repair, "repair", false, "make good what is missing, where enough is left")
	c.Flags().BoolVar(&f.how.AddLease, "add-lease", false, "renew the leases too")
}

func (a *app) checkCmd() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check [PATH...]",
		Short: "ask the servers whether a file or directory is whole",
		Long:  "Asks the servers which shares of a file or directory they have. Something unhealthy is no failure: the exit code is 0.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachPlace(&f, args, func(gw *webclient.Client, r remote) error { return a.check(cmd.Context(), gw, r, &f) })
		},
	}
	f.add(c)
	a.completeRemote(c, &f.store)
	return c
}

// eachPlace does something with each of the places named, or else with the
// directory of the alias tahoe.
func (a *app) eachPlace(f *checkFlags, words []string, do func(*webclient.Client, remote) error) error {
	f.raw = f.raw || f.store.json
	if len(words) == 0 {
		words = []string{""}
	}
	var places []remote
	for _, word := range words {
		r, err := a.remote(&f.store, word)
		if err != nil {
			return err
		}
		places = append(places, r)
	}
	gw, err := a.gateway(&f.store)
	if err != nil {
		return err
	}
	defer gw.Close()
	for _, r := range places {
		if err := do(gw, r); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) check(ctx context.Context, gw *webclient.Client, r remote, f *checkFlags) error {
	text, err := gw.Check(ctx, r.Place, f.how)
	switch {
	case isStatus(err, 404):
		return fail("", "no such file or directory: %s", r.word)
	case err != nil:
		return storeError(firstOf(r.word, "it")+" was not checked", err, exitFailed)
	case f.raw:
		_, err := fmt.Fprintf(a.Stdout, "%s\n", text)
		return err
	}
	if f.how.Repair {
		var p webclient.Repaired
		if err := json.Unmarshal(text, &p); err != nil {
			return fail("", "reading the gateway's answer: %v", err)
		}
		p.Before.SI, p.Before.Summary = p.SI, health(p.Before)
		a.showChecked(p.Before)
		if p.Attempted {
			fmt.Fprintln(a.Stdout, repairWords(p))
		}
		return nil
	}
	var c webclient.Checked
	if err := json.Unmarshal(text, &c); err != nil {
		return fail("", "reading the gateway's answer: %v", err)
	}
	c.Summary = summary(c)
	a.showChecked(c)
	return nil
}

func health(c webclient.Checked) string {
	if c.Results.Healthy {
		return "healthy"
	}
	return "not healthy"
}

// summary is the gateway's; files that are their own caps have none.
func summary(c webclient.Checked) string {
	if c.SI == "" {
		return "Healthy (LIT)"
	}
	return quoteName(firstOf(c.Summary, health(c)))
}

func repairWords(p webclient.Repaired) string {
	if p.Succeeded {
		return " repair successful"
	}
	return " repair failed"
}

func (a *app) showChecked(c webclient.Checked) {
	fmt.Fprintf(a.Stdout, "Summary: %s\n storage index: %s\n", c.Summary, quoteIfAny(c.SI))
	res := c.Results
	if res.Good != nil && res.Needed != nil && res.Expected != nil {
		fmt.Fprintf(a.Stdout, " good-shares: %d (encoding is %d-of-%d)\n", *res.Good, *res.Needed, *res.Expected)
		if res.Wrong != nil {
			fmt.Fprintf(a.Stdout, " wrong-shares: %d\n", *res.Wrong)
		}
	}
	if len(res.Corrupt) > 0 {
		fmt.Fprintln(a.Stdout, " corrupt shares:")
		for _, at := range res.Corrupt {
			fmt.Fprintf(a.Stdout, "  %s\n", shareWords(at))
		}
	}
}

func quoteIfAny(s string) string {
	if s == "" {
		return s
	}
	return quoteName(s)
}

// shareWords names a share: [server, storage index, number].
func shareWords(at []any) string {
	words := make([]string, len(at))
	for i, label := range []string{"server ", "SI ", "shnum "}[:min(3, len(at))] {
		words[i] = label + quoteIfAny(fmt.Sprint(at[i]))
	}
	return strings.Join(words[:min(3, len(at))], ", ")
}
