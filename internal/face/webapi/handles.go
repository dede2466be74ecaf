package webapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// How long the result of an operation is kept when its caller says nothing,
// as the Python gateway has it.
const (
	uncollected = 4 * 24 * time.Hour // after its end, if nobody asks
	collected   = 24 * time.Hour     // after somebody has asked
)

// Limits of operation handles. A name is chosen by the caller.
const (
	maxHandles = 200
	maxHandle  = 200 // bytes of a name
)

// work is a long operation over a directory and all below it.
type work interface {
	run(ctx context.Context) error
	// show answers with what is known so far, in the form output= names: html,
	// text, json or "".
	show(q *request, hd *handle, output string) error
}

// weighty is work that remembers objects. Results of more than maxManifest of
// them together are not kept.
type weighty interface {
	weight() int64 // objects; it does not block
}

// parted is work that has a result for each object: at /operations/HANDLE/SI.
type parted interface {
	showPart(q *request, si string) error
}

var errNoPart = errorf(http.StatusNotFound, "The operation has no result of that name.")

// handles are the long operations by the names that their callers gave them.
// They run on after the request that began them, until they are done,
// cancelled or forgotten.
type handles struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards below
	all    map[string]*handle
	closed bool
}

// handle is one of them.
type handle struct {
	name   string
	work   work
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed when work has ended
	err    error         // why it failed; read it after done

	timer *time.Timer // forgets it; nil: none yet. handles.mu guards it
}

// finished reports whether the work has ended.
func (hd *handle) finished() bool {
	select {
	case <-hd.done:
		return true
	default:
		return false
	}
}

// begin starts work under a name. What had the name before is cancelled and
// forgotten. retain 0: for the usual time.
func (hs *handles) begin(ctx context.Context, name string, w work, retain time.Duration) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	hd := &handle{name: name, work: w, began: time.Now(), cancel: cancel, done: make(chan struct{})}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		cancel()
		return context.Canceled
	}
	if old := hs.all[name]; old != nil {
		hs.drop(old)
	}
	for hs.kept() > maxManifest && hs.dropOldest(true) {
	}
	if len(hs.all) >= maxHandles && !hs.dropOldest(false) {
		cancel()
		return errorf(http.StatusServiceUnavailable, "%d operations are running already. Wait for one to end, or cancel one.", maxHandles)
	}
	if hs.all == nil {
		hs.all = map[string]*handle{}
	}
	hs.all[name] = hd
	if retain > 0 {
		hs.keep(hd, retain)
	}
	hs.running.Go(func() {
		hd.err = w.run(ctx)
		cancel()
		close(hd.done)
		hs.mu.Lock()
		defer hs.mu.Unlock()
		if hd.timer == nil && hs.all[name] == hd {
			hs.keep(hd, uncollected)
		}
	})
	return nil
}

// keep has a handle forgotten after a time. hs.mu is held.
func (hs *handles) keep(hd *handle, d time.Duration) {
	if hd.timer != nil {
		hd.timer.Stop()
	}
	hd.timer = time.AfterFunc(d, func() { hs.release(hd) })
}

// release forgets a handle, and cancels what still runs.
func (hs *handles) release(hd *handle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.drop(hd)
}

// drop does so with hs.mu held.
func (hs *handles) drop(hd *handle) {
	if hd.timer != nil {
		hd.timer.Stop()
	}
	hd.cancel()
	if hs.all[hd.name] == hd {
		delete(hs.all, hd.name)
	}
}

// weight is how many objects a handle remembers.
func (hd *handle) weight() int64 {
	if w, ok := hd.work.(weighty); ok {
		return w.weight()
	}
	return 0
}

// kept is how many objects are remembered by what has ended. hs.mu is held.
func (hs *handles) kept() (objects int64) {
	for _, hd := range hs.all {
		if hd.finished() {
			objects += hd.weight()
		}
	}
	return objects
}

