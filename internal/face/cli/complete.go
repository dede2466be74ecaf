package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
)

// completeWait is how long a shell waits for the names in a directory.
const completeWait = 3 * time.Second

// completeRemote offers aliases, and what is in directories, for operands that
// are on the grid.
func (a *app) completeRemote(c *cobra.Command, f *storeFlags) {
	c.ValidArgsFunction = func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		words := a.remoteWords(cmd.Context(), f, word)
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completeSecond offers files for the first operand, and what is on the grid
// for the second.
func (a *app) completeSecond(c *cobra.Command, f *storeFlags) {
	a.completeRemote(c, f)
	remote := c.ValidArgsFunction
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return remote(cmd, args, word)
	}
}

// completeEither offers both.
func (a *app) completeEither(c *cobra.Command, f *storeFlags) {
	c.ValidArgsFunction = func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		if strings.ContainsAny(word, `/\`) && !strings.Contains(word, ":") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		words := a.remoteWords(cmd.Context(), f, word)
		if len(words) > 0 {
			return words, cobra.ShellCompDirectiveNoSpace
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// remoteWords are the aliases that begin with a word, or what its directory
// has. Of caps nothing is offered.
func (a *app) remoteWords(ctx context.Context, f *storeFlags, word string) []string {
	if hasCapPrefix(word) || strings.HasPrefix(word, "@") || isAddress(word) {
		return nil
	}
	dir, err := a.nodeDir("", "")
	if err != nil {
		return nil
	}
	aliases, err := readAliases(dir)
	if err != nil {
		return nil
	}
	alias, path, found := strings.Cut(word, ":")
	if !found || strings.Contains(alias, "/") {
		var words []string
		for _, name := range slices.Sorted(maps.Keys(aliases)) {
			if strings.HasPrefix(name, word) {
				words = append(words, name+":")
			}
		}
		return words
	}
	above := path[:strings.LastIndexByte(path, '/')+1]
	r, err := a.remote(f, alias+":"+above)
	if err != nil {
		return nil
	}
	gw, err := a.gateway(f)
	if err != nil {
		return nil
	}
	defer gw.Close()
	ctx, cancel := context.WithTimeout(ctx, completeWait)
	defer cancel()
	n, err := gw.Look(ctx, r.Place)
	if err != nil {
		return nil
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(n.Children)) {
		if unprintable(name) || !strings.HasPrefix(name, path[len(above):]) {
			continue
		}
		if n.Children[name].Type == webclient.Dir {
			name += "/"
		}
		words = append(words, alias+":"+above+name)
	}
	return words
}
