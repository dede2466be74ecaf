package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/backup"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// backupFlags are the options of `tahoe backup`.
type backupFlags struct {
	storeFlags
	meterFlags
	verbose, ignoreTimestamps, excludeVCS, dryRun bool
	exclude, excludeFrom                          []string
}

func (a *app) backupCmd() *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use:   "backup FROM ALIAS:TO",
		Short: "keep a dated copy of a folder, sending only what is new",
		Long: "Copies a folder of this machine into TO/Archives/DATE on the grid, as directories and files that never change,\n" +
			"and has TO/Latest lead to it. What earlier backups have stored is used again: files that have not changed since, as\n" +
			"their size and times tell, are not read, and directories with the same content are not made anew.\n" +
			"A backup that was broken off goes on where it was when it is run again.\n\n" +
			"Symbolic links, pipes and what cannot be read are left out with a warning; the exit code is then 2.",
		Example: "  tahoe backup ~/letters tahoe:backups/letters\n  tahoe backup --exclude-vcs --exclude '*.o' ~/src work:src\n  tahoe backup --dry-run -v ~/letters tahoe:backups/letters",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backup(cmd.Context(), args[0], args[1], &f)
		},
	}
	f.storeFlags.addStore(c)
	f.meterFlags.add(c)
	a.completeSecond(c, &f.storeFlags)
	fs := c.Flags()
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say what becomes of each file")
	fs.BoolVar(&f.dryRun, "dry-run", false, "store nothing, only say what would be stored; the node need not run")
	fs.BoolVar(&f.ignoreTimestamps, "ignore-timestamps", false, "read and send every file, changed or not")
	fs.StringArrayVar(&f.exclude, "exclude", nil, "leave out files and folders whose names match `GLOB`; may be given several times")
	fs.StringArrayVar(&f.excludeFrom, "exclude-from-utf-8", nil, "leave out what matches the patterns in `FILE`, one a line")
	fs.BoolVar(&f.excludeVCS, "exclude-vcs", false, "leave out what version control systems keep: CVS, .git, .svn and others")
	return c
}

// backup makes one.
func (a *app) backup(ctx context.Context, from, to string, f *backupFlags) error {
	ex, err := f.patterns()
	if err != nil {
		return err
	}
	from, err = filepath.Abs(from)
	if err != nil {
		return fail("", "%v", err)
	}
	target, err := a.remote(&f.storeFlags, to)
	if err != nil {
		return err
	}
	db, err := a.backupDB(f.dryRun)
	if err != nil {
		return err
	}
	defer db.Close()
	var gw *webclient.Client // not wanted in a dry run
	if !f.dryRun {
		if gw, err = a.gateway(&f.storeFlags); err != nil {
			return err
		}
		defer gw.Close()
	}
	m, err := a.meter(&f.meterFlags)
	if err != nil {
		return err
	}
	meter := &backupMeter{meter: m}
	r, err := backup.Run(ctx, backup.Config{
		Gateway: backupGateway{gw}, Target: &backupTarget{gw: gw, at: target.Place, word: target.word}, DB: db, From: from, Exclude: ex,
		IgnoreTimestamps: f.ignoreTimestamps, DryRun: f.dryRun,
		Warn:     func(s backup.Skipped) { meter.line(a.Stderr, "WARNING: "+s.String()) },
		Verbose:  a.verboseBackup(f, meter),
		Progress: meter.report(),
	})
	meter.end()
	if err != nil {
		return backupError(err)
	}
	if err := a.reportBackup(f, r); err != nil {
		return err
	}
	if r.Files.Skipped+r.Folders.Skipped > 0 {
		return &exitError{Code: exitProblems} // the warnings have said why
	}
	return nil
}

// patterns are what is left out.
func (f *backupFlags) patterns() (*backup.Exclude, error) {
	ex := new(backup.Exclude)
	ex.Add(f.exclude...)
	for _, file := range f.excludeFrom {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fail("", "reading the patterns of --exclude-from-utf-8: %v", err)
		}
		if !utf8.Valid(text) {
			return nil, fail("save it as UTF-8", "the patterns in %s are not UTF-8", file)
		}
		ex.AddLines(string(text))
	}
	if f.excludeVCS {
		ex.Add(backup.VCS...)
	}
	return ex, nil
}

// backupDB opens the node's database of what was stored.
func (a *app) backupDB(look bool) (*backup.DB, error) {
	dir, err := a.nodeDir("", "")
	if err != nil {
		return nil, err
	}
	open := backup.Open
	if look {
		open = backup.OpenReadOnly
	}
	db, err := open(filepath.Join(dir, "private", "backupdb.sqlite"))
	if err != nil {
		if _, e := os.Stat(filepath.Join(dir, "private")); e != nil {
			return nil, fail("name the node's directory with -d DIR: what was stored is remembered there", "%s is not a node directory", dir)
		}
		return nil, fail("", "%v", err)
	}
	return db, nil
}

// backupError says what ended a backup, and that nothing is lost.
func backupError(err error) error {
	if said, ok := errors.AsType[*exitError](err); ok {
		return said
	}
	const goOn = "what was stored is remembered: run the same command again, and it goes on"
	what := "the backup was not made"
	stop, stopped := errors.AsType[*backup.StoppedError](err)
	if stopped {
		what, err = stop.What(), stop.Err
	}
	err = storeError(what, err, exitFailed)
	if e, ok := errors.AsType[*exitError](err); ok && e.Hint == "" && (stopped || e.Code == exitInterrupted) {
		e.Hint = goOn
	}
	return err
}

