package cli

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
)

func (a *app) webopenCmd() *cobra.Command {
	var f storeFlags
	var info, show bool
	c := &cobra.Command{
		Use:   "webopen [PATH]",
		Short: "open a file or directory in the browser",
		Long: "Opens the page of a file or directory, or the node's start page, in the browser: in that of $BROWSER, or what the\n" +
			"system has. The page's address, and so the cap, is seen in the list of processes while the browser starts.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.webopen(cmd.Context(), operand(args), info, show, &f)
		},
	}
	f.addStore(c)
	c.Flags().BoolVarP(&info, "info", "i", false, "open the page that says more about it")
	c.Flags().BoolVar(&show, "print", false, "print the address instead of opening it")
	a.completeRemote(c, &f)
	return c
}

func (a *app) webopen(ctx context.Context, word string, info, show bool, f *storeFlags) error {
	at := webclient.Place{}
	if word != "" {
		r, err := a.remote(f, word)
		if err != nil {
			return err
		}
		at = r.Place
	}
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	t := ""
	if info {
		t = "info"
	}
	page, err := gw.Page(at, t)
	switch {
	case err != nil:
		return fail("", "%v", err)
	case f.json:
		return a.printJSON(map[string]any{"url": page.Reveal()})
	case show:
		_, err := fmt.Fprintln(a.Stdout, page.Reveal())
		return err
	}
	browser := a.browser(page.Reveal())
	cmd := exec.CommandContext(ctx, browser[0], browser[1:]...)
	cmd.Stderr = a.Stderr
	if err := cmd.Run(); err != nil {
		return fail("open the address yourself; --print shows it", "the browser was not opened: %v", err)
	}
	return nil
}

// browser is the command that opens an address. $BROWSER may have several, of
// which the first that is there is taken, with options, and %s for the address.
func (a *app) browser(url string) []string {
	list := filepath.SplitList(a.Getenv("BROWSER"))
	for i, command := range list {
		words := strings.Fields(command)
		if len(words) == 0 {
			continue
		}
		if _, err := exec.LookPath(words[0]); err != nil && i < len(list)-1 {
			continue
		}
		if !slices.Contains(words, "%s") {
			return append(words, url)
		}
		for i, w := range words {
			if w == "%s" {
				words[i] = url
			}
		}
		return words
	}
	switch runtime.GOOS {
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler", url}
	case "darwin":
		return []string{"open", url}
	}
	return []string{"xdg-open", url}
}
