package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tahoe-go/internal/face/webclient"
)

// dest is a directory that is copied into, on the grid or here; or, of a copy
// of a single file, that file.
type dest struct {
	shown   string
	slash   bool // it was written with a slash at the end
	missing bool // nothing is there
	file    bool // a file is there

	grid bool
	at   webclient.Place           // if it is there, its cap
	have map[string]webclient.Node // what it holds
	node webclient.Node            // of a file

	path string // of a folder, or file, here

	jobs  []*job
	dirs  []*dest
	names map[string]*dest // what goes into it: nil for files
	name  string
}

// job is one file to copy.
type job struct {
	from *thing
	into *dest
	to   string          // to be shown
	over webclient.Place // where to write on the grid; no place: it gets a cap, which is linked later

	child webclient.Child // what came of it
	done  bool
	moved int64 // bytes
}

// place says where a source and all below it are to go.
func (c *copying) place(ctx context.Context, d *dest, t *thing) error {
	if !t.dir {
		return c.placeFile(d, t)
	}
	into := d
	if t.name != "" {
		var err error
		if into, err = c.placeDir(ctx, d, t); err != nil {
			return err
		}
	}
	for _, child := range t.children {
		if err := c.place(ctx, into, child); err != nil {
			return err
		}
	}
	return nil
}

func (d *dest) below(name string) string {
	switch {
	case !d.grid:
		return filepath.Join(d.path, name)
	case d.shown == "" || d.shown[len(d.shown)-1] == ':':
		return d.shown + quoteName(name)
	}
	return d.shown + "/" + quoteName(name)
}

// shownBelow is what below a name is to be shown as.
func (d *dest) shownBelow(name string) string {
	if d.grid {
		return d.below(name)
	}
	return quoteName(d.below(name))
}

func (c *copying) placeFile(d *dest, t *thing) error {
	if !c.fits(d, t) {
		return nil
	}
	if _, taken := d.names[t.name]; taken {
		return fail("", "two of the sources would be %s", d.shownBelow(t.name))
	}
	j := &job{from: t, into: d, to: d.shownBelow(t.name)}
	if d.grid {
		old, there := d.have[t.name]
		switch {
		case there && old.Type == webclient.Dir:
			return fail("", "%s is a directory, and a file cannot be copied over it", d.shownBelow(t.name))
		case there && old.Mutable && old.Write != nil:
			j.over = webclient.At(old.Write)
		}
	} else if info, err := os.Stat(d.below(t.name)); err == nil && info.IsDir() {
		return fail("", "%s is a folder, and a file cannot be copied over it", d.shownBelow(t.name))
	}
	d.take(t.name, nil)
	d.jobs = append(d.jobs, j)
	return nil
}

func (d *dest) take(name string, sub *dest) {
	if d.names == nil {
		d.names = map[string]*dest{}
	}
	d.names[name] = sub
}

// fits reports whether a thing of the grid can be kept here.
func (c *copying) fits(d *dest, t *thing) bool {
	switch {
	case d.grid:
		return true
	case !storable(t.name):
		c.meter.failed(t.shown, fmt.Errorf("its name cannot be that of a file here"))
		return false
	case t.file == "" && t.node.Type == webclient.Unknown && !c.f.capsOnly:
		c.meter.failed(t.shown, fmt.Errorf("it was made by a later version, and cannot be read"))
		return false
	}
	return true
}

// placeDir returns the directory for a source, which may be there already.
func (c *copying) placeDir(ctx context.Context, d *dest, t *thing) (*dest, error) {
	if !c.fits(d, t) {
		return &dest{grid: d.grid, path: os.DevNull, missing: true}, nil // nowhere
	}
	sub, taken := d.names[t.name]
	switch {
	case taken && sub == nil:
		return nil, fail("", "two of the sources would be %s", d.shownBelow(t.name))
	case taken:
		return sub, nil
	}
	sub = &dest{grid: d.grid, shown: d.shownBelow(t.name), name: t.name, missing: true}
	if d.grid {
		if old, there := d.have[t.name]; there {
			if old.Type != webclient.Dir {
				return nil, fail("", "%s is a file, and a directory cannot be copied over it", sub.shown)
			}
			sub.missing, sub.at = false, webclient.At(old.Cap())
			if err := c.look(ctx, sub); err != nil {
				return nil, err
			}
		}
	} else {
		sub.path = d.below(t.name)
		if !d.missing {
			sub.missing = false // unless look says so
			if err := c.look(ctx, sub); err != nil {
				return nil, err
			}
		}
		if sub.file {
			return nil, fail("", "%s is a file, and a directory cannot be copied over it", sub.shown)
		}
	}
	d.take(t.name, sub)
	d.dirs = append(d.dirs, sub)
	return sub, nil
}

// all are the jobs of a destination and below, and how many directories are
// to be made.
func (d *dest) all() (jobs []*job, made int) {
	jobs = slices.Clone(d.jobs)
	made = ones(d.missing)
	for _, sub := range d.dirs {
		more, n := sub.all()
		jobs, made = append(jobs, more...), made+n
	}
	return jobs, made
}

// linked reports whether a job takes the cap only.
func (j *job) linked() bool {
	return j.into.grid && j.over.Cap == nil && j.from.file == "" && !j.from.mustRead()
}

// showPlan says what would be done.
func (c *copying) showPlan(jobs []*job, made int) error {
	r := result{Directories: made, Files: len(jobs)}
	for _, j := range jobs {
		r.Bytes += max(0, j.from.size) * int64(ones(!j.linked()))
		r.Linked += ones(j.linked())
	}
	left := c.meter.failures()
	if r.Failed = left; c.f.store.json {
		if err := c.printJSON(r); err != nil || len(left) == 0 {
			return err
		}
		return &exitError{Code: exitFailed} // the list says what
	}
	for _, j := range jobs {
		fmt.Fprintf(c.Stdout, "%s %s → %s\n", pad(j.verb(), 5, false), j.from.shown, j.to)
	}
	fmt.Fprintf(c.Stdout, "would copy %s in %s, and make %s\n", plural(len(jobs), "file"), sizeWords(r.Bytes), plural(made, "directory"))
	if len(left) > 0 {
		return fail("", "%s would not be copied", plural(len(left), "thing"))
	}
	return nil
}

func (j *job) verb() string {
	switch {
	case j.linked():
		return "link"
	case !j.into.grid:
		return "fetch"
	}
	return "store"
}
