package backup

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"tahoe-go/internal/format/caps"
)

// Gateway is what a backup wants of a node. Its methods are called
// concurrently.
type Gateway interface {
	// Put stores size bytes as an immutable file. A Read of r may still be
	// under way when it returns an error.
	Put(ctx context.Context, r io.Reader, size int64) (caps.Cap, error)
	// MkdirImmutable makes a directory that never changes.
	MkdirImmutable(ctx context.Context, children map[string]Child) (caps.Cap, error)
	// Check asks the servers whether c is whole. It is not, if the gateway
	// cannot tell.
	Check(ctx context.Context, c caps.Cap) (healthy bool, err error)
}

// Child is an entry of a directory, and what the system said of it.
type Child struct {
	Cap      caps.Cap
	Metadata map[string]any
}

// Target is the directory that keeps the backups.
type Target interface {
	// Prepare makes sure that the directory and its Archives are there.
	Prepare(ctx context.Context) error
	// Publish links root into Archives under name, and as Latest.
	Publish(ctx context.Context, name string, root caps.Cap) error
}

// Config is one backup. Gateway, DB, From and Target are required, but a dry
// run needs neither Gateway nor Target.
type Config struct {
	Gateway Gateway
	Target  Target
	DB      *DB
	From    string   // absolute
	Exclude *Exclude // nil: nothing is left out

	IgnoreTimestamps bool // read and send every file
	DryRun           bool // send nothing, write nothing
	Parallel         int  // uploads at once; each holds a few MiB in the node. 0: 8

	Now    func() time.Time // nil: time.Now
	Random func() float64   // in [0, 1); nil: math/rand/v2

	// The functions are called one at a time. Any may be nil.
	Warn     func(Skipped)
	Verbose  func(Event)
	Progress func(Progress)
}

// Event is something done to one file or folder, for those who want to see
// everything.
type Event struct {
	Path string
	What What
}

// What is the kind of an Event.
type What int

// What may happen to a file or folder.
const (
	Uploading What = iota
	Uploaded
	Reusing // a file that has not changed
	Checking
	MakingFolder
	ReusingFolder
)

// Progress is how far a backup is.
type Progress struct {
	Done, Total           int   // files and folders
	DoneBytes, TotalBytes int64 // of the files that have to be sent
}

// Counts are what became of the files, or of the folders.
type Counts struct {
	New     int `json:"new"` // uploaded or made; in a dry run: to be
	Reused  int `json:"reused"`
	Skipped int `json:"skipped"`
	Checked int `json:"checked"` // old ones of which the servers were asked
}

// Result is what a backup did.
type Result struct {
	Root           caps.Cap // nil after a dry run
	Name           string   // in Archives; "" after a dry run
	Files, Folders Counts
	Bytes          int64 // of all files
	NewBytes       int64 // of those that were sent
	Skipped        []Skipped
	Elapsed        time.Duration
}

// NameFormat is how a backup is called in Archives, by its time in UTC.
const NameFormat = "2006-01-02_15:04:05Z"

// Run makes a backup. What was sent is remembered whatever ends the run, so
// that the next one goes on. Files and folders that cannot be read are left
// out, and are in the Result; every other trouble ends the run.
func Run(ctx context.Context, c Config) (*Result, error) {
	b := newRun(&c)
	if _, err := lookAtRoot(c.From); err != nil {
		return nil, err
	}
	if !c.DryRun {
		if err := c.Target.Prepare(ctx); err != nil {
			return nil, err
		}
	}
	tree, err := Walk(c.From, c.Exclude)
	if err != nil {
		return nil, err
	}
	for _, s := range tree.Skipped {
		b.skip(s)
	}
	b.r.Bytes = tree.Bytes
	b.progress.Total = tree.Files + tree.Folders
	err = b.files(ctx, tree)
	if err == nil {
		err = b.folders(ctx, tree)
	}
	if e := b.record.close(ctx); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	if !c.DryRun {
		b.r.Root, b.r.Name = tree.Root.cap, b.Now().UTC().Format(NameFormat)
		if err := c.Target.Publish(ctx, b.r.Name, b.r.Root); err != nil {
			return nil, err
		}
	}
	b.r.Elapsed = b.Now().Sub(b.start)
	return &b.r, nil
}

// run is a backup under way.
type run struct {
	*Config
	record *recorder
	start  time.Time

	mu       sync.Mutex // guards below, and the functions of Config
	r        Result
	progress Progress
}

func newRun(c *Config) *run {
	c.Parallel = cmp.Or(c.Parallel, 8)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return &run{Config: c, record: newRecorder(c.DB, c.Now), start: c.Now()}
}

// skip leaves something out, with a warning.
func (b *run) skip(s Skipped) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.Skipped = append(b.r.Skipped, s)
	if s.Folder {
		b.r.Folders.Skipped++
	} else {
		b.r.Files.Skipped++
	}
	if b.Warn != nil {
		b.Warn(s)
	}
}

// say tells those who want to see everything.
func (b *run) say(path string, what What) {
	if b.Verbose == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Verbose(Event{path, what})
}

// done counts n files or folders, and bytes sent. count may be nil.
func (b *run) done(n int, bytes int64, count func(r *Result)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if count != nil {
		count(&b.r)
	}
	b.progress.Done += n
	b.progress.DoneBytes += bytes
	if b.Progress != nil {
		b.Progress(b.progress)
	}
}

const day = 24 * time.Hour

// mustCheck throws the dice: what was seen whole less than a month ago is
// believed to be so, what was seen two months ago is not, and between the
// two ever less.
func (b *run) mustCheck(k Known) bool {
	if _, ok := k.Cap.(caps.LIT); ok || literalFolder(k.Cap) {
		return false // no server has it
	}
	age := b.Now().Sub(k.Checked)
	return b.Random() < float64(age-30*day)/float64(30*day)
}

func literalFolder(c caps.Cap) bool {
	d, ok := c.(caps.Dir)
	if !ok {
		return false
	}
	_, ok = d.File().(caps.LIT)
	return ok
}

// whole asks the servers about something old.
func (b *run) whole(ctx context.Context, path string, k Known) (bool, error) {
	b.say(path, Checking)
	healthy, err := b.Gateway.Check(ctx, k.Cap)
	if err == nil && healthy {
		err = b.record.add(record{cap: k.Cap})
	}
	return healthy, err
}
