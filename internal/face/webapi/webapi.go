// Package webapi is the gateway: it shows a node's operations over HTTP, to
// browsers, to the command line (through webclient) and to the programs that
// were written for the Python gateway. docs/web-api.md has the routes.
//
// A request comes in at Handler.ServeHTTP, passes the guard (guard.go: a web
// page of somebody else must not steer the gateway), is routed (route.go) and
// answered by a function that either answers or returns an error, which
// errors.go turns into a status and a sentence. Bodies are spooled first
// (upload.go, form.go), immutable files stream as their bytes are proven
// (content.go). What is below a cap is found by resolve.go and read by tree.go;
// puttree.go, posttree.go and link.go change it, listing.go and dirpage.go show
// it. deep.go walks trees, under the handles of handles.go. operations.go
// remembers what is and was going on.
//
// It stores nothing, listens to nothing by itself and knows neither Tor nor the
// node: Config has what it shows. Start with New and Serve.
package webapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/spool"
)

// Files stores and fetches immutable files. *immutable.Client does.
type Files interface {
	Upload(ctx context.Context, src immutable.Source, tr *immutable.Trace) (*immutable.Result, error)
	NewKeyer(convergence redact.Secret) *immutable.Keyer
	Open(cap caps.CHK) (*immutable.File, error)
}

// Grid is the set of known servers. *grid.Grid is one.
type Grid interface {
	Status() []grid.Status
	// Wait returns once want servers are connected or every known server
	// has been tried, and how many are connected.
	Wait(ctx context.Context, want int) int
	// WaitToStore is Wait for servers that may be given new shares.
	WaitToStore(ctx context.Context, want int) int
	// Retry tries those that are not connected now, not when their time comes.
	Retry()
	// Watch returns a channel that is closed when a server's state changes.
	Watch() <-chan struct{}
}

// Rung is one step of a node's way to being ready, for people.
type Rung struct {
	Name  string `json:"name"`  // stable, for programs: "bootstrapped"
	State string `json:"state"` // "ok", "waiting", "failed", "unknown"
	Text  string `json:"text"`  // a sentence
	// Details are further sentences for who wants to know more.
	Details []string `json:"details,omitempty"`
}

// Config is what a gateway shows and uses.
type Config struct {
	Files Files // required
	Grid  Grid  // required
	// Store, Directories and Mutable serve directories and mutable files.
	// nil: they are refused.
	Store       *filestore.Store
	Directories *directory.Client
	Mutable     *mutable.Client
	// Blacklist names what is not handed out; Store should have it too. nil:
	// nothing is.
	Blacklist *blacklist.List
	// MDMF: a new directory is MDMF if the request does not say how it is to
	// be stored.
	MDMF bool

	// Nickname and NodeID are the node's own, for the welcome page.
	Nickname, NodeID string
	// K, Happy and N are how the node encodes, to know when it is ready.
	K, Happy, N int
	// Convergence is the secret for uploads; zero: a random key for each.
	Convergence redact.Secret
	// Ladder says how far the node is on its way to being ready, without
	// the servers; nil: nothing stands in the way.
	Ladder func() []Rung
	// Introducers are those that the node asks for servers; their petnames are
	// the Source of what they announce. nil: none.
	Introducers func() []introducer.ClientStatus
	// Stats adds to /statistics: names as the Python program has them.
	// nil: nothing to add.
	Stats func() (counters, gauges map[string]float64)
	// Spool says where the bodies of uploads wait; Spool.Max is the largest
	// that is taken, 0: no limit.
	Spool spool.Config
	// Hosts are names, besides localhost and IP addresses, by which browsers
	// may call this gateway: the host in web.port, if it is a name.
	Hosts []string
	// Static is a folder that is served at /static. "": none.
	Static string
	// Outage is how long a transfer waits for servers that were tried in vain
	// and without which it must fail. 0: 5 seconds.
	Outage time.Duration
	// Idle is how long a client may neither send nor take a byte before it
	// is dropped. 0: 30 minutes, as what feeds a client may be slow too.
	Idle time.Duration
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: none
}

// Handler is the gateway. Use it with Serve, or as an http.Handler.
type Handler struct {
	c       Config
	started time.Time
	ops     *operations
	handles handles
	stats   counters
	running sync.WaitGroup // requests in progress

	introducer func() introducer.ServerStatus // of an introducer node; nil: it is a gateway
}

var _ http.Handler = (*Handler)(nil)

// New returns a gateway. Files and Grid are required.
func New(c Config) *Handler {
	if c.Files == nil || c.Grid == nil {
		panic("webapi: internal error: Config.Files or Config.Grid is nil")
	}
	return newHandler(c)
}

func newHandler(c Config) *Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Ladder == nil {
		c.Ladder = func() []Rung { return nil }
	}
	if c.Outage == 0 {
		c.Outage = 5 * time.Second
	}
	if c.Idle == 0 {
		c.Idle = 30 * time.Minute
	}
	return &Handler{c: c, started: c.Now(), ops: newOperations(c.Now)}
}
