// Package gridtest is a whole grid inside a testing/synctest bubble: clients
// and storage servers that speak the real protocol over real TLS and HTTP, on
// a network in memory and a clock that runs as fast as the work allows. Hangs,
// slow links, cuts, partitions, full and lying servers come by script, and a
// minute of them takes milliseconds and always goes the same way.
//
// It also watches: a dial to a place that was not announced, a connection left
// open, or a secret in a log, an error or on a server's disk fails the test.
//
// It runs no node processes (see procgrid) and no Tor (see tortest). Start
// with Run; inside a bubble of one's own, New.
package gridtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/gbs"
)

// Config is the shape of a grid. Zero fields take the value named.
type Config struct {
	Servers     int   // 0: 10
	K, Happy, N int   // 0: 3, 7, 10
	SegmentSize int64 // bytes; 0: immutable's default

	// Disk keeps shares in files below t.TempDir(), and looks for secrets in
	// them. False: in memory, which is quicker.
	Disk bool
	// Capacity is how many bytes of shares server i takes, in memory only.
	// nil or 0: any number.
	Capacity func(i int) int64
	// Wrap stands between the handler of server i and its Faults. nil: nothing.
	Wrap func(i int, s storage.Server) storage.Server
	// Onion gives the servers onion names, so that clients wait as over Tor.
	Onion bool
	// Protocols are those that the servers announce. nil: GBS.
	Protocols []grid.Protocol

	Link     memnet.Link // between any two hosts
	Patience immutable.Patience
	Timeouts gbs.Timeouts
}

// Grid is what a test holds.
type Grid struct {
	t       testing.TB
	c       Config
	dir     string // of the servers, if on disk
	Net     *memnet.Net
	Servers []*Server
	// Client is the first client, on host "client", connected to every server.
	Client *Client

	log     *slog.Logger
	said    said
	clients []*Client

	mu        sync.Mutex // guards below
	keys      int        // of rsaKeys that are used
	announced map[netx.Addr]bool
	secrets   map[string]string // by text, what it is
}

// Run makes a grid in a bubble and calls f with it. It must not run in
// parallel with other tests, since it looks for goroutines and descriptors
// left over in the process.
func Run(t *testing.T, c Config, f func(t *testing.T, g *Grid)) {
	t.Helper()
	leakcheck.Check(t)
	certificates(c.Servers) // real work, once for all: not part of the first test's time
	synctest.Test(t, func(t *testing.T) { f(t, New(t, c)) })
}

// New makes a grid, waits until the first client has found every server, and
// ends with t. Call it inside a bubble.
func New(t testing.TB, c Config) *Grid {
	t.Helper()
	setDefault(&c.Servers, 10)
	setDefault(&c.K, 3)
	setDefault(&c.Happy, 7)
	setDefault(&c.N, 10)
	if c.Protocols == nil {
		c.Protocols = []grid.Protocol{grid.GBS}
	}
	g := &Grid{t: t, c: c, Net: memnet.New(nil), announced: map[netx.Addr]bool{}, secrets: map[string]string{}}
	g.log = slog.New(slog.NewTextHandler(&g.said, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
	g.Net.SetDefault(c.Link)
	if c.Disk {
		g.dir = t.TempDir() // before the cleanup, so that it goes after
	}
	t.Cleanup(g.close)
	for i, cert := range certificates(c.Servers) {
		g.Servers = append(g.Servers, g.newServer(i, cert))
	}
	g.Client = g.NewClient("client")
	if n := g.Client.Servers.Wait(t.Context(), c.Servers); n != c.Servers {
		t.Fatalf("gridtest: %d of %d servers connected: %+v", n, c.Servers, g.Client.Servers.Status())
	}
	return g
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Announce allows dials to a, beside those to the servers.
func (g *Grid) Announce(a netx.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.announced[place(a)] = true
}

// place is an address without what differs between two dials to it.
func place(a netx.Addr) netx.Addr { return netx.Addr{Host: strings.ToLower(a.Host), Port: a.Port} }

// Logger is where all of the grid's logs go. What is written there may hold no
// secret.
func (g *Grid) Logger() *slog.Logger { return g.log }

// Log returns what was logged so far.
func (g *Grid) Log() string { return g.said.String() }

// Heard notes an error, page or message that people may see: it may hold no
// secret. It returns err.
func (g *Grid) Heard(err error) error {
	if err != nil {
		for _, form := range []string{"%v", "%+v", "%#v"} {
			fmt.Fprintf(&g.said, form+"\n", err)
		}
	}
	return err
}

// close ends everything in the order in which it is quick, then looks at what
// was left. A hanging fake must be released and a second must pass before
// connections are counted: net/http lingers on those it ended early.
func (g *Grid) close() {
	for _, s := range g.Servers {
		s.Faults.Release()
	}
	for _, c := range g.clients {
		c.close()
	}
	for _, s := range g.Servers {
		s.Stop()
		if d, ok := s.Store.(io.Closer); ok {
			if err := d.Close(); err != nil {
				g.t.Errorf("gridtest: closing the store of %s: %v", s.Name, err)
			}
		}
	}
	time.Sleep(time.Second)
	if open := g.Net.Open(); open > 0 && !g.t.Failed() {
		g.t.Errorf("gridtest: %d ends of connections were left open", open)
	}
	g.checkDials()
	g.checkSecrets()
	g.Net.Close()
}

// checkDials is the recorder net.
func (g *Grid) checkDials() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.Net.Dials() {
		if !g.announced[place(d.To)] {
			g.t.Errorf("gridtest: %s dialled %s, which nobody announced", d.From, d.To.Host)
		}
	}
}

// said collects text.
type said struct {
	mu sync.Mutex // guards below
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Held returns the servers, by index, that hold each share of si, past any
// fault.
func (g *Grid) Held(si storage.Index) map[storage.ShareNum][]int {
	g.t.Helper()
	held := map[storage.ShareNum][]int{}
	for i, s := range g.Servers {
		shares, err := s.Store.Shares(context.Background(), si)
		if err != nil {
			g.t.Fatalf("gridtest: server %d: %v", i, err)
		}
		for num := range shares {
			held[num] = append(held[num], i)
		}
	}
	return held
}
