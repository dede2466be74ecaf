package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

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
		Use:   "get REMOTE [FILE|-]",
		Short: "fetch a file",
		Long: "Fetches a file and writes it to FILE, or to standard output. FILE appears only once it is complete;\n" +
			"if it is a folder, the file gets its name on the grid. REMOTE is ALIAS:PATH, CAP, CAP/PATH, or @FILE for a\n" +
			"cap in a file, which no other user of this machine sees; - reads the cap from standard input.",
		Example: "  tahoe get photos:2024/holiday.jpg holiday.jpg\n  tahoe get @holiday.cap holiday.jpg\n  tahoe get - copy.jpg < holiday.cap",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case capFile != "":
				if len(args) > 1 {
					return usage(cmd, "with --cap-file there is one operand at most, the file to write")
				}
				args = append([]string{"@" + capFile}, args...)
			case len(args) == 0:
				return usage(cmd, "get needs the file's path, its cap, - or --cap-file=FILE")
			case args[0] == "-":
				args[0] = "@-"
			}
			if err := noEmpty(cmd, args[1:]); err != nil {
				return err
			}
			r, err := a.remote(&f, args[0])
			if err != nil {
				return err
			}
			return a.get(cmd.Context(), r, operand(args[1:]), &f, &m)
		},
	}
	f.addStore(c)
	m.add(c)
	c.Flags().StringVar(&capFile, "cap-file", "", "read the cap from `FILE`, or - for standard input")
	a.completeRemote(c, &f)
	return c
}

// readCap reads the first line of a file, or of standard input.
func (a *app) readCap(name string) (string, error) {
	var r io.Reader = a.Stdin
	if name == "-" {
		if a.stdinUsed {
			return "", fail("put the others in files", "only one cap can come from standard input")
		}
		a.stdinUsed = true
	} else {
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

// get fetches one file.
func (a *app) get(ctx context.Context, from remote, to string, f *storeFlags, m *meterFlags) error {
	if len(from.Path) == 0 && caps.IsDir(from.Cap) {
		return fail("to copy all that is in it: tahoe cp -r", "%s is that of a directory", firstOf(from.word, "the cap"))
	}
	toStdout := to == "" || to == "-"
	if info, err := os.Stat(to); err == nil && info.IsDir() && from.name() != "" {
		if !storable(from.name()) {
			return fail("name the file to write", "%s cannot be the name of a file here", quoteName(from.name()))
		}
		to = filepath.Join(to, from.name())
	}
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
	failed := func(err error) error {
		if errors.Is(err, webclient.ErrDirectory) {
			return fail("to copy all that is in it: tahoe cp -r", "%s is a directory", from.word)
		}
		return storeError("the file was not fetched", err, exitFailed)
	}
	start := time.Now()
	fetch := func(w io.Writer) (int64, error) {
		n, err := gw.Get(ctx, from.Cap, w, webclient.GetOptions{Path: from.Path, Progress: meter.report()})
		meter.end()
		return n, err
	}
	if toStdout {
		if _, err := fetch(a.Stdout); err != nil {
			return failed(err)
		}
		return nil
	}
	n, err := writeFile(to, fetch)
	if err != nil {
		return failed(err)
	}
	if f.json {
		return a.printJSON(map[string]any{"file": to, "size": n, "seconds": seconds(start)})
	}
	fmt.Fprintf(a.Stderr, "retrieved and written to %s\n", quoteName(to))
	meter.summary("fetched", n, start)
	return nil
}

// maxLocalName is how long a name here may be, in bytes: no file system in use
// takes longer ones.
const maxLocalName = 255

// storable reports whether a name of the grid can be that of a file in a
// folder here, and leads nowhere else.
func storable(name string) bool {
	return name != "." && len(name) <= maxLocalName && filepath.IsLocal(name) && filepath.Base(name) == name && !strings.ContainsAny(name, "/\x00") && utf8.ValidString(name) &&
		(runtime.GOOS != "windows" || !strings.ContainsAny(name, `<>:"\|?*`))
}

// writeFile has fill write a file that appears when it is complete. It takes
// the place of one that is there and may be written, and has its permissions.
// What is no regular file, such as a pipe, is written to as it is.
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
	perm := fs.FileMode(0o666) // less the umask
	if info != nil {
		if target, err := filepath.EvalSymlinks(name); err == nil {
			name = target // replace what the link names, not the link
		}
		old, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		old.Close()
		perm = info.Mode().Perm()
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return 0, err
	}
	defer root.Close()
	file, err := durable.FS{Root: root}.Create(filepath.Base(name), perm)
	if err != nil {
		return 0, err
	}
	defer file.Abort()
	if info != nil {
		if err := file.Chmod(perm); err != nil {
			return 0, err
		}
	}
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
