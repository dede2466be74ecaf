// Package cli is the command line: one file per command, each with its
// flags, its checks and its run function.
//
// Commands that touch files talk to the node's web gateway through
// webclient; commands that make or edit a node directory use node/config.
// The package starts no node itself: main hands it one in Env.RunNode.
// Start with Main.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tahoe-go/internal/kit/version"
)

// Env is the world a command runs in. All fields are required but RunNode's
// absence only disables `run`.
type Env struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	// RunNode runs the node in dir until ctx ends.
	RunNode func(ctx context.Context, dir string, o RunOptions) error
}

// RunOptions are the choices of `tahoe run`.
type RunOptions struct {
	Stdin           io.Reader // EOF of a pipe or terminal stops the node; nil: ignored
	Stdout, Stderr  io.Writer
	AllowStdinClose bool
	LogLevel        string // debug, info, warn, error
	Home            string // what ~ stands for in paths
	Env             func(string) string
	Started         func()   // to be called once the node serves; may be nil
	Launcher        []string // command that runs a launched tor for a node that is locked down
}

// app is what the commands share: the world and the global flags.
type app struct {
	Env
	dir   string // -d
	quiet bool   // -q

	warned    bool // that a cap on the command line is seen
	stdinUsed bool // a cap has been read from standard input
}

// Main runs one command and returns the process's exit code.
func Main(ctx context.Context, env Env) int {
	a := &app{Env: env}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	return a.report(err)
}

func (a *app) root() *cobra.Command {
	var pathToo bool
	root := &cobra.Command{
		Use:   "tahoe",
		Short: "the least-authority file store that lives on Tor",
		Long: "tahoe stores files on servers that can neither read nor forge them.\n" +
			"A cap (capability string) is the only access to a file: keep it secret.",
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		Version:                    version.Number,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			if pathToo {
				fmt.Fprintln(a.Stdout, version.Application)
				return nil
			}
			cmd.Help()
			return &exitError{Code: exitFailed}
		},
		PersistentPreRun: func(cmd *cobra.Command, args []string) {
			if a.quiet {
				cmd.Root().SetOut(io.Discard)
				a.Stdout = io.Discard
			}
		},
	}
	root.SetVersionTemplate(version.Application + "\n")
	root.PersistentFlags().StringVarP(&a.dir, "node-directory", "d", "", "use the node in `DIR` (default ~/.tahoe)")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print nothing on standard output")
	root.Flags().BoolP("version", "V", false, "print the version and exit")
	root.Flags().BoolVar(&pathToo, "version-and-path", false, "print the version and exit")
	root.Flags().MarkHidden("version-and-path")
	group(root, "Nodes:", a.createNodeCmd(), a.createClientCmd(), a.createIntroducerCmd(), a.runCmd(), a.startCmd(), a.stopCmd(), a.restartCmd(),
		a.addServerCmd(), a.statusCmd())
	group(root, "Files:", a.createAliasCmd(), a.addAliasCmd(), a.listAliasesCmd(), a.mkdirCmd(), a.lsCmd(), a.putCmd(), a.getCmd(),
		a.cpCmd(), a.mvCmd(), a.lnCmd(), a.unlinkCmd(), a.webopenCmd(), a.manifestCmd(), a.statsCmd(), a.backupCmd(), a.checkCmd(), a.deepCheckCmd())
	group(root, "Others:", a.adminCmd(), a.gridManagerCmd(), a.debugCmd())
	root.AddCommand(a.versionCmd(), a.manCmd(), a.launchCmd())
	strict(root)
	return root
}

// group adds commands under a heading of the help text.
func group(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
		root.AddCommand(c)
	}
}

// complete offers words for the value of an option.
func complete(c *cobra.Command, option string, words ...string) {
	c.RegisterFlagCompletionFunc(option, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// later are the commands of the Python program that are not there yet.
var later = strings.Fields("invite")

func unknownCommand(cmd *cobra.Command, name string) error {
	if slices.Contains(later, name) {
		return fail("", "%s is not supported yet", name)
	}
	hint := ""
	if similar := cmd.SuggestionsFor(name); len(similar) > 0 {
		hint = "did you mean " + strings.Join(similar, " or ") + "?"
	}
	return fail(firstOf(hint, "see: tahoe --help"), "unknown command: %s", name)
}

// report prints an error for people and turns it into an exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	code, hint := exitFailed, ""
	if e, ok := errors.AsType[*exitError](err); ok {
		code, hint = e.Code, e.Hint
		if e.Msg == "" {
			return code
		}
	}
	fmt.Fprintf(a.Stderr, "tahoe: %s\n", harmless(err.Error()))
	if hint == hintStart && a.dir != "" {
		hint = strings.Replace(hint, "tahoe start,", "tahoe start "+shellWord(a.dir)+",", 1) + " " + shellWord(a.dir)
	}
	if hint != "" {
		fmt.Fprintf(a.Stderr, "  %s\n", harmless(hint))
	}
	return code
}

// nodeDir picks the node directory from the ways a user may give it; giving
// two different ones is an error.
func (a *app) nodeDir(basedir string, operand string) (string, error) {
	var dir string
	for _, d := range []string{a.dir, basedir, operand} {
		if d == "" {
			continue
		}
		if dir != "" && dir != d {
			return "", fail("give it once", "two node directories given: %s and %s", dir, d)
		}
		dir = d
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fail("use -d DIR", "no home directory: %v", err)
		}
		dir = filepath.Join(home, ".tahoe")
	}
	if len(dir) > 1 && dir[0] == '~' && os.IsPathSeparator(dir[1]) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fail("use -d DIR", "no home directory: %v", err)
		}
		dir = filepath.Join(home, dir[2:])
	}
	return filepath.Abs(dir)
}
