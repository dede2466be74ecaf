package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// strict makes options come before operands in c and all below it, as Tahoe
// users know it, and refuses an option-like word after the first operand: the
// Python program takes it for a file's name, which nobody means. Errors of use
// say where to read on.
func strict(c *cobra.Command) {
	if !c.DisableFlagParsing {
		if name, operands, has := strings.Cut(c.Use, " "); has { // else cobra puts the options last
			c.Use, c.DisableFlagsInUseLine = name+" [options] "+operands, true
		}
		c.Flags().SetInterspersed(false)
		check := c.Args
		c.Args = func(c *cobra.Command, args []string) error {
			if err := optionsFirst(c, args); err != nil {
				return err
			}
			if check == nil {
				return nil
			}
			if err := check(c, args); err != nil {
				what := fmt.Sprintf("%d operands are", len(args))
				if len(args) == 1 {
					what = "1 operand is"
				}
				return usage(c, "%s not what %s takes; it is used as: %s", what, c.Name(), c.UseLine())
			}
			return nil
		}
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%v", err) })
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

func optionsFirst(c *cobra.Command, args []string) error {
	if dash := c.ArgsLenAtDash(); dash == 0 {
		return nil // after -- everything is an operand
	}
	for _, word := range args[min(1, len(args)):] {
		if len(word) > 1 && word[0] == '-' {
			return fail(fmt.Sprintf("write: %s %s %s; or, if %s is a name, put -- before it and the others", c.CommandPath(), word, redactWord(args[0]), word),
				"the option %s stands after %s, and options come first", word, redactWord(args[0]))
		}
	}
	return nil
}

// noEmpty refuses empty operands of commands that do something else without
// them: a variable of the shell that is not set would go unnoticed.
func noEmpty(c *cobra.Command, args []string) error {
	if slices.Contains(args, "") {
		return usage(c, "an operand is empty; leave it out if that is what is meant")
	}
	return nil
}

// redactWord keeps a cap out of an error message.
func redactWord(s string) string {
	if strings.Contains(s, "URI:") {
		return "the cap"
	}
	return s
}

// usage is the error for a command called wrongly.
func usage(c *cobra.Command, format string, args ...any) error {
	return fail("see: "+c.CommandPath()+" --help", format, args...)
}
