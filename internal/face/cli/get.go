package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/durable"
)

func (a *app) getCmd() *cobra.Command {
	var f storeFlags
	var m meterFlags
	var capFile string
	c := &cobra.Command{
		Use:   "get CAP|- [FILE|-]",
		Short: "fetch a file by its cap",
		Long: "Fetches a file and writes it to FILE, or to standard output. With - for the cap, or with\n" +
			"--cap-file, the cap is read from standard input or from a file, where no other user of this\n" +
			"machine sees it. FILE appears only once it is complete. Options stand before the cap.",
		Example: "  tahoe get --cap-file=holiday.cap holiday.jpg\n  tahoe get - copy.jpg < holiday.cap",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if capFile == "" && len(args) == 0 {
				return usage(cmd, "get needs a cap, - or --cap-file=FILE")
			}
			if capFile == "" {
				capFile, args = args[0], args[1:]
				if capFile != "-" {
					return a.getNamed(cmd.Context(), capFile, operand(args), &f, &m)
				}
			}
			if len(args) > 1 {
				return usage(cmd, "with --cap-file there is one operand at most, the file to write")
			}
			text, err := a.readCap(capFile)
			if err != nil {
				return err
			}
			return a.get(cmd.Context(), text, operand(args), &f, &m)
		},
	}
	f.add(c.Flags())
	m.add(c)
	c.Flags().StringVar(&capFile, "cap-file", "", "read the cap from `FILE`, or - for standard input")
	return c
}

// getNamed takes the cap from the command line.
func (a *app) getNamed(ctx context.Context, word, to string, f *storeFlags, m *meterFlags) error {
	if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(word, "ro."), "imm."), "URI:") {
		fmt.Fprintln(a.Stderr, "note: while this runs, other users of this machine can see the cap (ps); --cap-file=FILE hides it")
	}
	return a.get(ctx, word, to, f, m)
}

// readCap reads the first line of a file, or of standard input.
func (a *app) readCap(name string) (string, error) {
	var r io.Reader = a.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", fail("", "%v", err)
		}
		defer file.Close()
		r = file
	}
	line, err := bufio.NewReader(io.LimitReader(r, caps.MaxLength+2)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fail("", "reading the cap: %v", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", fail("", "there is no cap in %s", firstOf(strings.TrimPrefix(name, "-"), "standard input"))
	}
	return line, nil
}

// parseCap reads a cap, and tells what is none from what is for later.
func parseCap(text string) (caps.Cap, error) {
	c, err := caps.Parse(text)
	if err == nil {
		return c, nil
	}
	if cap, _, found := strings.Cut(text, "/"); found && isCap(cap) {
		return nil, fail("", "files in directories are not supported yet: give the file's own cap")
	}
	if !strings.Contains(text, "URI:") {
		return nil, fail("give the file's cap, which begins with URI:", "aliases and paths are not supported yet")
	}
	return nil, fail("it may have been cut: check that it was copied whole", "this is not a valid cap: %v", err)
}

// get fetches one file.
func (a *app) get(ctx context.Context, text, to string, f *storeFlags, m *meterFlags) error {
	cap, err := parseCap(text)
	if err != nil {
		return err
	}
	toStdout := to == "" || to == "-"
	if f.json && toStdout {
		return fail("name a file to write", "--json and the file's bytes do not both fit on standard output")
	}
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
	fetch := func(w io.Writer) (int64, error) {
		n, err := gw.Get(ctx, cap, w, webclient.GetOptions{Progress: meter.report()})
		meter.end()
		return n, err
	}
	if toStdout {
		if _, err := fetch(a.Stdout); err != nil {
			return storeError("the file was not fetched", err, exitFailed)
		}
		return nil
	}
	n, err := writeFile(to, fetch)
	if err != nil {
		return storeError("the file was not fetched", err, exitFailed)
	}
	if f.json {
		return a.printJSON(map[string]any{"file": to, "size": n, "seconds": seconds(start)})
	}
	fmt.Fprintf(a.Stderr, "retrieved and written to %s\n", to)
	meter.summary("fetched", n, start)
	return nil
}

// writeFile has fill write a file that appears when it is complete. What is no
// regular file, such as a pipe, is written to as it is.
func writeFile(name string, fill func(io.Writer) (int64, error)) (int64, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return 0, fmt.Errorf("%s is a folder: name the file to write", name)
	case err == nil && !info.Mode().IsRegular():
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		n, err := fill(file)
		return n, errors.Join(err, file.Close())
	}
	if info != nil {
		if target, err := filepath.EvalSymlinks(name); err == nil {
			name = target // replace what the link names, not the link
		}
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return 0, err
	}
	defer root.Close()
	file, err := durable.FS{Root: root}.Create(filepath.Base(name), 0o666)
	if err != nil {
		return 0, err
	}
	defer file.Abort()
	buffered := bufio.NewWriterSize(file, 256<<10)
	n, err := fill(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return n, err
	}
	return n, file.Commit()
}
