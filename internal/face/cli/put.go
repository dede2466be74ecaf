package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

func (a *app) putCmd() *cobra.Command {
	var f storeFlags
	var m meterFlags
	var mutable bool
	var format, key string
	c := &cobra.Command{
		Use:   "put [FILE|-]",
		Short: "store a file and print its cap",
		Long: "Stores a file, or standard input, on the grid and prints its cap, the only access to it.\n" +
			"Options stand before the file.",
		Example: "  tahoe put holiday.jpg > holiday.cap\n  tar c photos | tahoe put",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 2:
				return fail("leave the second word out: the file's cap is printed", "putting a file into a directory is not supported yet")
			case mutable || key != "" || strings.EqualFold(format, "SDMF") || strings.EqualFold(format, "MDMF"):
				return fail("", "mutable files are not supported yet")
			case format != "" && !strings.EqualFold(format, "CHK"):
				return fail("", "--format is CHK, SDMF or MDMF, not %q", format)
			}
			return a.put(cmd.Context(), operand(args), &f, &m)
		},
	}
	f.add(c.Flags())
	m.add(c)
	c.Flags().BoolVarP(&mutable, "mutable", "m", false, "make a mutable file (not supported yet)")
	c.Flags().StringVar(&format, "format", "", "`FORMAT` is CHK (immutable, the default); SDMF and MDMF are not supported yet")
	c.Flags().StringVar(&key, "private-key-path", "", "RSA key of a mutable file (not supported yet)")
	c.Flags().MarkHidden("private-key-path")
	return c
}

// put stores one file.
func (a *app) put(ctx context.Context, name string, f *storeFlags, m *meterFlags) error {
	src, size, err := a.source(name)
	if err != nil {
		return err
	}
	defer src.Close()
	gw, err := a.gateway(f)
	if err != nil {
		return err
	}
	defer gw.Close()
	meter, err := a.meter(m)
	if err != nil {
		return err
	}
	start := time.Now()
	counted := &countingReader{r: src}
	cap, err := gw.Put(ctx, counted, size, webclient.PutOptions{Progress: meter.report()})
	meter.end()
	if err != nil {
		return storeError("the file was not stored", unwrapStored(err), exitFailed)
	}
	if f.json {
		return a.printJSON(map[string]any{"cap": cap.Reveal(), "size": counted.n, "seconds": seconds(start)})
	}
	fmt.Fprintln(a.Stderr, "200 OK") // as scripts for the Python program expect
	meter.summary("stored", counted.n, start)
	_, err = fmt.Fprintln(a.Stdout, cap.Reveal())
	return err
}

// source opens what is to be stored; size is -1 if it is not known.
func (a *app) source(name string) (io.ReadCloser, int64, error) {
	if name == "" || name == "-" {
		if isTerminal(a.Stdin) {
			fmt.Fprintln(a.Stderr, "reading the file from the terminal; Ctrl-D ends it")
		}
		return io.NopCloser(a.Stdin), regularSize(a.Stdin), nil
	}
	file, err := os.Open(name)
	if err != nil {
		if looksLikePath(name) {
			return nil, 0, fail("", "aliases and directories are not supported yet: %s", name)
		}
		return nil, 0, fail("", "%v", err)
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder; storing folders is not supported yet", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, fail("", "%v", err)
	}
	return file, regularSize(file), nil
}

// regularSize is how many bytes a regular file still has to give, or -1.
func regularSize(r io.Reader) int64 {
	file, ok := r.(*os.File)
	if !ok {
		return -1
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return -1
	}
	return max(0, info.Size()-at)
}

// looksLikePath reports whether a word is ALIAS:PATH.
func looksLikePath(s string) bool {
	alias, _, found := strings.Cut(s, ":")
	return found && alias != "" && !strings.ContainsAny(alias, `/\`) && !isCap(s)
}

func isCap(s string) bool {
	_, err := caps.Parse(s)
	return err == nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// unwrapStored takes the sentence's own "The file was not stored: " off, which
// the command says itself.
func unwrapStored(err error) error {
	refused, ok := errors.AsType[*webclient.Error](err)
	if !ok {
		return err
	}
	short := *refused
	short.Sentence = strings.TrimPrefix(short.Sentence, "The file was not stored: ")
	return &short
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func seconds(since time.Time) float64 {
	return float64(time.Since(since).Milliseconds()) / 1000
}
