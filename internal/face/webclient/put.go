package webclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
)

// Progress is how far a transfer is.
type Progress struct {
	// Stage: "receiving" (to the gateway), "waiting" (for servers),
	// "hashing", "sending" (to servers) of a Put; "fetching" of a Get.
	Stage       string
	Done, Total int64 // bytes of this stage; Total -1: not known
}

// PutOptions tune a Put. The zero value is useful.
type PutOptions struct {
	Format  string  // "CHK", "SDMF", "MDMF"; empty: CHK, or as what is there already
	Replace Replace // for PutAt
	// PrivateKey is the RSA key of a new mutable file: PKCS#8 as DER in
	// base64. Zero: a new one.
	PrivateKey redact.Secret
	Progress   func(Progress) // called a few times each second, from other goroutines but one at a time; nil: none
}

// operationHeader names an upload, so that its progress can be asked for.
const operationHeader = "X-Tahoe-Operation"

// Put stores size bytes of r, or all there are if size is negative, and
// returns the cap. Errors are *Error, *UnreachableError, what reading r
// said, or ctx's. An r that gives other than size bytes is an error. After an
// error a Read of r may still be under way, but no other begins.
func (c *Client) Put(ctx context.Context, r io.Reader, size int64, o PutOptions) (caps.Cap, error) {
	cap, _, err := c.PutAt(ctx, Place{}, r, size, o)
	return cap, err
}

// PutAt does the same and links the file at a place, or writes over the
// mutable file that is there. Directories that lead there are made. created
// is false if something was there.
func (c *Client) PutAt(ctx context.Context, at Place, r io.Reader, size int64, o PutOptions) (cap caps.Cap, created bool, err error) {
	var id [16]byte
	rand.Read(id[:])
	operation := fmt.Sprintf("%x", id)
	a := args{}.with("format", o.Format).with("private-key", o.PrivateKey.Reveal())
	if at.Cap != nil {
		a = a.with("replace", string(o.Replace))
	}
	src := &reader{r: r}
	stop := c.watch(ctx, operation, src, size, o.Progress)
	resp, err := c.do(ctx, http.MethodPut, a.after(at.url()), src, max(size, -1), http.Header{operationHeader: {operation}})
	stop()
	src.left.Store(true)
	if err != nil {
		return nil, false, src.explain(err, size)
	}
	cap, err = capAnswer(ctx, resp)
	return cap, resp.StatusCode == http.StatusCreated || at.Cap == nil, err
}

// reader counts what is sent, and remembers why it could not be read.
type reader struct {
	r    io.Reader
	sent atomic.Int64
	over atomic.Bool // r has ended
	left atomic.Bool // nobody wants more

	mu  sync.Mutex // guards below
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left.Load() {
		return 0, errors.New("the request is over")
	}
	n, err := r.r.Read(p)
	r.sent.Add(int64(n))
	if err != nil {
		r.over.Store(true)
		if err != io.EOF {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.err = err
		}
	}
	return n, err
}

// explain returns what was wrong with the file if it was at fault, else err.
func (r *reader) explain(err error, size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent.Load()
	switch {
	case r.err != nil:
		return fmt.Errorf("reading the file: %w", r.err)
	case size >= 0 && (sent > size || sent < size && r.over.Load()):
		return fmt.Errorf("reading the file: it has other than the %d bytes it had before", size)
	}
	return err
}

// watch reports progress until the function it returns is called: first of
// the sending to the gateway, then what the gateway says.
func (c *Client) watch(ctx context.Context, operation string, src *reader, size int64, report func(Progress)) (stop func()) {
	if report == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(c.poll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			sent := src.sent.Load()
			if !src.over.Load() && (size < 0 || sent < size) {
				report(Progress{"receiving", sent, max(size, -1)})
				continue
			}
			if op, ok := c.operation(ctx, operation); ok {
				report(Progress{op.Stage, op.Done, op.total()})
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// operation looks for one operation among the active ones.
func (c *Client) operation(ctx context.Context, id string) (Operation, bool) {
	var s Status
	if err := c.getJSON(ctx, "/status?t=json&operation="+id, &s); err != nil || len(s.Active) == 0 {
		return Operation{}, false
	}
	return s.Active[0], true
}
