// Package grid knows the storage servers: which there are, which of them
// answer, and in which order an object's shares look for a home.
//
// A server may be known from several sources: introducers, their caches and
// private/servers.yaml, which wins (known.go). Grid keeps one loop per server
// that connects, and connects again after a loss: by the HTTP protocol (GBS)
// first, by Foolscap where there is no address for it or it cannot be reached.
// Whether a server is alive is learned from the traffic of operations; only a
// server that has been silent for a long time is probed, at a jittered moment,
// so that an idle node is idle and shows no rhythm to watchers. Nothing but
// Remove makes a server unknown: silence never does.
//
// The grid hands out fresh slices of storage.Peer; operations never lock it.
// It places no shares (see happiness) and speaks no protocol (Config.Open;
// package contact has one). Start with New, Add, Grid.Source and
// Grid.ForUpload.
package grid

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage"
)

// Config is what a Grid needs.
type Config struct {
	// Open returns a client for one address of a server without talking to
	// it, or says why this node does not go there. Required.
	Open func(k Known, at Address) (storage.Server, error)
	// ForceFoolscap keeps the HTTP protocol out of use ([client]
	// force_foolscap).
	ForceFoolscap bool
	// Managers are the grid managers of whom one must vouch for a server that is
	// to be given new shares. Without any, all servers are.
	Managers []announce.Key
	// Now is for the dates of certificates. nil: time.Now.
	Now func() time.Time
	// TCP is what carries addresses of the clear network on this node
	// ([connections] tcp), for Status. "": netx.Direct.
	TCP netx.Carrier
	// Timeout bounds one attempt to reach a server. 0: 2 minutes.
	Timeout time.Duration
	// HeadStart is how long the HTTP protocol may take before Foolscap is
	// tried, too. 0: a quarter of Timeout.
	HeadStart time.Duration
	// RetryMin and RetryMax bound the wait between attempts, which doubles
	// and is jittered. 0: 2 s and 5 min.
	RetryMin, RetryMax time.Duration
	// Idle is how long a connected server may be silent before it is probed;
	// jittered by half. 0: 10 min.
	Idle time.Duration
	Log  *slog.Logger // nil: none
}

// Grid is the set of known servers. All methods may be called concurrently.
type Grid struct {
	c      Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards below
	servers map[string]*server
	changed chan struct{} // closed and replaced whenever a server's state changes
}

// New returns an empty grid. Close it.
func New(c Config) *Grid {
	if c.Open == nil {
		panic("grid: internal error: Config.Open is nil")
	}
	setDefault(&c.Timeout, 2*time.Minute)
	setDefault(&c.HeadStart, c.Timeout/4)
	setDefault(&c.RetryMin, 2*time.Second)
	setDefault(&c.RetryMax, 5*time.Minute)
	setDefault(&c.Idle, 10*time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Grid{c: c, ctx: ctx, cancel: cancel, servers: map[string]*server{}, changed: make(chan struct{})}
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Close ends all loops and waits for them. Peers handed out keep working.
func (g *Grid) Close() {
	g.cancel()
	g.wg.Wait()
}

// Add makes a server known, or replaces what k.Source said of it before. It
// returns at once; the first attempt to connect starts in the background.
func (g *Grid) Add(k Known) {
	k.certified = g.certifiedUntil(k)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx.Err() != nil {
		return
	}
	old, from := g.servers[k.ID], map[origin]Known{}
	if old != nil {
		from = old.from
	}
	k.heard, k.NURLs, k.Seed = time.Now(), slices.Clone(k.NURLs), bytes.Clone(k.Seed)
	from[k.origin()] = k
	best := choose(from)
	if old != nil && old.known.sameAs(best) {
		old.rename(best)
		g.notify()
		return
	}
	s := g.start(best, from)
	if old != nil {
		old.cancel()
		s.status.LastContact, s.status.Version = old.status.LastContact, old.status.Version
	}
	g.servers[k.ID] = s
	g.notify()
}

// Remove forgets a server.
func (g *Grid) Remove(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.servers[id]; s != nil {
		s.cancel()
		delete(g.servers, id)
		g.notify()
	}
}

// Watch returns a channel that is closed at the next change of a server's
// state.
func (g *Grid) Watch() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Retry tries every server that is not connected now instead of when its time
// comes: a way to them has just opened.
func (g *Grid) Retry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.servers {
		if s.peer == nil {
			select {
			case s.retry <- struct{}{}:
			default: // told already
			}
		}
	}
}

// notify wakes everyone in Wait. g.mu is held.
func (g *Grid) notify() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// ForUpload returns the connected servers in the order in which si's shares
// look for a home, without those that get no new ones.
func (g *Grid) ForUpload(si storage.Index) []storage.Peer {
	return slices.DeleteFunc(g.connected(si), func(p storage.Peer) bool { return p.NoNewShares })
}

// ForRead returns the connected servers in the order in which si's shares are
// most likely to be found.
func (g *Grid) ForRead(si storage.Index) []storage.Peer { return g.connected(si) }

func (g *Grid) connected(si storage.Index) []storage.Peer {
	type ranked struct {
		rank [20]byte
		peer storage.Peer
	}
	var rs []ranked
	now := g.c.Now()
	g.mu.Lock()
	for _, s := range g.servers {
		if s.peer != nil {
			p := *s.peer
			p.NoNewShares = s.known.barred(&g.c, now) != ""
			rs = append(rs, ranked{tagged.Permutation(si, s.known.Seed), p})
		}
	}
	g.mu.Unlock()
	slices.SortFunc(rs, func(a, b ranked) int {
		return cmpOr(bytes.Compare(a.rank[:], b.rank[:]), a.peer.ID, b.peer.ID)
	})
	peers := make([]storage.Peer, len(rs))
	for i, r := range rs {
		peers[i] = r.peer
	}
	return peers
}

func cmpOr(c int, a, b string) int {
	if c != 0 {
		return c
	}
	return bytes.Compare([]byte(a), []byte(b))
}

// Wait returns once want servers are connected, or every known server has
// been tried, or ctx ends; it reports how many are connected. An operation
// right after the node's start waits here instead of failing for want of
// servers that are about to answer.
func (g *Grid) Wait(ctx context.Context, want int) int { return g.wait(ctx, want, false) }

// WaitToStore is Wait for servers that may be given new shares.
func (g *Grid) WaitToStore(ctx context.Context, want int) int { return g.wait(ctx, want, true) }

func (g *Grid) wait(ctx context.Context, want int, toStore bool) int {
	for {
		now := g.c.Now()
		g.mu.Lock()
		connected, untried := 0, 0
		for _, s := range g.servers {
			switch {
			case toStore && s.known.barred(&g.c, now) != "":
			case s.peer != nil:
				connected++
			case !s.tried:
				untried++
			}
		}
		changed := g.changed
		g.mu.Unlock()
		if connected >= want || untried == 0 {
			return connected
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return connected
		}
	}
}
