package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// cpFlags are the options of cp.
type cpFlags struct {
	store    storeFlags
	meter    meterFlags
	recurse  bool
	verbose  bool
	capsOnly bool
	dryRun   bool
	parallel int
}

func (a *app) cpCmd() *cobra.Command {
	var f cpFlags
	c := &cobra.Command{
		Use:   "cp FROM... TO",
		Short: "copy files and directories to the grid, from it, or on it",
		Long: "Copies files, and with -r directories with all below them. ALIAS:PATH, caps, @FILE for a cap in a file, and addresses of\n" +
			"a gateway's pages are on the grid; all else are files of this machine (./a:b if the name has a colon).\n" +
			"A directory becomes one of the same name in TO, which is made if it is not there; what a cap by itself stands for goes\n" +
			"straight into TO. Files that are there are replaced; mutable ones on the grid are written over and keep their caps.\n" +
			"On the grid, immutable files are linked rather than copied, and of mutable ones what they hold now is copied.",
		Example: "  tahoe cp -r holiday photos:\n  tahoe cp -r photos:holiday /mnt/disk\n  tahoe cp --dry-run -r @friend.cap home:friends",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.parallel < 1 || f.parallel > 64 {
				return fail("", "--parallel is a number from 1 to 64")
			}
			return a.cp(cmd.Context(), args[:len(args)-1], args[len(args)-1], &f)
		},
	}
	f.store.addStore(c)
	f.meter.add(c)
	c.Flags().BoolVarP(&f.recurse, "recursive", "r", false, "copy directories with all below them")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say on standard error what has been done")
	c.Flags().BoolVar(&f.capsOnly, "caps-only", false, "when copying to this machine, write files' read caps instead of what they hold")
	c.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "say what would be done, and do nothing")
	c.Flags().IntVar(&f.parallel, "parallel", 8, "copy `N` files at a time")
	c.Flags().MarkHidden("dir-cap") // without alias, a path is one of this machine
	a.completeEither(c, &f.store)
	return c
}

// copying is a cp under way.
type copying struct {
	*app
	f     *cpFlags
	gw    *webclient.Client
	meter *copyMeter
	count int // of things found; scan's lock guards it

	listings map[caps.Cap]webclient.Node // that lookAhead has read
}

func (a *app) cp(ctx context.Context, from []string, to string, f *cpFlags) error {
	start := time.Now()
	target, err := a.cpTarget(&f.store, to)
	if err != nil {
		return err
	}
	places := make([]remote, len(from))
	for i, word := range from {
		if isRemote(word) {
			if places[i], err = a.remote(&f.store, word); err != nil {
				return err
			}
		}
	}
	gw, err := a.gateway(&f.store)
	if err != nil {
		return err
	}
	defer gw.Close()
	meter, err := a.copyMeter(&f.meter, f.verbose)
	if err != nil {
		return err
	}
	defer meter.end()
	c := &copying{app: a, f: f, gw: gw, meter: meter}
	sources, err := c.begin(ctx, target, from, places)
	if err != nil {
		return err
	}
	if err := c.rules(sources, target); err != nil {
		return err
	}
	if target.file || target.missing && len(sources) == 1 && !sources[0].dir {
		return c.copyOne(ctx, sources[0], target, start)
	}
	if err := c.scan(ctx, sources); err != nil {
		return err
	}
	if err := c.lookAhead(ctx, target, sources); err != nil {
		return err
	}
	for _, t := range sources {
		if err := c.place(ctx, target, t); err != nil {
			return err
		}
	}
	return c.copyAll(ctx, target, start)
}

