package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
)

func (a *app) deepCheckCmd() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "deep-check [PATH...]",
		Short: "ask the servers about everything in a directory and below",
		Long:  "Asks the servers which shares they have of each object that can be reached from a directory.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachPlace(&f, args, func(gw *webclient.Client, r remote) error { return a.deepCheck(cmd.Context(), gw, r, &f) })
		},
	}
	f.add(c)
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "a line for each object")
	a.completeRemote(c, &f.store)
	return c
}

// tally counts what a deep check found.
type tally struct {
	objects, healthy, unhealthy             int
	attempted, repaired, healthyNow, illNow int
}

func (a *app) deepCheck(ctx context.Context, gw *webclient.Client, r remote, f *checkFlags) error {
	out := bufio.NewWriter(a.Stdout)
	defer out.Flush()
	atOnce := isTerminal(a.Stdout)
	var n tally
	err := gw.DeepCheck(ctx, r.Place, f.how, func(line []byte) error {
		if f.raw {
			_, err := out.Write(append(line, '\n'))
			return err
		}
		var o found
		if err := json.Unmarshal(line, &o); err != nil {
			return fmt.Errorf("reading the gateway's answer: %w", err)
		}
		n.add(out, o, f.verbose)
		if atOnce {
			return out.Flush()
		}
		return nil
	})
	if err != nil || f.raw {
		return walkError(r, err)
	}
	if !f.how.Repair {
		fmt.Fprintf(out, "done: %d objects checked, %d healthy, %d unhealthy\n", n.objects, n.healthy, n.unhealthy)
		return nil
	}
	fmt.Fprintf(out, "done: %d objects checked\n pre-repair: %d healthy, %d unhealthy\n %d repairs attempted, %d successful, %d failed\n post-repair: %d healthy, %d unhealthy\n",
		n.objects, n.healthy, n.unhealthy, n.attempted, n.repaired, n.attempted-n.repaired, n.healthyNow, n.illNow)
	return nil
}

// add counts an object and prints what is to be said of it.
func (n *tally) add(out *bufio.Writer, o found, verbose bool) {
	if o.Type != "file" && o.Type != "directory" {
		return
	}
	if n.objects++; n.objects%100 == 0 && !verbose {
		fmt.Fprintf(out, "%d objects checked..\n", n.objects)
	}
	c, p := webclient.Checked{SI: o.SI}, o.Repaired
	c.Results.Healthy = true // one that is its own cap
	switch {
	case p != nil && o.SI != "":
		c = p.Before
		c.SI = o.SI
	case o.Checked != nil:
		c = *o.Checked
	}
	count(&n.healthy, &n.unhealthy, c.Results.Healthy)
	if p != nil {
		count(&n.healthyNow, &n.illNow, o.SI == "" || p.After.Results.Healthy)
		c.Summary = health(c)
	}
	if verbose {
		fmt.Fprintf(out, "%s: %s\n", firstOf(quotePath(o.Path), "<root>"), summary(c))
	}
	for _, at := range c.Results.Corrupt {
		fmt.Fprintf(out, " corrupt: %s\n", shareWords(at))
	}
	if p != nil && p.Attempted {
		n.attempted++
		if p.Succeeded {
			n.repaired++
		}
		fmt.Fprintln(out, repairWords(*p))
	}
}

func count(yes, no *int, is bool) {
	if is {
		*yes++
	} else {
		*no++
	}
}
