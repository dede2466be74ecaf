package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) unlinkCmd() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:     "unlink PATH...",
		Aliases: []string{"rm"},
		Short:   "take a file or directory out of its directory (also: rm)",
		Long: "Takes files or directories out of the directories they are in. That frees no space at once, and whoever has a cap\n" +
			"or another link can go on using them. Directories go with all that is in them.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.unlink(cmd.Context(), args, &f)
		},
	}
	f.addStore(c)
	a.completeRemote(c, &f)
	return c
}

func (a *app) unlink(ctx context.Context, words []string, f *storeFlags) error {
	var places []remote
	for _, word := range words {
		r, err := a.remote(f, word)
		if err != nil {
			return err
		}
		if len(r.Path) == 0 {
			return fail("", "%s is no entry of a directory, and only such can be unlinked: a path must be given", firstOf(r.word, "it"))
		}
		places = append(places, r)
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	for _, r := range places {
		_, err := gw.Unlink(ctx, r.Place)
		switch {
		case isStatus(err, 404):
			return fail("", "no such file or directory: %s", r.word)
		case err != nil:
			return storeError(r.word+" was not unlinked", err, exitFailed)
		case !f.json:
			fmt.Fprintln(a.Stdout, "200 OK")
		}
	}
	if f.json {
		return a.printJSON(map[string]any{"unlinked": len(places)})
	}
	return nil
}