// begin looks at the target and at all sources, at once. Of several errors the
// first counts, as if it had been done in order.
func (c *copying) begin(ctx context.Context, target *dest, from []string, places []remote) ([]*thing, error) {
	sources, errs := make([]*thing, len(from)), make([]error, len(from)+1)
	slots := make(chan struct{}, c.f.parallel)
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = c.look(ctx, target) })
	for i, word := range from {
		slots <- struct{}{}
		wg.Go(func() {
			sources[i], errs[i+1] = c.source(ctx, word, places[i])
			<-slots
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return sources, nil
}

// cpTarget reads where to copy to.
func (a *app) cpTarget(f *storeFlags, word string) (*dest, error) {
	if !isRemote(word) {
		return &dest{path: word, shown: word, slash: strings.HasSuffix(word, "/")}, nil
	}
	r, err := a.remote(f, word)
	return &dest{grid: true, at: r.Place, shown: r.word, slash: r.slash}, err
}

// look finds out what is there.
func (c *copying) look(ctx context.Context, d *dest) error {
	if !d.grid {
		info, err := os.Stat(d.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.missing = true
		case err != nil:
			return fail("", "%v", err)
		default:
			d.file = !info.IsDir()
		}
		return nil
	}
	n, known := c.listings[d.at.Cap]
	var err error
	if !known || len(d.at.Path) > 0 {
		n, err = c.gw.Look(ctx, d.at)
	}
	switch {
	case isStatus(err, 404) && len(d.at.Path) > 0:
		d.missing = true
	case err != nil:
		return storeError("nothing was copied: "+d.shown, err, exitFailed)
	case n.Type == webclient.Dir && n.Write == nil:
		return fail("", "%s can only be read", d.shown)
	case n.Type == webclient.Dir:
		d.at, d.have = webclient.At(n.Write), n.Children
	default:
		d.file, d.node = true, n
	}
	return nil
}

// rules are what goes where, as the Python program has it.
func (c *copying) rules(sources []*thing, target *dest) error {
	for _, s := range sources {
		if s.dir && !c.f.recurse {
			return fail("use -r", "%s is a directory, and directories are copied with --recursive only", s.shown)
		}
	}
	toFile := target.file || target.missing && len(sources) == 1 && !sources[0].dir
	switch {
	case toFile && target.slash:
		return fail("", "%s is not a directory, but ends with a slash", target.shown)
	case toFile && len(sources) > 1:
		return fail("", "%s is a file, and to copy several things takes a directory", target.shown)
	case toFile && sources[0].dir:
		return fail("", "%s is a file, and a directory cannot be copied over it", target.shown)
	case toFile:
		return nil
	}
	for _, s := range sources {
		if !s.dir && s.name == "" {
			return fail("write the name behind the directory", "%s has no name that it could have in %s", s.shown, target.shown)
		}
	}
	return nil
}

// copyOne copies one file to a place of its own.
func (c *copying) copyOne(ctx context.Context, t *thing, target *dest, start time.Time) error {
	j := &job{from: t, into: target, to: target.shown}
	if target.grid && target.node.Mutable {
		j.over = target.at
	}
	linked := j.linked()
	if c.f.dryRun {
		return c.showPlan([]*job{j}, 0)
	}
	c.meter.begin(1, t.size)
	var err error
	switch {
	case !target.grid:
		err = c.fetch(ctx, j, target.path)
	case linked:
		err = c.linkOne(ctx, t, target)
	default:
		j.over = target.at
		err = c.send(ctx, j)
	}
	c.meter.end()
	if err != nil {
		return storeError(t.shown+" was not copied", unwrapStored(err), exitFailed)
	}
	what := "file copied"
	if linked {
		what = "file linked"
	}
	return c.success(what, result{Files: 1, Bytes: j.moved, Linked: ones(linked)}, start)
}

// linkOne links a file of the grid at another place.
func (c *copying) linkOne(ctx context.Context, t *thing, target *dest) error {
	if len(target.at.Path) == 0 {
		return fail("", "%s is an immutable file, and cannot be written over", target.shown)
	}
	return linkAt(ctx, c.gw, remote{Place: target.at, word: target.shown}, t.node)
}

// result is what came of a copy.
type result struct {
	Files       int      `json:"files"`
	Linked      int      `json:"linked"` // of the files
	Directories int      `json:"directories"`
	Bytes       int64    `json:"bytes"`
	Failed      []string `json:"failed,omitempty"`
	Seconds     float64  `json:"seconds"`
}

func ones(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *copying) success(what string, r result, start time.Time) error {
	if c.f.store.json {
		r.Seconds = seconds(start)
		return c.printJSON(r)
	}
	c.meter.summary(r, start)
	_, err := fmt.Fprintf(c.Stdout, "Success: %s\n", what)
	return err
}
