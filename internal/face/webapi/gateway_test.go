package webapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/spool"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// testGrid is a slice of servers in memory.
type testGrid struct {
	faults []*faultstore.Store
	stores []*memstore.Store // behind the faults

	mu     sync.Mutex // guards below
	peers  []storage.Peer
	status []grid.Status
	waits  []int          // what was waited for
	onWait func(want int) // called in Wait
	retry  func()         // called in Retry
	change chan struct{}  // closed and replaced when status changes
}

func newGrid(t testing.TB, servers int) *testGrid {
	g := &testGrid{change: make(chan struct{})}
	now := time.Now()
	for i := range servers {
		m := memstore.New(memstore.Config{})
		f := faultstore.For(t, m)
		g.stores, g.faults = append(g.stores, m), append(g.faults, f)
		id := fmt.Sprintf("v0-server%02d", i)
		name := fmt.Sprintf("server %d", i)
		g.peers = append(g.peers, storage.Peer{ID: id, Name: name, Seed: []byte(id), LeaseSeed: [20]byte{byte(i)}, Server: f})
		g.status = append(g.status, grid.Status{ID: id, Name: name, State: grid.Connected, Address: "onion", Protocol: "GBS", Source: "servers.yaml",
			LastContact: now, Since: now, Version: storage.Version{AvailableSpace: 5e9, Application: "tahoe-go/0.1"}})
	}
	return g
}

func (g *testGrid) ForUpload(si storage.Index) []storage.Peer {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Clone(g.peers)
	slices.SortFunc(out, func(a, b storage.Peer) int {
		ra, rb := tagged.Permutation(si, a.Seed), tagged.Permutation(si, b.Seed)
		return bytes.Compare(ra[:], rb[:])
	})
	return out
}

func (g *testGrid) ForRead(si storage.Index) []storage.Peer { return g.ForUpload(si) }

func (g *testGrid) Status() []grid.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.status)
}

func (g *testGrid) WaitToStore(ctx context.Context, want int) int { return g.Wait(ctx, want) }

func (g *testGrid) Wait(_ context.Context, want int) int {
	g.mu.Lock()
	g.waits = append(g.waits, want)
	f := g.onWait
	g.mu.Unlock()
	if f != nil {
		f(want)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.peers)
}

func (g *testGrid) Retry() {
	g.mu.Lock()
	f := g.retry
	g.mu.Unlock()
	if f != nil {
		f()
	}
}

func (g *testGrid) Watch() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.change
}

// connect has the first n servers answer and the others not.
func (g *testGrid) connect(all []storage.Peer, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peers = all[:n]
	for i := range g.status {
		g.status[i].State = grid.Disconnected
		if i < n {
			g.status[i].State = grid.Connected
		}
	}
	close(g.change)
	g.change = make(chan struct{})
}

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex // guards below
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// gateway is a served Handler over servers in memory.
type gateway struct {
	h      *Handler
	grid   *testGrid
	net    *memnet.Net
	client *http.Client
	log    *logBuffer
	dir    string // of spooled files
	end    func() // ends serving
	stop   func() // and waits for it
}

// newGateway serves at http://localhost/ on a network in memory, to its client
// only. tune may change the configuration.
func newGateway(t testing.TB, servers int, tune func(*Config)) *gateway {
	t.Helper()
	bubbled := time.Now().Year() == 2000 // where synctest's clock begins
	g := &gateway{grid: newGrid(t, servers), net: memnet.New(t), log: &logBuffer{}, dir: t.TempDir()}
	files, err := immutable.New(immutable.Config{Servers: g.grid, K: 3, Happy: 4, N: 5, SegmentSize: 16 << 10, LeaseSecret: redact.New("lease secret of the test, 32 byte"),
		Patience: immutable.Patience{Outage: time.Millisecond, Hedge: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	mut, err := mutable.New(mutable.Config{Servers: g.grid, K: 3, N: 5, LeaseSecret: redact.New("lease secret of the test, 32 byte")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mut.Close)
	dirs := directory.New(directory.Config{Mutable: mut, Immutable: files, Convergence: redact.New("convergence secret")})
	c := Config{
		Store: filestore.New(filestore.Config{Mutable: mut, Immutable: files, Directories: dirs}), Mutable: mut, Directories: dirs,
		Files: files, Grid: g.grid, Nickname: "home", NodeID: "v0-thisnode", K: 3, Happy: 4, N: 5,
		Convergence: redact.New("convergence secret"), Hosts: []string{"gateway.example"},
		Spool: spool.Config{Dir: g.dir, Memory: 10_000, Max: 1 << 20},
		Log:   slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if tune != nil {
		tune(&c)
	}
	g.h = New(c)
	l, err := g.net.Host("here").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 3456})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.end = cancel
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, g.h) }()
	g.client = netx.HTTPClient(g.net.Host("here"), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 3456}, nil, netx.HTTPOptions{})
	g.stop = sync.OnceFunc(func() {
		g.client.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if bubbled { // net/http lingers for half a second on a connection it ended early
			time.Sleep(time.Second)
		}
		left, err := os.ReadDir(g.dir)
		if err != nil || len(left) != 0 {
			t.Errorf("left in the spool: %v, %v", left, err)
		}
		if s := g.log.String(); strings.Contains(s, "URI:") || strings.Contains(s, "URI%3A") || strings.Contains(s, "panic") {
			t.Errorf("the log has a cap or a panic:\n%s", s)
		}
		if n := len(g.h.ops.active); n != 0 {
			t.Errorf("%d operations did not end", n)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// pattern is n bytes that look like no others.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
