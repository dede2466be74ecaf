package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
)

func (a *app) createAliasCmd() *cobra.Command {
	var f storeFlags
	var format string
	c := &cobra.Command{
		Use:     "create-alias ALIAS",
		Short:   "make a directory and give it a name",
		Long:    "Makes an empty directory, and a name for it: ALIAS:PATH stands for what is below it from then on.\nPaths without alias are below the alias tahoe.",
		Example: "  tahoe create-alias photos\n  tahoe cp -r holiday photos:",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkMutable(&format); err != nil {
				return err
			}
			return a.createAlias(cmd.Context(), args[0], format, &f)
		},
	}
	f.add(c.Flags())
	addFormat(c, &format)
	return c
}

func (a *app) createAlias(ctx context.Context, word, format string, f *storeFlags) error {
	name, err := aliasName(word)
	if err != nil {
		return err
	}
	dir, err := a.nodeDir("", "")
	if err != nil {
		return err
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	var made caps.Cap
	err = newAlias(ctx, dir, name, func() (caps.Cap, error) {
		made, err = gw.Mkdir(ctx, webclient.Place{}, webclient.MkdirOptions{Format: format})
		if err != nil {
			err = storeError("the directory was not made", err, exitFailed)
		}
		return made, err
	})
	switch {
	case err != nil && made != nil: // or the directory would be lost
		fmt.Fprintln(a.Stdout, made.Reveal())
		return err
	case err != nil:
		return err
	case f.json:
		return a.printJSON(map[string]any{"alias": name, "cap": made.Reveal()})
	}
	fmt.Fprintf(a.Stdout, "Alias '%s' created\n", name)
	return nil
}

func (a *app) addAliasCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "add-alias ALIAS CAP|@FILE|-",
		Short:   "give a directory's cap a name",
		Long:    "Gives a directory a name: ALIAS:PATH stands for what is below it from then on. The cap may be in a file, or\ncome from standard input, where no other user of this machine sees it.",
		Example: "  tahoe add-alias friend @friend.cap\n  tahoe add-alias friend - < friend.cap",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := aliasName(args[0])
			if err != nil {
				return err
			}
			dir, err := a.nodeDir("", "")
			if err != nil {
				return err
			}
			if args[1] == "-" {
				args[1] = "@-"
			}
			cap, err := a.dirCap(args[1])
			if err != nil {
				return err
			}
			if err := newAlias(cmd.Context(), dir, name, func() (caps.Cap, error) { return cap, nil }); err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(map[string]any{"alias": name})
			}
			fmt.Fprintf(a.Stdout, "Alias '%s' added\n", name)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, for programs")
	return c
}

func (a *app) listAliasesCmd() *cobra.Command {
	var readonly, asJSON bool
	c := &cobra.Command{
		Use:   "list-aliases",
		Short: "show the aliases and the caps they stand for",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.nodeDir("", "")
			if err != nil {
				return err
			}
			aliases, err := readAliases(dir)
			if err != nil {
				return err
			}
			return a.listAliases(aliases, readonly, asJSON)
		},
	}
	c.Flags().BoolVar(&readonly, "readonly-uri", false, "show the caps that grant reading only")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: {ALIAS: {readwrite, readonly}}")
	return c
}

func (a *app) listAliases(aliases map[string]redact.Secret, readonly, asJSON bool) error {
	type both struct {
		Write string `json:"readwrite,omitempty"`
		Read  string `json:"readonly,omitempty"`
	}
	all := map[string]both{}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(aliases)) {
		cap := caps.Keep(aliases[name].Reveal(), caps.Anywhere)
		b := both{Write: cap.Reveal(), Read: cap.Reveal()}
		if read, ok := caps.Read(cap); ok {
			b.Read = read.Reveal()
		}
		all[name] = b
		if readonly {
			b.Write = b.Read
		}
		rows = append(rows, []string{quoteName(name) + ":", b.Write})
	}
	if asJSON {
		return a.printJSON(all)
	}
	_, err := fmt.Fprint(a.Stdout, table(rows, 0))
	return err
}
