package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// putFlags are the options of put.
type putFlags struct {
	store   storeFlags
	meter   meterFlags
	mutable bool
	format  string
	key     string // file of an RSA key
}

func (a *app) putCmd() *cobra.Command {
	var f putFlags
	c := &cobra.Command{
		Use:   "put [FILE|-] [REMOTE]",
		Short: "store a file and print its cap",
		Long: "Stores a file, or standard input, on the grid and prints its cap. Without REMOTE the cap is the only access to it.\n" +
			"REMOTE is ALIAS:PATH, or CAP/PATH; what ends with a slash gets the file's name. A mutable file that is there is\n" +
			"written over and keeps its cap; so is one whose cap, which must grant writing, is given as REMOTE.",
		Example: "  tahoe put holiday.jpg > holiday.cap\n  tahoe put holiday.jpg photos:2024/\n  tahoe put --mutable notes.txt > notes.cap\n" +
			"  tahoe put notes.txt @notes.cap\n  tar c photos | tahoe put",
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.format = strings.ToUpper(f.format)
			switch f.format {
			case "", "CHK", "SDMF", "MDMF":
			default:
				return fail("", "--format is CHK, SDMF or MDMF, not %q", f.format)
			}
			if f.mutable && f.format == "" {
				f.format = "SDMF"
			}
			if f.key != "" && (f.format == "" || f.format == "CHK") {
				return fail("add --mutable", "--private-key-path is for mutable files")
			}
			if err := noEmpty(cmd, args); err != nil {
				return err
			}
			return a.put(cmd.Context(), operand(args), operand(args[min(1, len(args)):]), &f)
		},
	}
	f.store.addStore(c)
	f.meter.add(c)
	c.Flags().BoolVarP(&f.mutable, "mutable", "m", false, "make a mutable file, which can be written over")
	c.Flags().StringVar(&f.format, "format", "", "`FORMAT` is CHK (immutable, the default), SDMF (mutable) or MDMF (mutable, for large files)")
	c.Flags().StringVar(&f.key, "private-key-path", "", "use the RSA key in `FILE` (PEM, 2048 bits) for a mutable file; it determines the cap")
	complete(c, "format", "CHK", "SDMF", "MDMF")
	a.completeSecond(c, &f.store)
	return c
}

// put stores one file.
func (a *app) put(ctx context.Context, name, where string, f *putFlags) error {
	at, err := a.putPlace(name, where, &f.store)
	if err != nil {
		return err
	}
	key, err := readKey(f.key)
	if err != nil {
		return err
	}
	src, size, err := a.source(name)
	if err != nil {
		return err
	}
	defer src.Close()
	gw, err := a.gateway(&f.store)
	if err != nil {
		return err
	}
	defer gw.Close()
	meter, err := a.meter(&f.meter)
	if err != nil {
		return err
	}
	start := time.Now()
	counted := &countingReader{r: src}
	cap, created, err := gw.PutAt(ctx, at, counted, size, webclient.PutOptions{Format: f.format, PrivateKey: key, Progress: meter.report()})
	meter.end()
	if err != nil {
		return storeError("the file was not stored", unwrapStored(err), exitFailed)
	}
	if f.store.json {
		facts := map[string]any{"cap": cap.Reveal(), "size": counted.n, "seconds": seconds(start)}
		if at.Cap != nil {
			facts["created"] = created
		}
		return a.printJSON(facts)
	}
	if created && at.Cap != nil { // as scripts for the Python program expect
		fmt.Fprintln(a.Stderr, "201 Created")
	} else {
		fmt.Fprintln(a.Stderr, "200 OK")
	}
	meter.summary("stored", counted.n, start)
	_, err = fmt.Fprintln(a.Stdout, cap.Reveal())
	return err
}

// putPlace says where a file is to be put: nowhere, if where is empty.
func (a *app) putPlace(name, where string, f *storeFlags) (webclient.Place, error) {
	if where == "" {
		return webclient.Place{}, nil
	}
	root, path, found := strings.Cut(where, ":")
	if !found || strings.HasPrefix(where, "/") {
		root, path = "", where
	}
	if strings.HasPrefix(path, "/") && !isAddress(where) {
		better := strings.TrimLeft(path, "/")
		if root != "" {
			better = root + ":" + better
		}
		return webclient.Place{}, fail("try again, perhaps with "+quoteName(redactWord(better)), "a name on the grid must not begin with a slash")
	}
	r, err := a.remote(f, where)
	if err != nil {
		return r.Place, err
	}
	if (caps.IsDir(r.Cap) || caps.Mutable(r.Cap)) && !caps.Writable(r.Cap) { // told before all of the file is sent
		return r.Place, fail("", "the file was not stored: %s can only be read", r.word)
	}
	if r.slash || len(r.Path) == 0 && caps.IsDir(r.Cap) {
		if name == "" || name == "-" {
			return r.Place, fail("write the file's name behind it", "%s is a directory, and standard input has no name", r.word)
		}
		r.Place = r.Child(norm.NFC.String(filepath.Base(name)))
	}
	return r.Place, nil
}

// source opens what is to be stored; size is -1 if it is not known.
func (a *app) source(name string) (io.ReadCloser, int64, error) {
	if name == "" || name == "-" {
		if a.stdinUsed {
			return nil, 0, fail("put the cap in a file: @FILE", "standard input cannot give both a cap and the file to store")
		}
		if isTerminal(a.Stdin) {
			fmt.Fprintln(a.Stderr, "reading the file from the terminal; Ctrl-D ends it")
		}
		return io.NopCloser(a.Stdin), regularSize(a.Stdin), nil
	}
	file, err := os.Open(name)
	if err != nil {
		if isRemote(name) {
			return nil, 0, fail("to copy on the grid: tahoe cp, or tahoe ln", "put stores a file of this machine, and there is none called %s", redactWord(name))
		}
		return nil, 0, fail("", "%v", err)
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		file.Close()
		return nil, 0, fail("to store all that is in it: tahoe cp -r "+shellWord(name)+" ALIAS:", "%s is a folder", name)
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