// dropOldest makes room by forgetting the oldest that has ended, if any has;
// heavy: of those that remember objects. hs.mu is held.
func (hs *handles) dropOldest(heavy bool) bool {
	var oldest *handle
	for _, hd := range hs.all {
		if hd.finished() && (!heavy || hd.weight() > 0) && (oldest == nil || hd.began.Before(oldest.began)) {
			oldest = hd
		}
	}
	if oldest != nil {
		hs.drop(oldest)
	}
	return oldest != nil
}

// find returns a handle and has it kept for as long as its caller says.
// A retain below zero: nothing was said.
func (hs *handles) find(name string, retain time.Duration, collects bool) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hd := hs.all[name]
	switch {
	case hd == nil:
	case retain >= 0:
		hs.keep(hd, retain)
	case collects && hd.finished():
		hs.keep(hd, collected)
	}
	return hd
}

// close cancels everything and waits for its end.
func (hs *handles) close() {
	hs.mu.Lock()
	hs.closed = true
	for _, hd := range hs.all {
		hs.drop(hd)
	}
	hs.mu.Unlock()
	hs.running.Wait()
}

// retainFor reads retain-for=, in seconds; below zero if it is not there.
func (q *request) retainFor() (time.Duration, error) {
	text := q.arg("retain-for")
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, errorf(http.StatusBadRequest, "The argument retain-for= must be a number of seconds.")
	}
	return time.Duration(n) * time.Second, nil
}

// startWork begins a long operation and sends the client to its state.
func (h *Handler) startWork(q *request, w work) error {
	name := q.arg("ophandle")
	switch {
	case name == "":
		return errNoHandle
	case len(name) > maxHandle || !utf8.ValidString(name) || strings.Contains(name, "/"):
		return errorf(http.StatusBadRequest, "The argument ophandle= must have at most %d bytes and no slash.", maxHandle)
	}
	retain, err := q.retainFor()
	if err != nil {
		return err
	}
	if err := h.handles.begin(q.r.Context(), name, w, max(retain, 0)); err != nil {
		return err
	}
	next := "/operations/" + quote(name)
	if output := q.arg("output"); output != "" {
		next += "?output=" + quote(output)
	}
	if q.arg("when_done") != "" {
		return q.done(http.StatusFound, next)
	}
	q.Header().Set("Location", next)
	q.Header().Set("Cache-Control", "no-store")
	q.WriteHeader(http.StatusFound)
	return nil
}

var errNoHandle = errorf(http.StatusBadRequest, "An operation that takes long needs ophandle=: a name of your choice for it.")

// operation answers at /operations/HANDLE.
func (h *Handler) operation(q *request, rest []string) error {
	if len(rest) > 1 && rest[len(rest)-1] == "" {
		rest = rest[:len(rest)-1]
	}
	if len(rest) == 0 || rest[0] == "" {
		return errorf(http.StatusMethodNotAllowed, "/operations must be followed by an operation's handle.")
	}
	if q.r.Method == http.MethodPost {
		if err := h.readArgs(q); err != nil {
			return err
		}
	} else if err := q.allow(http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		return err
	}
	cancel := q.t() == "cancel" && q.r.Method == http.MethodPost
	if t := q.t(); !cancel && t != "" && t != "status" {
		return errorf(http.StatusBadRequest, "An operation takes t=status, or POST with t=cancel.")
	}
	retain, err := q.retainFor()
	if err != nil {
		return err
	}
	release, err := q.flag("release-after-complete")
	if err != nil {
		return err
	}
	hd := h.handles.find(rest[0], retain, !cancel)
	if hd == nil {
		return errorf(http.StatusNotFound, "The handle is unknown or has expired.")
	}
	if len(rest) > 1 {
		if parts, ok := hd.work.(parted); ok && len(rest) == 2 {
			return parts.showPart(q, rest[1])
		}
		return errNoPart
	}
	ended := hd.finished()
	if cancel || release && ended {
		defer h.handles.release(hd)
	}
	if ended && hd.err != nil {
		return hd.err
	}
	switch output := strings.ToLower(q.arg("output")); output {
	case "", "html", "text", "json":
		return hd.work.show(q, hd, output)
	}
	return errorf(http.StatusBadRequest, "The argument output= must be html, text or json.")
}
