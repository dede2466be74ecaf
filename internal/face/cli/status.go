package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/pidfile"
)

func (a *app) statusCmd() *cobra.Command {
	var f storeFlags
	var verbose bool
	c := &cobra.Command{
		Use:   "status",
		Short: "show whether the node is ready, its servers and what it is doing",
		Long: "Shows how ready the running node is, its storage servers, and transfers under way.\nThe exit code is 2 if the node does not answer.\n" +
			"Of a node without web gateway it shows only that it runs.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.status(cmd.Context(), &f, verbose)
		},
	}
	f.add(c.Flags())
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "also what the kernel's lock-down holds, server ids, versions and the last transfers")
	return c
}

func (a *app) status(ctx context.Context, f *storeFlags, verbose bool) error {
	if f.url == "" {
		if told, err := a.statusWithoutGateway(f); told || err != nil {
			return err
		}
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	w, err := gw.Welcome(ctx)
	if err != nil {
		return storeError("the node's state is not known", err, exitProblems)
	}
	if w.IsIntroducer() {
		if f.json {
			return a.printJSON(map[string]any{"introducer": w})
		}
		a.showIntroducerNode(w, verbose)
		return nil
	}
	ops, err := gw.Status(ctx)
	if err != nil {
		return storeError("the node's state is not known", err, exitProblems)
	}
	if f.json {
		return a.printJSON(map[string]any{"node": w, "operations": ops})
	}
	a.showNode(w, verbose)
	a.showIntroducers(w.Introducers.Details, verbose)
	a.showServers(w.Servers, verbose)
	a.showOperations("Under way", ops.Active)
	if verbose {
		a.showOperations("Lately", ops.Recent)
	}
	return nil
}

// statusWithoutGateway says of a node that has no gateway to ask at least
// whether it runs. told is false for other nodes.
func (a *app) statusWithoutGateway(f *storeFlags) (told bool, err error) {
	dir, err := a.nodeDir("", "")
	if err != nil {
		return false, err
	}
	if _, err := config.KindOf(dir); err != nil {
		return false, nil // gateway says so
	}
	if _, err := config.NodeURL(dir); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	pid, running, err := pidfile.Running(dir)
	switch {
	case err != nil:
		return true, fail("", "it cannot be told whether a node runs: %v", err)
	case !running:
		return true, &exitError{Code: exitProblems, Msg: "no node runs in " + dir, Hint: "start it with: tahoe start " + shellWord(dir)}
	case f.json:
		return true, a.printJSON(map[string]any{"running": true, "pid": pid})
	}
	fmt.Fprintf(a.Stdout, "The node runs as process %d. It has no web gateway to be asked how it is; its log says.\n", pid)
	return true, nil
}

func (a *app) showNode(w webclient.Welcome, verbose bool) {
	name := w.Nickname
	if name == "" {
		name = "(no nickname)"
	}
	state := "ready"
	if !w.Ready {
		state = "NOT READY"
	}
	fmt.Fprintf(a.Stdout, "%s, %s: %s\n", name, w.Version, state)
	if w.Summary != "" {
		fmt.Fprintf(a.Stdout, "  %s\n", w.Summary)
	}
	said := ""
	for _, r := range w.Ladder {
		if r.Text == said || r.State == "unknown" && !verbose { // "waiting for Tor" need not be said of each rung
			continue
		}
		said = r.Text
		fmt.Fprintf(a.Stdout, "  %-8s %s\n", r.State, r.Text)
		if verbose {
			for _, d := range r.Details {
				fmt.Fprintf(a.Stdout, "  %-8s   %s\n", "", d)
			}
		}
	}
	e := w.Encoding
	if e.Total > 0 {
		fmt.Fprintf(a.Stdout, "  encoding: any %d of %d shares suffice to read a file; an upload needs %d servers\n", e.Needed, e.Total, e.Happy)
	}
}

func (a *app) showServers(servers []webclient.Server, verbose bool) {
	if len(servers) == 0 {
		fmt.Fprintln(a.Stdout, "\nNo storage servers are known. Add one with: tahoe add-server FILE, or an introducer to private/introducers.yaml")
		return
	}
	fmt.Fprintln(a.Stdout, "\nStorage servers")
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range servers {
		name := s.Name
		if name == "" {
			name = s.ID[:min(len(s.ID), 13)] + "…"
		}
		row := []string{"  " + name, s.State, s.Address, s.Protocol, free(s), heard(s.LastContact)}
		if s.Reason != "" && s.State != "connected" {
			row = append(row, s.Reason)
		}
		if verbose {
			row = append(row, s.ID)
			if s.Version != nil {
				row = append(row, *s.Version)
			}
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	t.Flush()
	if verbose {
		a.showWhy(servers)
	}
}

func free(s webclient.Server) string {
	if s.AvailableSpace == nil {
		return ""
	}
	return humanize.IBytes(uint64(max(0, *s.AvailableSpace))) + " free"
}

func unix(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }

func (a *app) showOperations(title string, ops []webclient.Operation) {
	if len(ops) == 0 {
		return
	}
	fmt.Fprintf(a.Stdout, "\n%s\n", title)
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, op := range ops {
		size, part := "", ""
		if op.TotalSize != nil {
			size = humanize.IBytes(uint64(max(0, *op.TotalSize)))
			if op.Finished == nil && *op.TotalSize > 0 {
				part = fmt.Sprintf("%d %%", 100*op.Done / *op.TotalSize)
			}
		}
		took := time.Since(unix(op.Started))
		if op.Finished != nil {
			took = unix(*op.Finished).Sub(unix(op.Started))
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", op.Type, size, op.Status, part, shortDuration(took), op.Error)
	}
	t.Flush()
}
