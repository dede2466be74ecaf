package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func (a *app) statsCmd() *cobra.Command {
	var f storeFlags
	var raw bool
	c := &cobra.Command{
		Use:   "stats [PATH]",
		Short: "count what is in a directory and below",
		Long:  "Counts the objects that can be reached from a directory, and adds up their sizes. Mutable files are counted only.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.stats(cmd.Context(), operand(args), raw || f.json, &f)
		},
	}
	f.addStore(c)
	c.Flags().Lookup("json").Usage = "the same as --raw"
	c.Flags().BoolVarP(&raw, "raw", "r", false, "show the gateway's JSON")
	a.completeRemote(c, &f)
	return c
}

// treeStats are the figures of a walk, those that are shown.
type treeStats struct {
	Histogram [][]json.Number        `json:"size-files-histogram"`
	Figures   map[string]json.Number `json:"-"`
}

func (s *treeStats) UnmarshalJSON(b []byte) error {
	type plain treeStats
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	s.Figures = map[string]json.Number{}
	for name, v := range all {
		var n json.Number
		if json.Unmarshal(v, &n) == nil {
			s.Figures[name] = n
		}
	}
	return nil
}

// statNames are the figures in the order in which they are shown.
var statNames = strings.Fields("count-immutable-files count-mutable-files count-literal-files count-files count-directories count-unknown " +
	"size-immutable-files size-mutable-files size-literal-files size-directories largest-directory largest-immutable-file")

func (a *app) stats(ctx context.Context, word string, raw bool, f *storeFlags) error {
	r, err := a.remote(f, word)
	if err != nil {
		return err
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	text, err := gw.DeepStats(ctx, r.Place, a.showCount())
	if isTerminal(a.Stderr) {
		fmt.Fprint(a.Stderr, "\r\x1b[K")
	}
	if err != nil {
		return walkError(r, err)
	}
	if raw {
		_, err := fmt.Fprintf(a.Stdout, "%s\n", text)
		return err
	}
	var s treeStats
	if err := json.Unmarshal(text, &s); err != nil {
		return fail("", "reading the gateway's answer: %v", err)
	}
	return a.printStats(s)
}

// showCount shows on a terminal how far a walk is.
func (a *app) showCount() func(json.RawMessage) {
	if !isTerminal(a.Stderr) {
		return nil
	}
	return func(text json.RawMessage) {
		var s treeStats
		if json.Unmarshal(text, &s) == nil {
			fmt.Fprintf(a.Stderr, "\r\x1b[Klooked at %s files in %s directories", firstOf(string(s.Figures["count-files"]), "0"), firstOf(string(s.Figures["count-directories"]), "0"))
		}
	}
}

func (a *app) printStats(s treeStats) error {
	var b strings.Builder
	b.WriteString("Counts and Total Sizes:\n")
	var rows [][]string
	for _, name := range statNames {
		n, there := s.Figures[name]
		if !there || name == "count-unknown" && n == "0" {
			continue
		}
		row := []string{name + ":", string(n)}
		if size, err := n.Int64(); err == nil && size > 1000 && !strings.HasPrefix(name, "count-") {
			row = append(row, " "+bothSizes(size))
		}
		rows = append(rows, row)
	}
	b.WriteString(table(rows, 0))
	if len(s.Histogram) > 0 {
		b.WriteString("Size Histogram:\n")
		histogram(&b, s.Histogram)
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

// histogram prints rows of [smallest, largest, count].
func histogram(b *strings.Builder, rows [][]json.Number) {
	width, counts := 0, 0
	for _, row := range rows {
		if len(row) == 3 {
			width, counts = max(width, len(row[1])), max(counts, len(row[2]))
		}
	}
	var before int64
	for i, row := range rows {
		if len(row) != 3 {
			continue
		}
		low, _ := row[0].Int64()
		high, _ := row[1].Int64()
		if i > 0 && low != before+1 {
			fmt.Fprintf(b, "%*s...\n", width-1, "")
		}
		before = high
		fmt.Fprintf(b, "%*s-%-*s : %-*s    %s\n", width, row[0], width, row[1], counts, row[2], humanize.Bytes(uint64(max(0, high))))
	}
}

func bothSizes(n int64) string {
	return "(" + humanize.Bytes(uint64(n)) + ", " + humanize.IBytes(uint64(n)) + ")"
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return strconv.Itoa(n) + " " + strings.TrimSuffix(what, "y") + "ies"
	}
	return strconv.Itoa(n) + " " + what + "s"
}