// reportBackup prints what was done.
func (a *app) reportBackup(f *backupFlags, r *backup.Result) error {
	if f.json {
		facts := map[string]any{
			"files": r.Files, "directories": r.Folders, "bytes": r.Bytes, "new-bytes": r.NewBytes,
			"seconds": float64(r.Elapsed.Milliseconds()) / 1000, "dry-run": f.dryRun, "skipped": skippedPaths(r.Skipped),
		}
		if r.Root != nil {
			facts["cap"], facts["archive"] = r.Root.Reveal(), r.Name
		}
		return a.printJSON(facts)
	}
	uploaded, created := "uploaded", "created"
	if f.dryRun {
		uploaded, created = "would be uploaded", "would be created"
	}
	fmt.Fprintf(a.Stdout, " %d files %s (%d reused), %d files skipped, %d directories %s (%d reused), %d directories skipped\n",
		r.Files.New, uploaded, r.Files.Reused, r.Files.Skipped, r.Folders.New, created, r.Folders.Reused, r.Folders.Skipped)
	if f.verbose {
		checked := "checked"
		if f.dryRun {
			checked = "would be checked"
		}
		fmt.Fprintf(a.Stdout, " %d files %s, %d directories %s\n", r.Files.Checked, checked, r.Folders.Checked, checked)
	}
	if f.dryRun {
		_, err := fmt.Fprintln(a.Stdout, " dry run: nothing was stored")
		return err
	}
	_, err := fmt.Fprintf(a.Stdout, " backup done, elapsed time: %s\n", clock(r.Elapsed))
	return err
}

func skippedPaths(skipped []backup.Skipped) []map[string]string {
	out := []map[string]string{}
	for _, s := range skipped {
		out = append(out, map[string]string{"path": s.Path, "warning": s.String()})
	}
	return out
}

// clock is a duration as the Python program prints it: 1:02:03.
func clock(d time.Duration) string {
	s := int64(d / time.Second)
	text := fmt.Sprintf("%d:%02d:%02d", s/3600%24, s/60%60, s%60)
	switch days := s / 86400; days {
	case 0:
	case 1:
		text = "1 day, " + text
	default:
		text = fmt.Sprintf("%d days, %s", days, text)
	}
	return text
}

// verboseBackup prints what becomes of each file, with -v.
func (a *app) verboseBackup(f *backupFlags, m *backupMeter) func(backup.Event) {
	if !f.verbose {
		return nil
	}
	w := a.Stdout
	if f.json {
		w = a.Stderr
	}
	return func(e backup.Event) { m.line(w, backupWords(e, f.dryRun)) }
}

func backupWords(e backup.Event, dry bool) string {
	path := backup.Quote(e.Path)
	switch e.What {
	case backup.Uploading:
		if dry {
			return "would upload " + path
		}
		return "uploading " + path + ".."
	case backup.Uploaded:
		return " stored " + path
	case backup.Reusing:
		return "skipping " + path + ".."
	case backup.Checking:
		if dry {
			return "would check " + path
		}
		return "checking " + path
	case backup.MakingFolder:
		if dry {
			return " would create directory for " + path
		}
		return " creating directory for " + path
	}
	return " re-using old directory for " + path
}

// backupGateway is the gateway as a backup wants it.
type backupGateway struct{ *webclient.Client }

func (g backupGateway) Put(ctx context.Context, r io.Reader, size int64) (caps.Cap, error) {
	return g.Client.Put(ctx, r, size, webclient.PutOptions{})
}

func (g backupGateway) MkdirImmutable(ctx context.Context, children map[string]backup.Child) (caps.Cap, error) {
	links := make(map[string]webclient.Child, len(children))
	for name, c := range children {
		links[name] = webclient.Child{Cap: c.Cap, Metadata: c.Metadata}
	}
	return g.Mkdir(ctx, webclient.Place{}, webclient.MkdirOptions{Immutable: true, Children: links})
}

// Check asks for the health of c. What cannot be checked counts as unwell.
func (g backupGateway) Check(ctx context.Context, c caps.Cap) (healthy bool, err error) {
	text, err := g.Client.Check(ctx, webclient.At(c), webclient.CheckOptions{})
	if _, refused := errors.AsType[*webclient.Error](err); refused {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var checked webclient.Checked
	return json.Unmarshal(text, &checked) == nil && checked.Results.Healthy, nil
}

// backupTarget is the directory with Archives and Latest.
type backupTarget struct {
	gw   *webclient.Client
	at   webclient.Place
	word string // to be shown
}

const archives = "Archives"

// Prepare makes Archives unless it is there.
func (t *backupTarget) Prepare(ctx context.Context) error {
	node, err := t.gw.Look(ctx, t.at.Child(archives))
	if e, ok := errors.AsType[*webclient.Error](err); ok && e.Status == http.StatusNotFound {
		if _, err := t.gw.Mkdir(ctx, t.at.Child(archives), webclient.MkdirOptions{}); err != nil {
			return storeError("making "+archives+" in "+t.word, err, exitFailed)
		}
		return nil
	}
	switch {
	case err != nil:
		return storeError("looking for "+archives+" in "+t.word, err, exitFailed)
	case node.Type != webclient.Dir:
		return fail("back up to another directory", "%s in %s is not a directory", archives, t.word)
	case node.Write == nil:
		return fail("backups need a cap that can write", "the directory %s in %s cannot be changed with this cap", archives, t.word)
	}
	return nil
}

// Publish links a backup.
func (t *backupTarget) Publish(ctx context.Context, name string, root caps.Cap) error {
	for _, at := range []webclient.Place{t.at.Child(archives).Child(name), t.at.Child("Latest")} {
		if err := t.gw.Link(ctx, at, root, webclient.Always); err != nil {
			return storeError("linking the backup in "+t.word, err, exitFailed)
		}
	}
	return nil
}
