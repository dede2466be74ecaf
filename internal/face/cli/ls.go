package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// lsFlags say what a listing shows.
type lsFlags struct{ long, uri, readonly, classify bool }

func (a *app) lsCmd() *cobra.Command {
	var f storeFlags
	var l lsFlags
	c := &cobra.Command{
		Use:   "ls [PATH]",
		Short: "list a directory",
		Long: "Lists a directory, or a file by itself. With -l the columns are type and access, size, when it was linked, and name:\n" +
			"d is a directory, - a file, ? made by a later version; r may be read, w may be written, x may be listed.\n" +
			"Names that a terminal should not show are in quotes. The exit code is 2 if there is no such file or directory.",
		Example: "  tahoe ls -l photos:2024\n  tahoe ls @friend.cap:music",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ls(cmd.Context(), operand(args), l, &f)
		},
	}
	f.addStore(c)
	c.Flags().Lookup("json").Usage = "print the gateway's JSON, for programs"
	c.Flags().BoolVarP(&l.long, "long", "l", false, "show type, access, size and date")
	c.Flags().BoolVar(&l.uri, "uri", false, "show caps")
	c.Flags().BoolVar(&l.readonly, "readonly-uri", false, "show caps that grant reading only")
	c.Flags().BoolVarP(&l.classify, "classify", "F", false, "mark names: / directory, * mutable file, ? unknown")
	a.completeRemote(c, &f)
	return c
}

func (a *app) ls(ctx context.Context, word string, l lsFlags, f *storeFlags) error {
	r, err := a.remote(f, word)
	if err != nil {
		return err
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	text, err := gw.LookJSON(ctx, r.Place)
	switch {
	case isStatus(err, 404):
		return &exitError{Code: exitProblems, Msg: "no such file or directory: " + r.word}
	case err != nil:
		return storeError(firstOf(r.word, "the directory")+" was not listed", err, exitProblems)
	case f.json:
		_, err := fmt.Fprintf(a.Stdout, "%s\n", text)
		return err
	}
	var n webclient.Node
	if err := json.Unmarshal(text, &n); err != nil {
		return fail("", "reading the gateway's answer: %v", err)
	}
	children := n.Children
	if n.Type != webclient.Dir {
		children = map[string]webclient.Node{r.name(): n}
	}
	unknown := a.list(children, l)
	if unknown {
		fmt.Fprintln(a.Stderr, "\nThis listing has objects of kinds unknown here. A later version of the node may know them.")
	}
	return nil
}

// list prints children by name. unknown reports whether there are any of
// unknown kinds.
func (a *app) list(children map[string]webclient.Node, l lsFlags) (unknown bool) {
	var rows [][]string
	now := time.Now()
	for _, name := range slices.Sorted(maps.Keys(children)) {
		n := children[name]
		unknown = unknown || n.Type == webclient.Unknown
		var row []string
		if l.long {
			created, _ := n.Times()
			row = append(row, access(n), size(n), shortDate(created, now))
		}
		shown := name
		if name != "" {
			shown = quoteName(name)
		}
		if l.classify {
			shown += mark(n)
		}
		row = append(row, shown)
		if l.uri {
			row = append(row, revealed(n.Cap()))
		}
		if l.readonly {
			row = append(row, revealed(n.Read))
		}
		rows = append(rows, row)
	}
	fmt.Fprint(a.Stdout, table(rows, sizeColumn(l)...))
	return unknown
}

func sizeColumn(l lsFlags) []int {
	if l.long {
		return []int{1}
	}
	return nil
}

func access(n webclient.Node) string {
	b := []byte("?---")
	switch n.Type {
	case webclient.Dir:
		b[0], b[3] = 'd', 'x'
	case webclient.File:
		b[0] = '-'
	}
	if n.Read != nil {
		b[1] = 'r'
	}
	if n.Write != nil {
		b[2] = 'w'
	}
	return string(b)
}

func size(n webclient.Node) string {
	switch {
	case n.Type == webclient.Dir:
		return "-"
	case n.Type == webclient.File && n.Size >= 0:
		return strconv.FormatInt(n.Size, 10)
	}
	return "?"
}

func mark(n webclient.Node) string {
	switch {
	case n.Type == webclient.Dir:
		return "/"
	case n.Type == webclient.Unknown:
		return "?"
	case n.Write != nil:
		return "*"
	}
	return ""
}

func revealed(c caps.Cap) string {
	if c == nil {
		return "-"
	}
	return quoteName(c.Reveal()) // one of an unknown kind may be any text
}

// shortDate is a date as GNU ls has it: with the year instead of the time once
// it is half a year old.
func shortDate(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case now.Sub(t) > 6*30*24*time.Hour:
		return t.Local().Format("Jan 02  2006")
	}
	return t.Local().Format("Jan 02 15:04")
}
