package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
)

func (a *app) mvCmd() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "mv FROM TO",
		Short: "move or rename a file or directory on the grid",
		Long: "Gives a file or directory another name, or moves it to another directory. If TO is an alias, or ends with a\n" +
			"slash, the name stays. A file at TO is replaced; a directory is not.",
		Example: "  tahoe mv photos:june.jpg photos:2024/",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := a.fromTo(&f, args[0], args[1])
			if err != nil {
				return err
			}
			if len(from.Path) == 0 {
				return fail("to link it somewhere: tahoe ln", "%s is in no directory that it could be moved from", firstOf(from.word, "the directory"))
			}
			if n := len(from.Path); to.Cap == from.Cap && len(to.Path) > n && slices.Equal(to.Path[:n], from.Path) {
				return fail("", "%s cannot be moved into itself", from.word)
			}
			return a.move(cmd.Context(), from, to, &f)
		},
	}
	f.addStore(c)
	a.completeRemote(c, &f)
	return c
}

func (a *app) lnCmd() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "ln FROM TO",
		Short: "link a file or directory at another place too",
		Long: "Links what is at FROM, which may be a cap, at TO too. If TO is an alias, or ends with a slash, the name stays.\n" +
			"A file at TO is replaced; a directory is not.",
		Example: "  tahoe ln @friend.cap home:friend",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := a.fromTo(&f, args[0], args[1])
			if err != nil {
				return err
			}
			return a.link(cmd.Context(), from, to, &f)
		},
	}
	f.addStore(c)
	a.completeRemote(c, &f)
	return c
}

// fromTo reads two places, the second of which gets the name of the first if
// it has none.
func (a *app) fromTo(f *storeFlags, one, other string) (from, to remote, err error) {
	if from, err = a.remote(f, one); err != nil {
		return from, to, err
	}
	if to, err = a.remote(f, other); err != nil {
		return from, to, err
	}
	if len(to.Path) == 0 || to.slash {
		if from.name() == "" {
			return from, to, fail("write the name behind it", "what is to be linked at %s has no name", to.word)
		}
		to = to.child(from.name())
	}
	return from, to, nil
}

// move has the gateway do it, which sees when both places are the same entry.
func (a *app) move(ctx context.Context, from, to remote, f *storeFlags) error {
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	into := to.parent()
	if into.Cap == from.Cap && slices.Equal(into.Path, from.parent().Path) {
		into = webclient.Place{}
	}
	relink := func() error {
		return gw.Relink(ctx, from.parent(), from.name(), into, to.name(), webclient.OnlyFiles)
	}
	err = relink()
	if isStatus(err, 404) && into.Cap != nil && len(into.Path) > 0 {
		if _, missing := gw.Look(ctx, from.Place); missing != nil {
			err = missing
		} else if _, err = gw.Mkdir(ctx, into, webclient.MkdirOptions{}); err == nil {
			err = relink()
		}
	}
	if err != nil {
		return moveError(ctx, gw, "it was not moved", from, to, err)
	}
	return a.ok(f)
}

// moveError explains a refusal, by what is at the places it is about.
func moveError(ctx context.Context, gw *webclient.Client, what string, from, to remote, err error) error {
	switch {
	case isStatus(err, 404):
		return fail("", "no such file or directory: %s", from.word)
	case isStatus(err, 409):
		if n, e := gw.Look(ctx, to.Place); e == nil && n.Type == webclient.Dir {
			return fail("", "%s is a directory, and is not replaced", to.word)
		}
	case isStatus(err, 400):
		if n, e := gw.Look(ctx, to.parent()); isStatus(e, 400) || e == nil && n.Type == webclient.File {
			return fail("", "%s would be below a file, and files have no children", to.word)
		}
	}
	return storeError(what, err, exitFailed)
}

// ok is what commands print that have nothing else to say.
func (a *app) ok(f *storeFlags) error {
	if f.json {
		return a.printJSON(map[string]any{"ok": true})
	}
	_, err := fmt.Fprintln(a.Stdout, "OK")
	return err
}

// link links what is at one place at another, with its metadata.
func (a *app) link(ctx context.Context, from, to remote, f *storeFlags) error {
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	n, err := gw.Look(ctx, from.Place)
	if err == nil {
		err = linkAt(ctx, gw, to, n)
	}
	if err != nil {
		return moveError(ctx, gw, "it was not linked", from, to, err)
	}
	return a.ok(f)
}

// linkAt links a node at a place, and makes the directories that lead there.
func linkAt(ctx context.Context, gw *webclient.Client, to remote, n webclient.Node) error {
	child := n.Child()
	if len(n.Metadata) > 0 {
		child.Metadata = n.Metadata
	}
	set := func() error {
		return gw.SetChildren(ctx, to.parent(), map[string]webclient.Child{to.name(): child}, webclient.OnlyFiles)
	}
	err := set()
	if isStatus(err, 404) && len(to.Path) > 1 {
		if _, err = gw.Mkdir(ctx, to.parent(), webclient.MkdirOptions{}); err == nil {
			err = set()
		}
	}
	return err
}
